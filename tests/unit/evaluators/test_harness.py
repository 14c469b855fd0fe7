"""What is due is done exactly once, and nothing that crashes stops the rest."""

import pytest

from evaluators import base, harness, tallies
from evaluators.catalogue import evaluators_for
from evaluators.harness import evaluate_due
from sandbox.lifecycle import FindingState, Standing, Verdict, WaveState
from sandbox.records import Evaluation, Finding
from sandbox.registry import registry

BINARY = {e.name for e in evaluators_for("binary")}


@pytest.fixture
def loads(scorer):
    """A registry that hands out one scorer and notes which versions were asked for."""
    asked = []

    def load(_settings, version):
        asked.append(version.id)
        return scorer

    load.asked = asked
    return load


def test_every_hosted_model_meets_every_accepted_wave_once(world, store, settings, loads, people):
    world.wave("w1", people(800))
    world.wave("w2", people(800, seed=2))
    world.wave("w3", people(800, seed=3), state=WaveState.QUARANTINED)
    world.model("age")
    world.model("old", standing=Standing.RETIRED)
    done = evaluate_due(store, settings, "operator", load=loads)
    assert {(e.model_version, e.wave, e.evaluator) for e in done} == {
        ("age/1", wave, name) for wave in ("falls/w1", "falls/w2") for name in BINARY
    }
    assert not any(e.failure for e in done)
    assert evaluate_due(store, settings, "operator", load=loads) == []
    assert len(store.all(Evaluation)) == len(done)


def test_a_new_wave_brings_only_its_own_evaluations(world, store, settings, loads, people):
    world.wave("w1", people(600))
    world.model()
    evaluate_due(store, settings, "operator", load=loads)
    world.wave("w2", people(600, seed=2))
    assert {e.wave for e in evaluate_due(store, settings, "operator", load=loads)} == {"falls/w2"}


def test_energy_is_by_the_watts_that_the_settings_say_on_the_reference_wave_too(
    world, store, settings, loads, people
):
    world.wave("w1", people(600))
    world.wave("w2", people(600, seed=2))
    world.model()
    said = settings.model_copy(
        update={"evaluation": settings.evaluation.model_copy(update={"watts_a_core": 40})}
    )
    evaluate_due(store, said, "operator", load=loads)
    with store.reading() as view:
        seconds, joules = (
            {e.wave: m.value for e, m in view.measurements("age/1", name=f"evaluation_{what}")}
            for what in ("cpu_seconds", "joules")
        )
    assert joules == pytest.approx({wave: 40 * value for wave, value in seconds.items()})
    assert len(joules) == 2


def test_a_wave_is_scored_once_for_a_model_however_many_evaluators(
    world, store, settings, loads, scorer, people, monkeypatch
):
    quiet = [e for e in evaluators_for("binary") if not e.sample]  # the others ask again, of a few records
    monkeypatch.setattr(harness, "evaluators_for", lambda _kind: quiet)
    world.wave("w1", people(600))
    world.model()
    evaluate_due(store, settings, "operator", load=loads)
    assert scorer.calls == 2  # two row groups of 500 and 100
    assert loads.asked == ["age/1"]


def test_a_new_evaluator_version_is_done_on_old_waves(world, store, settings, loads, people, monkeypatch):
    world.wave("w1", people(600))
    world.model()
    evaluate_due(store, settings, "operator", load=loads)
    newer = base.Evaluator("discrimination", 99, base.KINDS, base.registered()["discrimination"].report)
    monkeypatch.setattr(harness, "evaluators_for", lambda kind: (newer,))
    done = evaluate_due(store, settings, "operator", load=loads)
    assert [(e.evaluator, e.evaluator_version) for e in done] == [("discrimination", 99)]
    assert loads.asked == ["age/1"]  # the tally is kept: nothing is scored again


def test_an_evaluator_that_crashes_is_stored_as_a_code_and_the_others_go_on(
    world, store, settings, loads, people, monkeypatch
):
    def broken(_context):
        raise ZeroDivisionError("record 17 has age 42")
        yield

    good = base.registered()["discrimination"]
    both = (base.Evaluator("broken", 1, base.KINDS, broken), good)
    monkeypatch.setattr(harness, "evaluators_for", lambda kind: both)
    world.wave("w1", people(600))
    world.model()
    done = {e.evaluator: e.failure for e in evaluate_due(store, settings, "operator", load=loads)}
    assert done == {"broken": "evaluator:ZeroDivisionError", "discrimination": ""}
    assert "age 42" not in str(store.audit_lines())


