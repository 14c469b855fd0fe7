"""Views answer from the store: what is open, what has moved, what is left, and what nobody could say."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dashboards import views
from dashboards.judgements import alarm
from dashboards.live import tables
from dashboards.panels import DecisionLine
from sandbox.errors import NotFound
from sandbox.lifecycle import FindingState, Standing, SubmissionState, Verdict, WaveState
from sandbox.records import Evaluation, Event, Measurement, ModelVersion, Submission, Wave

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
CRIME, FALLS, DIGITS = "formal-outcome/1", "falls-risk/3", "digit-reader/1"


def line_of(panel, key):
    return next(m for m in panel.models if m.name.id == key)


def test_the_overview_shows_every_model_and_those_that_need_a_decision_first(made_up):
    panel = views.overview(made_up.store)
    assert [m.name.id for m in panel.models] == [FALLS, CRIME, DIGITS]
    assert [m.alarm.needs_decision for m in panel.models] == [True, True, False]
    crime = line_of(panel, CRIME)
    assert (crime.name.title, crime.name.standing) == (
        "Formal outcome of a recorded crime",
        Standing.CHAMPION,
    )
    assert [p.value for p in crime.headline.points] == [0.757, 0.726, 0.687]
    assert (crime.latest.wave, crime.latest.value, crime.epsilon) == ("2018-07", 21988, 1.0)
    assert {f.subject for f in crime.alarm.findings} == {"AUC", "Calibration bias", "Type of crime"}


def test_a_quarantined_wave_is_shown_with_what_was_wrong_and_is_no_models_wave(made_up):
    panel = views.overview(made_up.store)
    (aside,) = [w for w in panel.waves if w.state is WaveState.QUARANTINED]
    assert (aside.name, aside.rows) == ("2026-w48", 3391)
    assert aside.problems == (
        "wait_days: 112 records lie above the maximum",
        "trust: 9 records have a category the card does not list",
    )
    assert "2026-w48" not in [w.name for w in views.model(made_up.store, FALLS).waves]


def test_each_pool_has_its_budget_under_the_datasets_title(made_up):
    budgets = views.overview(made_up.store).budgets
    training = {b.title: (b.epsilon, b.spent) for b in budgets if b.what == "training"}
    assert training["Falls in hospital (synthetic)"] == (6.0, 0.0)
    assert {b.what for b in budgets if b.title.startswith("Recorded crimes")} == {
        "training", "wave 2016-07", "wave 2017-07", "wave 2018-07",
    }  # fmt: skip


def test_many_audit_lines_of_one_evaluation_are_one_happening(made_up):
    told = [(h.by, h.what, h.subject, h.reason) for h in views.overview(made_up.store).happenings]
    assert ("operator", "evaluated", "digit-reader/1 on digits/2026-11", "8 evaluations") in told
    assert len(told) == len(set(told)) == 12


def test_a_model_is_judged_against_the_floor_its_findings_name(made_up):
    panel = views.model(made_up.store, CRIME)
    assert panel.headline.limits == (pytest.approx(0.757 - 0.03),)
    assert panel.bias.limits == (-0.05, 0.05)
    assert panel.inputs.limit == 0.10
    assert (
        views.model(made_up.store, DIGITS).headline.limit_words == "Agreed floor: 3 points below wave 2026-08"
    )


def test_the_input_that_moved_furthest_stands_first_and_the_first_wave_is_the_reference(made_up):
    inputs = views.model(made_up.store, CRIME).inputs
    assert inputs.features[0] == "Type of crime"
    assert inputs.waves == ("2016-07", "2017-07", "2018-07")
    assert [inputs.beyond(w) for w in inputs.waves] == [0, 0, 1]
    assert {c.point.status for c in inputs.cells if c.point.wave == "2016-07"} == {"reference"}


def test_a_task_of_several_classes_is_headed_by_accuracy(made_up):
    panel = views.model(made_up.store, DIGITS)
    assert (panel.headline.name, panel.headline.unit) == ("accuracy", "share")
    assert panel.gap.unit == "share"
    assert {line.attribute for line in panel.groups.lines} == {"Digit"}
    assert [f.code for f in panel.failures] == ["evaluator:MemoryError"]


def test_too_few_cases_are_said_and_never_a_number(made_up):
    panel = views.model(made_up.store, CRIME)
    (craven,) = [line for line in panel.groups.lines if line.label == "Craven"]
    assert (craven.measures["auc"].value, craven.measures["auc"].status) == (None, "too few")
    assert panel.missing == ("District Craven: AUC (too few cases)",)


def test_pairs_of_attributes_are_folded_away_below_the_groups_and_never_head_the_page(made_up):
    version = made_up.store.get(ModelVersion, CRIME)
    wave = max(made_up.store.all(Wave, dataset=version.dataset), key=lambda w: w.day)
    pair = "district & density_quarter"
    rows = [Measurement("auc_gap", 0.4, 900, 0.2, 0.6, pair)]
    rows += [Measurement("auc", 0.6 + at / 50, 300, 0.5, 0.7, f"{pair}=Leeds & {at}") for at in range(3)]
    made_up.evaluation(CRIME, wave.id, "another", rows)
    panel = views.model(made_up.store, CRIME)
    assert [line.attribute for line in panel.groups.pairs] == ["District & density quarter"] * 3
    assert {line.attribute for line in panel.groups.lines} == {"District"}
    assert panel.gap_of == "district"
    html = str(tables.groups(panel.groups))
    assert html.index("Craven") < html.index("<details") < html.index("Leeds &amp; 0")
    assert "Two attributes at once: the groups with the worst AUC" in html
    assert "District &amp; density quarter: widest gap 0.400" in html


def test_a_decision_made_after_the_findings_answers_them(made_up):
    last = max(f.found_at for f in views.model(made_up.store, CRIME).alarm.findings)
    made_up.decision(CRIME, "suspended", "Too far below the floor.", last + timedelta(minutes=5))
    answered = views.model(made_up.store, CRIME).alarm
    assert not answered.needs_decision
    assert (answered.decided.action, len(answered.findings)) == ("suspended", 3)
    assert not line_of(views.overview(made_up.store), CRIME).alarm.needs_decision


def test_a_finding_stays_open_until_a_later_wave_says_otherwise(made_up):
    panel = views.model(made_up.store, CRIME)
    (quality,) = [f for f in panel.alarm.findings if f.rule == "quality"]
    later = timedelta(days=365)
    fine = replace(quality, day=quality.day + later, verdict=Verdict.WITHIN, state=FindingState.RESOLVED)
    other = replace(quality, day=quality.day + later, rule="calibration", subject="x", verdict=Verdict.WITHIN)
    assert alarm([fine, quality], (), Standing.CHAMPION).findings == ()
    assert alarm([other, quality], (), Standing.CHAMPION).findings == (quality,)
    assert alarm([quality], (), Standing.RETIRED).findings == ()
    seen = replace(quality, state=FindingState.ACKNOWLEDGED)
    assert alarm([seen], (), Standing.CHAMPION).findings == ()
    before = DecisionLine(quality.found_at - timedelta(minutes=1), "omar", "champion", "")
    assert alarm([quality], (before,), Standing.CHAMPION).needs_decision


def test_an_evaluator_that_crashes_on_a_new_wave_does_not_hide_what_is_open(made_up):
    wave = made_up.wave(
        "crime", "2019-07", views.model(made_up.store, CRIME).waves[-1].day.replace(year=2019), 9000
    )
    made_up.evaluation(CRIME, wave.id, "discrimination", [], failure="scoring:RuntimeError")
    panel = views.model(made_up.store, CRIME)
    assert panel.waves[-1].name == "2019-07"
    assert "AUC" in {f.subject for f in panel.alarm.findings}
    assert panel.failures[0].wave == "2019-07"


def test_the_newest_version_of_an_evaluator_counts(made_up):
    wave = made_up.store.get(Wave, "crime/2018-07")
    again = Evaluation(
        f"{CRIME}|{wave.id}|discrimination|2", CRIME, wave.id, "discrimination", 2, "", wave.arrived_at
    )
    with made_up.store.transaction() as tx:
        tx.add_evaluation(
            again, [Measurement("auc", 0.701, 100, 0.69, 0.71)], Event("operator", "x", again.id)
        )
    assert views.model(made_up.store, CRIME).headline.latest.value == 0.701
    assert line_of(views.overview(made_up.store), CRIME).headline.latest.value == 0.701


def test_a_model_without_a_wave_is_shown_as_such(made_up):
    made_up.model("newcomer", "Newcomer", "crime", "formal", Standing.CANDIDATE)
    panel = views.model(made_up.store, "newcomer/1")
    assert (panel.waves, panel.headline.points, panel.findings) == ((), (), ())
    assert line_of(views.overview(made_up.store), "newcomer/1").latest is None


def test_an_unknown_model_is_not_found_and_an_empty_store_is_an_empty_overview(empty_store):
    with pytest.raises(NotFound):
        views.model(empty_store, "nobody/1")
    panel = views.overview(empty_store)
    assert (panel.models, panel.budgets, panel.waves, panel.happenings) == ((), (), (), ())


def test_reading_changes_nothing(made_up):
    before = made_up.store.change_number()
    views.overview(made_up.store)
    views.model(made_up.store, FALLS)
    assert made_up.store.change_number() == before
    assert len(views.model_names(made_up.store)) == len(made_up.store.all(ModelVersion))


def test_a_model_is_shown_with_the_graph_that_was_trained(made_up):
    graph = views.model(made_up.store, CRIME).graph
    assert (graph.digest, graph.recipe, graph.wall) == ("9a" * 32, "", "bubblewrap")
    assert graph.wall_layers == ("user namespace", "no network", "seccomp")
    assert (graph.parameters, graph.fixed, graph.flops, graph.nodes) == (2209, 1, 7083, 31)
    assert graph.reads == ("numbers, booleans and dates", "categories")
    assert graph.ignores == ("Notes",)
    assert graph.layers[0].operators == ("cat", "to_copy")
    assert graph.layers[1].shape == (32,)
    assert views.model(made_up.store, FALLS).graph is None  # from before there were graphs


def test_a_recipe_is_named_with_its_settings(made_up):
    made_by = {"recipe": "mlp", "settings": {"bins": 4, "hidden": [32, 8]}}
    graph = made_up.graph(made_by, [("line", "Linear", ["aten.linear.default"], [1, 1], 9)], digest="0b" * 32)
    made_up.model("recipe", "Recipe", "crime", "formal", Standing.CANDIDATE, graph=graph)
    panel = views.model(made_up.store, "recipe/1").graph
    assert (panel.recipe, panel.wall) == ("mlp (bins 4, hidden 32 and 8)", "")


def test_a_refused_submission_is_told_and_an_admitted_one_is_no_news_of_its_own(made_up):
    with made_up.store.transaction() as tx:
        tx.add(*_received("s-x"))
        tx.log(Event("amara", "submission.admitted", "s-x"))
        tx.log(Event("amara", "submission.refused", "s-x", "The model has 1 problem:"))
    newest, before = views.overview(made_up.store).happenings[:2]
    assert (newest.what, newest.subject) == ("submitted a model that was refused:", "bold-model")
    assert newest.reason == "The model has 1 problem:"
    assert before.what == "submitted the model"


def _received(key):
    submission = Submission(
        key, "bold-model", "crime", "formal", "amara", {}, {}, "f" * 64, "x", SubmissionState.REFUSED, "",
        NOW,
    )  # fmt: skip
    return submission, Event("amara", "submission.received", key)


def test_views_and_charts_load_no_engine():
    probe = "import sys, dashboards.views, dashboards.charts, dashboards.live.markup, dashboards.live.screens.model; "
    probe += (
        "print(sorted({'torch', 'mlflow', 'streamlit', 'pandas', 'altair', 'opacus'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_charges_of_one_release_are_one_happening_and_those_for_the_inputs_another(made_up):
    for wave in ("2016-07", "2017-07"):
        for why in (f"release|{CRIME}|crime/{wave}|v1", f"inputs|crime/{wave}|dc20f229c0041074|v1"):
            with made_up.store.transaction() as tx:
                tx.log(
                    Event("omar", "privacy.reserve", "c0ffee", why, {"pool": f"held-out:crime_people/{wave}"})
                )
                tx.log(Event("omar", "release.noise", "x"))
    told = [(h.what, h.subject, h.reason) for h in views.overview(made_up.store).happenings[:2]]
    what = "charged 2 held-out budgets for releasing"
    assert told == [(what, "how the inputs have moved", ""), (what, CRIME, "")]
