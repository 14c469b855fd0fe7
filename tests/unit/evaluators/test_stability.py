"""Two versions of a model are held against each other; a version whose predecessor is gone is judged all the same."""

from dataclasses import replace

import numpy as np
import pytest

from evaluators.harness import evaluate_due
from evaluators.origins import version_before
from sandbox.records import Event, ModelVersion


@pytest.fixture
def second(world):
    """The second version of `age`, beside the first."""
    first = world.model()
    made = replace(first, id="age/2", version=2, digest="d2")
    with world.store.transaction() as tx:
        tx.add(made, Event("dana", "test", made.id))
    return made


class Bolder:
    """Says what the first version says, and is surer of it."""

    def __init__(self, scorer):
        self.scorer = scorer

    def probabilities(self, features):
        return np.clip(1.5 * (self.scorer.probabilities(features) - 0.5) + 0.5, 0, 1)


def found(store, version):
    with store.reading() as view:
        return {m.name: m for e, m in view.measurements(version) if e.evaluator == "stability"}


def test_a_second_version_is_held_against_the_first_and_the_first_has_none(
    world, store, settings, scorer, people, second
):
    world.wave("w1", people(1500))
    evaluate_due(store, settings, "operator", load=lambda _, v: Bolder(scorer) if v.id == "age/2" else scorer)
    assert {m.status for m in found(store, "age/1").values()} == {"no earlier version"}
    now = found(store, "age/2")
    assert now["version_flips"].value == 0  # surer, on the same side
    assert 0.05 < now["version_shift"].value < 0.2
    assert now["version_ranks"].value > 0.98


def test_where_the_version_before_cannot_be_loaded_that_alone_fails(
    world, store, settings, scorer, people, second
):
    def load(_settings, version):
        if version.id == "age/1":
            raise FileNotFoundError
        return scorer

    world.wave("w1", people(300))
    failures = {
        e.evaluator: e.failure
        for e in evaluate_due(store, settings, "operator", load=load)
        if e.model_version == "age/2"
    }
    assert failures.pop("stability") == "evaluator:LookupError"
    assert set(failures.values()) == {""}


def test_the_version_before_is_the_last_earlier_one_of_the_same_task(store, second):
    with store.transaction() as tx:
        for version, task in ((3, "kind"), (4, "fell"), (7, "fell")):
            tx.add(
                replace(second, id=f"age/{version}", version=version, task=task),
                Event("d", "t", str(version)),
            )
    before = {v.id: version_before(store, v) for v in store.all(ModelVersion)}
    assert {key: v and v.id for key, v in before.items()} == {
        "age/1": None, "age/2": "age/1", "age/3": None, "age/4": "age/2", "age/7": "age/4",
    }  # fmt: skip