def test_a_model_that_crashes_is_stored_as_a_code_and_other_models_go_on(
    world, store, settings, loads, people
):
    class Broken:
        def probabilities(self, features):
            raise RuntimeError("age 42 is odd")

    world.wave("w1", people(600))
    world.model("age")
    world.model("bad", digest="d2")

    def load(where, version):
        return Broken() if version.model == "bad" else loads(where, version)

    done = evaluate_due(store, settings, "operator", load=load)
    failures = {e.model_version: e.failure for e in done}
    assert failures == {"age/1": "", "bad/1": "scoring:RuntimeError"}
    assert evaluate_due(store, settings, "operator", load=load) == []


def test_a_model_that_answers_nan_has_failed(world, store, settings, people):
    class Nan:
        def probabilities(self, features):
            return features["numbers"][:, 0] * float("nan")

    world.wave("w1", people(600))
    world.model()
    done = evaluate_due(store, settings, "operator", load=lambda *_: Nan())
    assert {e.failure for e in done} == {"scoring:ValueError"}


def test_trouble_with_the_machine_decides_nothing_and_stays_due(world, store, settings, loads, people):
    from pathlib import Path

    wave = world.wave("w1", people(600))
    content = Path(wave.path).read_bytes()
    world.model()
    Path(wave.path).write_bytes(content[:-1] + b"?")
    assert evaluate_due(store, settings, "operator", load=loads) == []
    assert store.audit_lines()[-1].action == "evaluation.postpone"
    Path(wave.path).write_bytes(content)
    assert len(evaluate_due(store, settings, "operator", load=loads)) == len(BINARY)


def test_the_second_of_two_racing_workers_changes_nothing(world, store, settings, loads, people, monkeypatch):
    world.wave("w1", people(600))
    world.model()
    late = harness.pairs_due(store, tallies.Tallies(store, settings, loads))
    evaluate_due(store, settings, "first", load=loads)
    before = store.change_number()
    monkeypatch.setattr(harness, "pairs_due", lambda *_: late)
    assert evaluate_due(store, settings, "second", load=loads) == []
    assert store.change_number() == before


def test_findings_say_what_moved_and_stay_one_for_each_rule_and_subject(
    world, store, settings, loads, people
):
    world.wave("w1", people(4000))
    world.wave("w2", people(4000, seed=2, shift=12, lift=1.5))
    world.model()
    evaluate_due(store, settings, "operator", load=loads)
    findings = {(f.wave, f.rule, f.subject): f for f in store.all(Finding)}
    assert len(findings) == len(store.all(Finding))
    moved = findings["falls/w2", "input drift", "age"]
    assert (moved.verdict, moved.level, moved.state) == (Verdict.BEYOND, "Medium", FindingState.OPEN)
    assert findings["falls/w2", "calibration", "calibration_bias"].verdict is Verdict.BEYOND
    same = findings["falls/w2", "input drift", "alone"]
    assert (same.verdict, same.state) == (Verdict.WITHIN, FindingState.RESOLVED)
    assert ("falls/w1", "input drift", "age") not in findings


def test_headline_values_reach_mlflow_after_the_commit_and_its_failure_harms_nothing(
    world, store, settings, loads, people, monkeypatch
):
    seen = []

    def mirror(_settings, version, wanted):
        seen.append((version.id, {(h.name, h.step): h.value for h in wanted}, len(store.all(Evaluation))))
        raise ConnectionError

    monkeypatch.setattr(registry, "mirror", mirror)
    world.wave("w1", people(600))
    world.model()
    done = evaluate_due(store, settings, "operator", load=loads)
    (call,) = seen
    assert (call[0], call[2]) == ("age/1", len(done))
    assert 0.5 < call[1]["auc", 0] < 1
    world.wave("w2", people(600, seed=2))
    evaluate_due(store, settings, "operator", load=loads)
    assert {step for _, step in seen[-1][1]} == {0, 1}  # what MLflow missed is offered again
    assert call[1].items() <= seen[-1][1].items()
