"""What the public pages say: only the record's figures, in plain words that claim no more than was found."""

import json
import re
from decimal import Decimal

import pytest

from dashboards.public import figures, writing
from dashboards.public.record import read
from dashboards.public.site import render
from sandbox.disclosure import rules
from tests.unit.dashboards.releases import (
    CONTENTS,
    Visible,
    content,
    every,
    numbers,
    numbers_of,
    page,
    release,
)

# Numbers a page may say that no record holds: the ends of a score, and the level of the likely ranges.
OF_THE_EXPLANATION = {Decimal("1"), Decimal("0.5"), Decimal("95")}


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


def test_how_far_the_records_moved_is_told_the_furthest_first_with_its_limit_and_cost():
    text = Visible(page(content())).text
    section = text[
        text.index("Have the records changed A model") : text.index("How privacy is protected The model")
    ]
    assert "surely more than 20.0%" in section
    rows = ["Type of crime 15.0% 12.4% to 18.7%", "District 5.5% 2.8% to 7.7%", "Residents Too few to tell"]
    assert [section.index(row) for row in rows] == sorted(section.index(row) for row in rows)
    assert "epsilon 0.25, delta 0.000001 for that release alone, once a test for all models" in text


def test_a_release_without_inputs_says_nothing_of_them():
    text = Visible(page(content("digits"))).text
    assert "Have the records changed" not in text
    assert "Privacy cost of what was recorded" not in text


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
