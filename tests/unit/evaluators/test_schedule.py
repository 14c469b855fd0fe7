"""What is due follows from what is there, never from the clock."""

from datetime import UTC, date, datetime, timedelta

from evaluators.base import Evaluator
from evaluators.schedule import due, evaluation_id, reference_of
from sandbox.lifecycle import Standing, WaveState
from sandbox.records import ModelVersion, Wave

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AUC = Evaluator("auc", 1, frozenset({"binary"}), lambda _: ())


def wave(name, day, arrived=0, dataset="falls", state=WaveState.ACCEPTED):
    return Wave(
        f"{dataset}/{name}", dataset, name, day, 1, 1, "d", "p", state, {}, NOON + timedelta(days=arrived), "dana"
    )  # fmt: skip


def model(name, dataset="falls", standing=Standing.CANDIDATE):
    return ModelVersion(f"{name}/1", name, 1, dataset, "fell", "r", "amara", standing, "m", "d", NOON)


W1, W2 = wave("w1", date(2026, 1, 1)), wave("w2", date(2026, 2, 1), arrived=1)


def pairs(jobs):
    return [(job.model_version.id, job.wave.name) for job in jobs]


def test_the_oldest_wave_comes_first_for_every_model():
    jobs = due([model("b"), model("a")], [W2, W1], set(), lambda _: [AUC])
    assert pairs(jobs) == [("a/1", "w1"), ("b/1", "w1"), ("a/1", "w2"), ("b/1", "w2")]
    assert {job.reference.name for job in jobs} == {"w1"}


def test_what_is_done_is_not_due():
    done = {evaluation_id(model("a"), W1, AUC)}
    assert pairs(due([model("a")], [W1, W2], done, lambda _: [AUC])) == [("a/1", "w2")]


def test_every_standing_but_retired_is_evaluated():
    versions = [model(str(s), standing=s) for s in Standing]
    jobs = due(versions, [W1], set(), lambda _: [AUC])
    assert {job.model_version.standing for job in jobs} == set(Standing) - {Standing.RETIRED}


def test_quarantined_waves_and_other_datasets_waves_are_not_due():
    others = [
        wave("w3", date(2026, 3, 1), state=WaveState.QUARANTINED),
        wave("w4", date(2026, 4, 1), dataset="x"),
    ]
    assert due([model("a")], others, set(), lambda _: [AUC]) == []


def test_the_reference_is_the_first_that_arrived_even_if_an_older_one_comes_later():
    late = wave("w0", date(2025, 1, 1), arrived=9)
    assert reference_of([W2, late, W1]) == W1
