"""What the public pages promise: only the record's figures, in plain and safe words, written all at once."""

import copy
import gzip
import hashlib
import html
import json
import re
import threading
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from dashboards.public import figures, writing
from dashboards.public.cli import latest_releases, site
from dashboards.public.record import document, read
from dashboards.public.serve import app
from dashboards.public.site import build, render
from sandbox.disclosure import rules
from sandbox.errors import Invalid, NotFound, Refused
from sandbox.records import Event, Release
from sandbox.storage.store import Store

CONTENTS = json.loads(Path(__file__).with_name("releases.json").read_text())
ATOM = "{http://www.w3.org/2005/Atom}"

# Numbers a page may say that no record holds: the ends of a score, and the level of the likely ranges.
OF_THE_EXPLANATION = {Decimal("1"), Decimal("0.5"), Decimal("95")}


def content(name="crime", **changes):
    return copy.deepcopy(CONTENTS[name]) | changes


def release(of, day=23):
    digest = hashlib.sha256(json.dumps(of, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return Release(
        digest, of["model"], f"{of['model']}/{of['version']}", of, datetime(2026, 11, day, tzinfo=UTC), "omar"
    )


def every():
    return [release(content(name)) for name in CONTENTS]


def page(of):
    return render([release(of)])[f"models/{of['model']}/index.html"].decode()


class Visible(HTMLParser):
    """The text a reader sees or hears; not the ruler of a chart, nor the digest of the record."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.inside, self.tags, self.attributes = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        classes = dict(attributes).get("class", "")
        self.texts += [dict(attributes).get("aria-label", "")]
        if tag not in {"meta", "link", "rect", "circle", "line", "polyline", "polygon"}:
            self.inside.append((tag, "ticks" in classes or tag in {"code", "style"}))

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1][0] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not any(skipped for _, skipped in self.inside):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def numbers(text):
    found = re.findall(r"\d[\d,]*(?:\.\d+)?", text)
    return {Decimal(number.replace(",", "").rstrip(".")) for number in found}


def numbers_of(value):
    """Every number a record holds, shares also as percentages or points, and those inside its texts."""
    if isinstance(value, dict):
        return {n for part in [*value, *value.values()] for n in numbers_of(part)}
    if isinstance(value, list):
        return {n for part in value for n in numbers_of(part)}
    if isinstance(value, str):
        return numbers(value)
    if isinstance(value, bool) or value is None:
        return set()
    exact = abs(Decimal(str(value)))
    return {exact, exact * 100}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_releases_of_these_tests_keep_the_rules_of_the_exit_gate(name):
    assert rules.problems(content(name)) == []


def test_every_number_on_every_page_is_in_its_record():
    files = render(every())
    for of in CONTENTS.values():
        folder = f"models/{of['model']}"
        record = json.loads(files[f"{folder}/record.json"])
        shown = numbers(Visible(files[f"{folder}/index.html"].decode()).text)
        assert len(shown) > 5
        assert shown <= numbers_of(record) | OF_THE_EXPLANATION


def test_every_number_of_the_register_is_in_one_of_its_records():
    shown = numbers(Visible(render(every())["index.html"].decode()).text)
    assert shown <= set().union(*(numbers_of(of) for of in CONTENTS.values()))


def test_a_number_that_no_record_holds_would_be_noticed():
    forged = page(content()).replace("0.687", "0.688")
    assert not numbers(Visible(forged).text) <= numbers_of(content()) | OF_THE_EXPLANATION


def test_every_figure_of_the_latest_test_and_its_groups_reaches_the_page():
    shown = numbers(Visible(page(content())).text)
    latest = content()["waves"][-1]
    for measure in [latest["measures"]["auc"], *(g["measures"].get("auc", {}) for g in latest["groups"])]:
        for end in ("value", "low", "high"):
            if measure.get(end) is not None:
                assert Decimal(str(measure[end])) in shown
    assert {Decimal(g["n"]) for g in latest["groups"] if g["status"] == "ok"} <= shown


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        ("candidate", "On trial"), ("champion", "In use"), ("challenger", "On trial beside the one in use"),
        ("suspended", "Suspended"), ("retired", "Retired"),
    ],
)  # fmt: skip
def test_a_page_and_the_register_say_where_a_model_stands(standing, words):
    files = render([release(content(standing=standing))])
    for name in ("index.html", "models/formal-outcome/index.html"):
        assert f">{words}</strong>" in files[name].decode()


def test_the_notice_says_what_is_beyond_its_limit_and_nothing_of_earlier_waves():
    text = Visible(page(content())).text
    notice = text[text.index("In the latest test") : text.index("Quality now")]
    assert "on 31 July 2018, the model was outside the agreed limits" in notice
    assert "AUC fell from 0.757" in notice
    assert "a fall of 0.031" not in text


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        (["within tolerance"], "stayed within every agreed limit"),
        (["within tolerance", "too little data to tell"], "too little data to tell"),
        ([], "No checks have been made"),
    ],
)
def test_the_notice_never_claims_more_than_the_checks_could_tell(verdicts, says):
    finding = {"day": "2018-07-31", "wave": "2018-07", "rule": "quality", "sentence": "A check.",
               "value": None, "limit": 0.03}  # fmt: skip
    text = Visible(page(content(findings=[finding | {"verdict": v} for v in verdicts]))).text
    assert says in text[text.index("last updated") : text.index("Quality now")]
    assert "Outside agreed limits" not in text


def test_a_group_too_small_to_publish_says_so_and_shows_no_figure():
    row = re.search(r'<th scope="row" dir="auto">Not recorded</th>(.*?)</tr>', page(content()))
    assert "Not shown: too few records to publish safely" in row[1]
    assert not numbers(re.sub(r"<[^>]*>", "", row[1]))
    row = re.search(r'<th scope="row" dir="auto">Calderdale</th>(.*?)</tr>', page(content()))
    assert "Not shown, to protect a smaller group" in row[1]


def test_a_measure_that_could_not_be_worked_out_is_said_in_words_never_as_nought():
    text = Visible(page(content("digits"))).text
    assert "Widest gap between groups Too few to tell" in text
    assert "Log loss" in text
    assert "Cannot be worked out" in text
    assert not re.search(r"\b(None|nan|null)\b", text)


def test_a_model_that_was_never_tested_has_a_page_without_a_chart():
    of = page(content("untested"))
    assert "has not been tested on held-out records yet" in of
    assert 'class="chart"' not in of
    assert "Not measured" in of


def test_a_wave_without_a_figure_breaks_the_line_of_the_chart():
    assert page(content("weekly")).count("<polyline") == 2
    assert page(content("crime")).count("<polyline") == 1


def test_several_answers_are_shown_as_a_share_of_right_ones():
    text = Visible(page(content("digits"))).text
    assert "Quality now 94.8%" in text
    assert "A score of 0.5" not in text


def test_an_error_is_no_score_and_has_no_floor():
    text = Visible(page(content("regression"))).text
    assert "Usual error at each test" in text
    assert "Quality now Not measured" in text
    assert "Not shown" in text
    assert "points below" not in text


def test_counts_are_called_people_only_when_the_unit_is_a_person():
    assert "Records in the latest test 19,860" in Visible(page(content("crime"))).text
    assert "any single record (one recorded crime)" in Visible(page(content("crime"))).text
    assert not re.search("people in the|too few people|person", Visible(page(content("crime"))).text.lower())
    assert "People in the latest test 540" in Visible(page(content("digits"))).text
    assert "too few people" in Visible(page(content("digits"))).text


def test_synthetic_data_is_marked_on_the_page_and_in_the_register_and_real_data_is_not():
    files = render(every())
    assert (
        "Synthetic data: the records behind this page are invented"
        in files["models/digits/index.html"].decode()
    )
    assert "Synthetic data" not in files["models/formal-outcome/index.html"].decode()
    assert files["index.html"].decode().count("Synthetic data") == 2


def test_privacy_is_told_in_words_with_epsilon_delta_adjacency_and_unit():
    text = Visible(page(content())).text
    for part in ("epsilon 0.998", "delta 0.000001", "add/remove", "The unit of protection is one recorded crime",
                 "42.7% of the promised ε = 8 used", "0.998 for this training alone", "17.21 in each count",
                 "Counts under 10 are never shown"):  # fmt: skip
        assert part in text


def test_the_audited_lower_bound_stands_beside_the_claim_where_there_was_an_audit():
    text = Visible(page(content())).text
    assert "an audited lower bound of 0.271, against epsilon 0.998 claimed for this training alone" in text
    assert "2,000 made-up records, called canaries" in text
    assert "with 95% confidence" in text
    assert "lower bound" not in Visible(page(content("untested"))).text


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "{{ 7 * 191 }}",
    "]]> & </title>", "javascript:alert(1)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words(text):
    of = content()
    of["words"] = dict.fromkeys(of["words"], text)
    of["dataset"] |= {"title": text, "attribution": text, "licence": text, "unit_means": text}
    of["task"]["question"] = of["privacy"]["unit"] = of["purpose"] = text
    of["findings"][0]["sentence"] = of["history"][0]["what"] = text
    of["waves"][-1]["groups"][0] |= {"label": text, "attribute_title": text}
    files = render([release(of)])
    for name in ("index.html", "models/formal-outcome/index.html"):
        written = files[name].decode()
        seen = Visible(written)
        assert seen.tags <= Visible(page(content())).tags | {"ul", "li"}
        assert not [
            a for a, value in seen.attributes if a.startswith("on") or (value or "").startswith("java")
        ]
        assert text in html.unescape(written)
    assert text in "".join(ElementTree.fromstring(files["models/formal-outcome/changes.atom"]).itertext())


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\x00", "\x1b", "\x85"])
def test_words_with_controls_or_direction_overrides_reach_no_page(character):
    of = content()
    of["words"]["title"] = of["waves"][-1]["groups"][0]["label"] = f"safe{character}elif"
    with pytest.raises(Invalid, match="words.title") as refusal:
        page(of)
    assert "waves.2.groups.0.label" in str(refusal.value)
    assert character not in str(refusal.value)


@pytest.mark.parametrize("model", ["../../etc", "a/b", "", "..", "A", "a\n", ".x", "a b"])
def test_a_model_name_that_is_no_folder_name_is_refused(model, tmp_path):
    with pytest.raises(Invalid, match="model"):
        build([release(content(model=model))], tmp_path / "public")
    assert not (tmp_path / "public").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_no_number_is_refused(value):
    of = content()
    of["waves"][0]["measures"]["auc"]["value"] = value
    with pytest.raises(Invalid, match="waves.0.measures.auc.value"):
        page(of)


def test_a_day_that_never_was_is_refused():
    with pytest.raises(Invalid, match="updated: is no day of the calendar"):
        page(content(updated="2026-02-30"))


def test_a_release_with_several_faults_is_refused_with_all_of_them():
    of = content(standing="great", format="ndl-release/9")
    del of["words"]["contact"]
    with pytest.raises(Invalid) as refusal:
        page(of)
    assert {p.where for p in refusal.value.problems} == {"standing", "format", "words.contact"}


def test_a_content_changed_after_it_was_cleared_is_refused():
    cleared = release(content())
    cleared.content["waves"][-1]["measures"]["auc"]["value"] = 0.99
    with pytest.raises(Invalid, match="digest"):
        render([cleared])


def test_two_releases_of_one_model_are_refused():
    with pytest.raises(Invalid, match="formal-outcome: has two releases"):
        render([release(content()), release(content(version=3))])


def test_the_published_record_has_the_digest_the_page_names(tmp_path):
    cleared = release(content())
    build([cleared], tmp_path / "public")
    folder = tmp_path / "public/models/formal-outcome"
    digest = hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
    assert digest == cleared.id
    assert f"<code>{digest[:16]}</code>" in (folder / "index.html").read_text()
    assert json.loads(document(cleared)) == cleared.content


def test_the_same_releases_give_the_same_bytes_in_any_order(tmp_path):
    assert render(every()) == render(every()[::-1])
    for name in ("one", "two"):
        build(every(), tmp_path / name)
    one, two = (
        {f.relative_to(tmp_path / n): f.read_bytes() for f in (tmp_path / n).rglob("*") if f.is_file()}
        for n in ("one", "two")
    )
    assert one == two


def test_every_page_weighs_less_than_15_kb_gzipped():
    for name, file in render(every()).items():
        assert len(gzip.compress(file)) < 15_000, name


def test_building_again_removes_pages_of_models_that_are_gone_and_leaves_nothing_behind(tmp_path):
    build(every(), tmp_path / "public")
    written = build([release(content())], tmp_path / "public")
    assert sorted(written) == sorted(f for f in (tmp_path / "public").rglob("*") if f.is_file())
    assert not (tmp_path / "public/models/digits").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["public"]


def test_a_failed_build_leaves_the_old_site_as_it_was(tmp_path):
    build(every(), tmp_path / "public")
    before = (tmp_path / "public/index.html").read_bytes()
    with pytest.raises(Invalid):
        build([release(content(format="other"))], tmp_path / "public")
    assert (tmp_path / "public/index.html").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["public"]


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Refused, match="holds something else"):
        build(every(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_builders_at_the_same_time_leave_one_whole_site(tmp_path):
    sites = [[release(content(name))] for name in CONTENTS]
    threads = [threading.Thread(target=build, args=(s, tmp_path / "public")) for s in sites * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    built = {
        f.relative_to(tmp_path / "public").as_posix() for f in (tmp_path / "public").rglob("*") if f.is_file()
    }
    assert built in [set(render(s)) for s in sites]
    assert [f.name for f in tmp_path.iterdir()] == ["public"]


def test_every_link_and_anchor_of_every_page_leads_somewhere():
    files = render(every())
    for name, file in files.items():
        if name.endswith(".html") and name != "404.html":
            text = file.decode()
            for link in re.findall(r'(?:href|src)="([^"]*)"', text):
                if link.startswith("#"):
                    assert f'id="{link[1:]}"' in text
                elif not link.startswith("mailto:"):
                    folder = Path("/site", name).parent
                    assert (folder / link).resolve().relative_to("/site").as_posix() in files, (name, link)


def test_the_feed_is_atom_with_lasting_ids_newest_first():
    first, again = (ElementTree.fromstring(render(every()[:n])["changes.atom"]) for n in (1, 4))
    entries = first.findall(f"{ATOM}entry")
    assert [e.find(f"{ATOM}updated").text for e in entries] == [
        "2018-08-02T00:00:00Z", "2016-08-19T00:00:00Z", "2016-08-11T00:00:00Z"
    ]  # fmt: skip
    for feed in (first, again):
        assert all(feed.find(f"{ATOM}{tag}") is not None for tag in ("id", "title", "updated", "link"))
    ids = [e.find(f"{ATOM}id").text for e in again.findall(f"{ATOM}entry")]
    assert len(set(ids)) == len(ids)
    assert {e.find(f"{ATOM}id").text for e in entries} <= set(ids)
    assert first.find(f"{ATOM}id").text == again.find(f"{ATOM}id").text


def test_nothing_is_fetched_from_elsewhere():
    for name, file in render(every()).items():
        if name.endswith((".html", ".css", ".svg")):
            outward = re.sub(r"http://www\.w3\.org/\d+/svg", "", file.decode())
            assert "http:" not in outward
            assert "https:" not in outward
            assert "@import" not in outward
            assert " style=" not in outward


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-06, "0.000001"), (4.0, "4"), (0.757, "0.757"), (-0.5, "\u22120.5"), (-0.0, "0"), (1234.5, "1,234.5"),
     (0.0123456789, "0.01235"), (1 / 3, "0.3333"), (10, "10"), (1200000.0, "1,200,000")],
)  # fmt: skip
def test_a_number_is_written_as_the_record_holds_it(value, text):
    assert writing.number(value) == text


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (writing.score, 0.71, "0.710"), (writing.share, 0.4, "40.0%"), (writing.share, 0.1235, "12.35%"),
        (writing.points, 0.041, "4.1 points"), (writing.points, 0.01, "1 point"), (writing.short, 0.7, "0.70"),
        (writing.whole_share, 0.9, "90%"), (writing.count, 16790, "16,790"),
        (writing.units, "one patient", "people"), (writing.units, "one school", "records"),
        (writing.contact_link, "a.b@example.org", "mailto:a.b@example.org"),
        (writing.contact_link, "javascript:alert(1)", ""), (writing.contact_link, "a@b.c?bcc=d@e.f", ""),
        (writing.contact_link, "https://example.org/contact", "https://example.org/contact"),
    ],
)  # fmt: skip
def test_writing(write, value, text):
    assert write(value) == text


def test_the_widest_gap_is_the_published_one_or_else_that_of_the_fairness_check():
    of = content()
    assert figures.page(read(release(of))).figures[2].value == "6.2 points"
    del of["waves"][-1]["measures"]["auc_gap"]
    of["findings"][2]["value"] = 0.051
    assert figures.page(read(release(of))).figures[2].value == "5.1 points"
    del of["findings"][2]
    assert figures.page(read(release(of))).figures[2].value == "Not measured"


@pytest.fixture
def client(tmp_path):
    build(every(), tmp_path / "public")
    return TestClient(app(tmp_path / "public"))


@pytest.mark.parametrize(
    "path", ["/", "/models/digits/", "/static/site.css", "/no-such-page", "/models/digits"]
)
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path, follow_redirects=False).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/models/digits/record.json", "application/json"), ("/static/icon.svg", "image/svg+xml"),
     ("/models/digits/changes.atom", "application/atom+xml"), ("/static/site.css", "text/css")],
)  # fmt: skip
def test_files_are_served_gzipped_under_their_type(client, path, kind):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert len(answer.content) < 500 or answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/static/../../secret.txt"]
)
def test_nothing_outside_the_folder_is_served(client, tmp_path, path):
    (tmp_path / "secret.txt").write_text("secret")
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Page not found" in answer.text
    assert client.get("/static/%00").status_code == 404


def test_the_site_only_answers_questions(client):
    assert client.post("/").status_code == 405


def test_serving_what_was_never_built_says_how_to_build_it(tmp_path):
    with pytest.raises(NotFound, match="ndl site build"):
        app(tmp_path)


class Box:
    """What the commands use of sandbox.api.Sandbox."""

    def __init__(self, folder):
        from rich.console import Console

        self.folder = folder
        self.store = Store(f"sqlite:///{folder}/ndl.db")
        self.console = Console()


def test_ndl_site_build_shows_the_latest_release_of_each_model(tmp_path):
    box = Box(tmp_path)
    with box.store.transaction() as tx:
        for each in (
            release(content(), day=3),
            release(content(version=3), day=9),
            release(content("digits")),
        ):
            tx.add(each, Event("omar", "release", each.model))
    assert [(r.model, r.content["version"]) for r in latest_releases(box.store)] == [
        ("digits", 1), ("formal-outcome", 3)
    ]  # fmt: skip
    outcome = CliRunner().invoke(site, ["build"], obj=box, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "2 models" in outcome.output
    assert "Version 3," in (tmp_path / "public/models/formal-outcome/index.html").read_text()


def test_ndl_site_build_before_any_release_says_so_on_the_page(tmp_path):
    CliRunner().invoke(
        site, ["build", "--out", str(tmp_path / "out")], obj=Box(tmp_path), catch_exceptions=False
    )
    assert "No model has been released" in (tmp_path / "out/index.html").read_text()
