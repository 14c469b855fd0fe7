"""Screens draw the panels they are given, made-up ones included, and escape every word of them."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from dashboards import numbers, views
from dashboards.live import markup, reports, tables
from dashboards.live.screens import model as model_screen
from dashboards.live.serve import HEADERS, SafeHeaders, inline_scripts, must_be_loopback
from dashboards.panels import Alarm, IncidentLine, OverviewPanel, Point
from sandbox.cli import cli
from sandbox.errors import Refused
from sandbox.lifecycle import IncidentState, Verdict
from sandbox.privacy import wording
from sandbox.records import Event, Incident, Measurement, Submission, Wave
from sandbox.roles import Person, Role
from sandbox.training import incidents

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def page_of(screen, panel):
    """The HTML that a screen draws of a panel, and its charts."""
    draw = {"overview": "render(panel, now)", "model": "st.html(heading(panel, now)); render(panel)"}[screen]
    names = {"overview": "render", "model": "heading, render"}[screen]
    script = f"""
import streamlit as st
from dashboards.live.screens.{screen} import {names}
panel, now = st.session_state["panel"], st.session_state["now"]
{draw}
"""
    app = AppTest.from_string(script, default_timeout=20)
    app.session_state["panel"], app.session_state["now"] = panel, NOW
    app.run()
    assert not app.exception
    charts = app.get("arrow_vega_lite_chart") + app.get("vega_lite_chart")
    return "\n".join(e.proto.body for e in app.get("html")), charts


@pytest.fixture
def crime(made_up):
    return views.model(made_up.store, "formal-outcome/1")


def test_the_overview_says_who_needs_a_decision_and_links_to_them(made_up):
    html, _ = page_of("overview", views.overview(made_up.store))
    assert "2 need a decision" in html
    assert 'href="model?model=formal-outcome%2F1"' in html
    for words in ("Falls risk 3", "0.687", "0.681 to 0.693", "3 beyond tolerance", "1 failed evaluation",
                  "112 records lie above the maximum", "of the promised ε = 8 used", "ε of this training alone",
                  "33 budgets not touched yet"):  # fmt: skip
        assert words in html


def test_what_has_no_drawing_of_its_own_is_listed_worst_first_and_what_is_private_by_the_certificate(made_up):
    wave = max(made_up.store.all(Wave, dataset="crime"), key=lambda w: w.day)
    worse = [Measurement("flips_missing", i / 20, 500, 0.0, 0.9, feature=f"column_{i:02}") for i in range(12)]
    made_up.evaluation("formal-outcome/1", wave.id, "robustness", worse)
    made_up.evaluation("formal-outcome/1", wave.id, "audit", [Measurement("epsilon_audited", 0.271, 2000)])
    made_up.evaluation("formal-outcome/1", wave.id, "of_a_plugin", [Measurement("my_share", 0.123, 9)])
    html, _ = page_of("model", views.model(made_up.store, "formal-outcome/1"))
    for words in ("Does the model hold up when its inputs get worse?", "Decisions that flip, input missing", "4 more",
                  "Of a plugin", "My share", "0.123"):  # fmt: skip
        assert words in html
    assert html.index("Column 11") < html.index("Column 04") < html.index("4 more") < html.index("Column 03")
    assert html.index("Privacy certificate") < html.index("ε proved at least, by canaries")
    assert html.count("ε proved at least, by canaries") == 1


def test_an_open_incident_needs_a_decision_on_the_overview_until_it_is_resolved(made_up):
    (submission, *_) = made_up.store.all(Submission, model="falls-risk")
    words = f"The noise of the weights is not Gaussian. {HOSTILE}"
    kept = Incident("r-9", submission.id, "shape", words, {}, IncidentState.OPEN, NOW)
    with made_up.store.transaction() as tx:
        tx.add(kept, Event("worker", "incident.open", kept.id, kept.sentence))
    html, _ = page_of("overview", views.overview(made_up.store))
    assert "3 need a decision" in html
    assert "A training of falls-risk did not pass the release gate, on 23 Nov 2026:" in html
    assert "ndl incident show r-9" in html
    assert "<script" not in html
    incidents.resolve(made_up.store, "r-9", Person("omar", frozenset({Role.OVERSEER})), "A test.")
    html, _ = page_of("overview", views.overview(made_up.store))
    assert "2 need a decision" in html
    assert "resolved the incident of" in html


def test_without_models_an_incident_is_not_hidden_by_a_welcome():
    incident = IncidentLine("r-9", "falls-risk", "The noise repeats.", NOW)
    html, _ = page_of("overview", OverviewPanel((), (), (), (), (incident,)))
    assert "The noise repeats." in html
    assert "1 needs a decision" in html
    assert "No models yet" not in html
    assert "All well" not in html


def test_claimed_epsilon_and_audited_lower_bound_stand_side_by_side(crime):
    html, _ = page_of("model", crime)
    assert re.search(
        r"by privacy loss distributions.*Audited lower bound of ε, from canaries.*0\.271", html, re.S
    )
    assert "passed: 27 checks" in html
    assert wording.AUDITED_NOTE in html


def test_an_empty_sandbox_says_what_to_do_first():
    html, _ = page_of("overview", OverviewPanel((), (), (), ()))
    assert "No models yet." in html
    assert "ndl dataset add" in html


def test_the_model_screen_shows_title_banner_cards_and_charts(crime):
    html, drawn = page_of("model", crime)
    for words in ("Formal outcome of a recorded crime, version 1 · champion", "Needs a decision.",
                  "−0.070 since 2016-07",
                  "1 of 5", "Widest gap between groups (AUC)", "21,988", "too few", "beyond tolerance",
                  "Agreed floor: 0.03 below wave 2016-07, 0.727"):  # fmt: skip
        assert words in html
    assert len(drawn) == 4


def test_the_model_screen_says_what_was_trained_and_behind_which_wall(crime, made_up):
    html, _ = page_of("model", crime)
    for words in ("What was trained", "model.py, behind bubblewrap", "user namespace, no network, seccomp",
                  "2,209 learned, 1 fixed", "7,083 operations in 31 steps", "Never looks at", "9a" * 32,
                  "Layers of what was trained", "ResidualTabular", "cat, to_copy", "2,176"):  # fmt: skip
        assert words in html, words
    deep = replace(crime.graph, layers=crime.graph.layers * 9, wall="", recipe="mlp (bins 4)")
    html, _ = page_of("model", replace(crime, graph=deep))
    assert "15 more layers" in html
    assert "recipe mlp (bins 4)" in html
    html, _ = page_of("model", views.model(made_up.store, "falls-risk/3"))
    assert "before models were kept as record graphs" in html


def test_a_layer_named_by_a_developer_is_text_and_nothing_more(crime):
    layer = replace(crime.graph.layers[0], module=HOSTILE, kind=HOSTILE)
    html, _ = page_of("model", replace(crime, graph=replace(crime.graph, layers=(layer,))))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_four_kinds_of_change_each_have_the_verdict_of_their_own_rule(crime):
    latest = crime.waves[-1].name
    judged = replace(crime.findings[0], rule="relation drift", wave=latest, verdict=Verdict.BEYOND)
    html = str(tables.drift(replace(crime, findings=(judged,))))
    kinds = ("Inputs", "Scores", "Outcomes", "How outcomes follow from scores")
    rows = {kind: html[html.index(f">{kind}<") :].split("</tr>")[0] for kind in kinds}
    assert ["not judged" in row for row in rows.values()] == [True, True, True, False]
    assert "beyond tolerance" in rows["How outcomes follow from scores"]
    assert "distance 0.0" in rows["How outcomes follow from scores"]


def test_the_banner_follows_the_alarm(crime, made_up):
    calm = replace(crime, alarm=Alarm())
    assert "All well." in page_of("model", calm)[0]
    assert "Needs a decision." not in page_of("model", calm)[0]
    digits = views.model(made_up.store, "digit-reader/1")
    html, _ = page_of("model", digits)
    assert "Not everything could be judged." in html
    assert "evaluator:MemoryError" in html
    assert "All well." in page_of("model", replace(digits, failures=()))[0]


def test_a_model_of_several_classes_is_drawn_too(made_up):
    html, drawn = page_of("model", views.model(made_up.store, "digit-reader/1"))
    assert "94.5 %" in html
    assert "−1.2 pts since 2026-08" in html
    assert len(drawn) == 4


def test_a_model_that_predicts_a_number_is_drawn_too(made_up):
    task = {"kind": "regression", "target": "days", "question": "How many days will this take?"}
    made_up.dataset("stays", "Hospital stays", {"age": "Age"}, {}, {"days": task}, "one stay")
    made_up.model("length-of-stay", "Length of stay", "stays", "days", "candidate")
    for number, value in enumerate((0.41, 0.38)):
        wave = made_up.wave("stays", f"2026-{number + 1:02d}", date(2026, number + 1, 1), 800)
        measured = [Measurement("r2", value, 800, value - 0.05, value + 0.05)]
        made_up.evaluation("length-of-stay/1", wave.id, "discrimination", measured)
    html, drawn = page_of("model", views.model(made_up.store, "length-of-stay/1"))
    assert "0.380" in html
    assert "−0.030 since 2026-01" in html
    assert "Widest gap between groups (mean absolute error)<" in html
    assert len(drawn) == 1
    assert "Length of stay 1" in page_of("overview", views.overview(made_up.store))[0]


def test_a_model_before_its_first_wave_is_drawn_without_a_chart(crime):
    empty = replace(crime.inputs, features=(), waves=(), cells=())
    trend = replace(crime.headline, points=())
    fresh = replace(
        crime, waves=(), headline=trend, bias=trend, gap=trend, inputs=empty, findings=(), alarm=Alarm()
    )
    html, drawn = page_of("model", fresh)
    assert "no wave has been evaluated yet" in html
    assert "Privacy certificate" in html
    assert drawn == []


def test_one_wave_is_drawn_as_a_beginning(crime):
    one = lambda trend: replace(trend, points=trend.points[:1], limits=(), limit_words="")  # noqa: E731
    inputs = replace(
        crime.inputs,
        waves=("2016-07",),
        cells=tuple(c for c in crime.inputs.cells if c.point.wave == "2016-07"),
    )
    trends = {name: one(getattr(crime, name)) for name in ("headline", "bias", "gap", "sizes")}
    rest = {"inputs": inputs, "changes": {}, "findings": (), "alarm": Alarm()}
    first = replace(crime, waves=crime.waves[:1], **trends, **rest)
    html, _ = page_of("model", first)
    assert "this wave is the reference" in html
    assert "judging begins with the second wave" in html


@pytest.mark.parametrize("screen", ["overview", "model"])
def test_words_from_developers_are_escaped(screen, made_up):
    made_up.model("hostile", HOSTILE, "crime", "formal", "candidate")
    made_up.decision("hostile/1", "champion", HOSTILE, NOW)
    panel = views.overview(made_up.store) if screen == "overview" else views.model(made_up.store, "hostile/1")
    html, _ = page_of(screen, panel)
    assert "<script" not in html
    assert "onerror=alert(2)&gt;" in html


def test_only_markup_made_here_is_left_unescaped():
    assert markup.tag("a", "x", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert markup.block(HOSTILE, markup.tag("b", HOSTILE)).count("<script") == 0
    assert markup.interval_bar(Point("w", NOW.date(), None), 0, 1) == ""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.value(0.7568), "0.757"), (numbers.value(0.7568, "share"), "75.7 %"),
        (numbers.value(21988, "number"), "21,988"), (numbers.value(None), "–"), (numbers.value(-0.0021), "−0.002"),
        (numbers.value(-0.0001), "0.000"), (numbers.change(-0.0004, "share"), "0.0 pts"),
        (numbers.change(-0.0704), "−0.070"), (numbers.change(0.012, "share"), "+1.2 pts"),
        (numbers.stated(Point("w", NOW.date(), None, status="too few")), "too few"),
        (numbers.ago(datetime(2026, 11, 23, 9, 59, tzinfo=UTC), NOW), "2 hours ago"),
        (numbers.ago(NOW, NOW), "just now"),
        (numbers.count(1, "finding"), "1 finding"), (numbers.count(1200, "wave"), "1,200 waves"),
    ],
)  # fmt: skip
def test_numbers_are_written_in_one_way(written, expected):
    assert written == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.53"])
def test_a_loopback_address_is_served(host):
    must_be_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "ndl.example.org", ""])
def test_an_address_others_can_reach_is_refused_in_plain_words(host):
    with pytest.raises(Refused, match="no sign-in yet"):
        must_be_loopback(host)


def test_the_command_refuses_before_it_opens_anything(tmp_path):
    config = tmp_path / "ndl.toml"
    config.write_text(f'[storage]\nfolder = "{tmp_path}/var"\n[serving]\nhost = "0.0.0.0"\n')
    outcome = CliRunner().invoke(cli, ["--config", str(config), "dashboard"])
    assert isinstance(outcome.exception, Refused)
    assert not (tmp_path / "var").exists()


def test_the_policy_lets_no_inline_script_run_but_streamlits_own():
    policy = HEADERS["content-security-policy"]
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert "http" not in policy
    assert all(script.startswith("'sha256-") for script in inline_scripts())
    assert len(inline_scripts()) == 1


def test_a_report_is_served_as_a_page_that_can_reach_nothing_and_no_other_file_is(tmp_path, monkeypatch):
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.testclient import TestClient

    monkeypatch.setenv("NDL_STORAGE__FOLDER", str(tmp_path))
    monkeypatch.delenv("NDL_CONFIG", raising=False)
    file = tmp_path / "reports/falls/3/w1.html"
    file.parent.mkdir(parents=True)
    file.write_text("<p>Looking closer</p>")
    (tmp_path / "ndl.html").write_text("not a report")
    client = TestClient(Starlette(routes=[reports.route()], middleware=[Middleware(SafeHeaders)]))
    answer = client.get(reports.address("falls/3", "w1"))
    assert answer.text == "<p>Looking closer</p>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none';")
    assert "connect-src" not in policy  # so default-src rules it out
    for other in ("falls/3/w2", "../ndl/1/x", "..%2F..%2Fndl/3/w1", "falls/3/..%2F..%2F..%2Fndl"):
        assert client.get(reports.PREFIX + other).status_code == 404


def test_the_heading_links_to_the_reports_that_were_made(made_up):
    panel = views.model(made_up.store, "falls-risk/3")
    html = model_screen.heading(panel, NOW, {"w1": reports.address("falls-risk/3", "w1")})
    assert 'href="/reports/falls-risk/3/w1"' in html
    assert "Evidently" not in model_screen.heading(panel, NOW)


def test_attacks_on_the_training_stand_beside_what_epsilon_allows_and_stay_when_later_waves_come(made_up):
    first, *_, last = sorted(made_up.store.all(Wave, dataset="crime"), key=lambda w: w.day)
    found = [("membership_auc", 0.512, 0.49, 0.53), ("membership_tpr_1", 0.013, 0.006, 0.024)]
    attacked = [Measurement(name, *rest[:1], 9_000, *rest[1:], group="attack=RMIA") for name, *rest in found]
    attacked += [Measurement("membership_tpr_01", None, 9_000, group="attack=RMIA", status="too few")]
    most = [
        ("membership_auc_allowed", 0.731),
        ("membership_tpr_1_allowed", 0.0272),
        ("membership_tpr_01_allowed", 0.0027),
    ]
    attacked += [Measurement(name, value, 12_000) for name, value in most]
    later = [Measurement(m.name, None, 0, group=m.group, status="reference") for m in attacked if m.group]
    made_up.evaluation("formal-outcome/1", first.id, "membership", attacked)
    made_up.evaluation("formal-outcome/1", last.id, "membership", later)
    html, _ = page_of("model", views.model(made_up.store, "formal-outcome/1"))
    assert html.count("Can an attacker tell who was in the training?") == 1
    assert html.index("Privacy certificate") < html.index("Can an attacker tell")
    for words in ("RMIA", "0.512 (0.490 to 0.530)", "1.3 % (0.6 to 2.4 %)", "too few", "Most by ε", "0.731", "2.7 %",
                  "9,000 units", first.name):  # fmt: skip
        assert words in html
    html, _ = page_of("model", views.model(made_up.store, "digit-reader/1"))
    assert "Can an attacker" not in html
