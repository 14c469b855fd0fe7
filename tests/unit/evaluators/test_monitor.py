"""A model is watched for ever: a lasting change alarms, chance does not, and the budget of false alarms is shown."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from evaluators import cli, harness, monitor
from evaluators.change import Check
from evaluators.policy import Monitoring
from sandbox.lifecycle import Standing, Verdict
from sandbox.records import Finding, Wave

DAYS = [date(2026, 1 + at // 4, 1 + 7 * (at % 4)) for at in range(12)]


@pytest.fixture
def history(world, store, settings, scorer, people):
    """Twelve waves, the first the reference; from `onset` on outcomes are turned round for some."""

    def make(onset=None, waves=9):
        for at in range(waves):
            table = people(6000 if at == 0 else 1500, seed=at + 1)
            if onset is not None and at >= onset:
                fell = table["fell"].to_numpy()
                turned = np.random.default_rng(at).random(len(fell)) < 0.15
                table = table.set_column(table.column_names.index("fell"), "fell", pa.array(fell ^ turned))
            world.wave(f"w{at}", table, DAYS[at])
        world.model()
        harness.evaluate_due(store, settings, "operator", load=lambda *_: scorer)
        return {(f.wave.removeprefix("falls/"), f.subject): f for f in store.all(Finding, rule="change")}

    return make


def test_a_lasting_change_alarms_within_waves_and_says_since_when(history):
    found = history(onset=5)
    assert {wave for wave, _ in found} == {f"w{at}" for at in range(1, 9)}
    assert all(found[f"w{at}", "accuracy"].verdict is not Verdict.BEYOND for at in range(1, 5))
    alarm = found["w6", "accuracy"]
    assert alarm.verdict is Verdict.BEYOND
    assert alarm.level == "High"
    assert "since about wave w5" in alarm.sentence
    assert found["w8", "auc"].verdict is Verdict.BEYOND


def test_without_a_change_there_is_no_alarm_and_the_budget_says_what_the_checks_used(history, store):
    found = history()
    assert not any(f.verdict is Verdict.BEYOND for f in found.values())
    assert any(f.verdict is Verdict.WITHIN for f in found.values())
    policy = Monitoring(alarms_a_year=0.5)
    said = monitor.budget(store, policy)
    assert (said.streams, said.checks, said.alarms) == (3, 8 * 3, 0)
    assert said.threshold == 52 * 3 / 0.5
    assert said.spent == pytest.approx(24 / 312)
    assert "0.5 false alarms a year for the whole estate (3 figures watched)" in said.words
    assert f"checks in the year up to the wave of {said.until:%d %B %Y}" in said.words
    assert monitor.budget(store, policy).until == max(wave.day for wave in store.all(Wave))


def test_the_answer_does_not_depend_on_which_wave_was_evaluated_first(
    world, store, settings, scorer, people, monkeypatch
):
    for at in range(4):
        world.wave(f"w{at}", people(800, seed=at + 1), DAYS[at])
    version = world.model()
    due = harness.pairs_due

    def backwards(*a):
        return sorted(due(*a), key=lambda pair: pair.wave.day, reverse=True)

    monkeypatch.setattr(harness, "pairs_due", backwards)
    harness.evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    made = {f.wave for f in store.all(Finding, rule="change")}
    assert made == {"falls/w1", "falls/w2", "falls/w3"}
    assert monitor.keep_watch(store, Monitoring(), version, "binary", "operator") == []


def test_a_retired_model_is_no_longer_counted_among_the_streams(world, store):
    world.model("a")
    world.model("b", standing=Standing.RETIRED)
    world.model("c", task="cost", digest="d3")
    with store.reading() as view:
        assert monitor.streams_of(view) == 3 + 2


def test_a_change_for_the_better_is_no_alarm_and_a_bias_either_way_is():
    accuracy, _, bias = monitor.FIGURES["binary"]
    before = Check(0.8, 6000, 0.16 / 6000)
    better = [Check(0.86, 2000, 0.12 / 2000)] * 10
    worse = [Check(0.74, 2000, 0.19 / 2000)] * 10
    assert monitor.evidence_of(accuracy, better, before)[-1] < 1
    assert monitor.evidence_of(accuracy, worse, before)[-1] > 1e6
    for side in (-0.06, 0.06):
        moved = [Check(side, 2000, 1e-4)] * 10
        assert monitor.evidence_of(bias, moved, Check(0.0, 6000, 3e-5))[-1] > 1e6


def test_what_surely_moved_is_no_alarm_before_the_evidence_is_there():
    """Looked at every week, a 95 % interval is passed by chance sooner or later."""
    accuracy = monitor.FIGURES["binary"][0]
    waves = [Wave("d/w1", "d", "w1", date(2026, 1, 1), 1, 1, "", "", None, {}, None, "")]
    said = monitor.answer(
        Monitoring(), accuracy, waves, [Check(0.7, 1000, 1e-5)], Check(0.8, 6000, 1e-5), 3.0, 156.0
    )
    assert said.verdict is Verdict.UNKNOWN


def test_findings_end_with_the_alarm_budget(history, store, settings):
    from types import SimpleNamespace

    from click.testing import CliRunner
    from rich.console import Console

    history(waves=3)
    box = SimpleNamespace(store=store, settings=settings, console=Console(width=400))
    said = CliRunner().invoke(cli.findings, ["--all"], obj=box).output
    assert "Alarm budget: 1 false alarm a year for the whole estate (3 figures watched)" in said
