"""Two versions of a model are held against each other; a version whose predecessor is gone is judged all the same."""

from dataclasses import replace

import numpy as np
import pytest

from evaluators import scoring
from evaluators.counting import Builder, count_batches
from evaluators.harness import evaluate_due
from evaluators.origins import versions_beside
from evaluators.stability import count
from sandbox.catalogue.encoding import Encoding
from sandbox.lifecycle import Standing
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
    assert {m.status for m in found(store, "age/1").values()} == {
        "no earlier version",
        "no other version is champion",
    }
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
    beside = {v.id: versions_beside(store, v) for v in store.all(ModelVersion)}
    assert {key: others["before"].id if others else None for key, others in beside.items()} == {
        "age/1": None, "age/2": "age/1", "age/3": None, "age/4": "age/2", "age/7": "age/4",
    }  # fmt: skip


def test_a_version_is_held_against_the_champion_of_the_day_too(
    world, store, settings, scorer, people, second
):
    def load(_settings, version):
        return scorer if version.id == "age/1" else Bolder(scorer)

    with store.transaction() as tx:
        third = replace(second, id="age/3", version=3, digest="d3")
        tx.add(third, Event("dana", "test", third.id))
        tx.change(ModelVersion, "age/1", Event("olga", "test", "age/1"), standing=Standing.CHAMPION)
    world.wave("w1", people(1500))
    evaluate_due(store, settings, "operator", load=load)
    now = found(store, "age/3")
    assert now["version_shift"].value == 0  # age/2 says the same
    assert 0.05 < now["champion_shift"].value < 0.2
    assert {m.status for name, m in found(store, "age/1").items() if "champion" in name} == {
        "no other version is champion"
    }

    with store.transaction() as tx:
        tx.change(ModelVersion, "age/1", Event("olga", "test", "age/1"), standing=Standing.CHALLENGER)
        tx.change(ModelVersion, "age/2", Event("olga", "test", "age/2"), standing=Standing.CHAMPION)
    world.wave("w2", people(1500, seed=5))
    evaluate_due(store, settings, "operator", load=load)
    with store.reading() as view:
        by_wave = {e.wave: m.value for e, m in view.measurements("age/3", name="champion_shift")}
    assert by_wave["falls/w2"] == 0
    assert by_wave["falls/w1"] == now["champion_shift"].value


def test_a_champion_that_is_the_version_before_is_asked_once(card, scorer, people):
    asked, encoding = [], Encoding(card, "fell")

    class Counted(Bolder):
        def probabilities(self, features):
            asked.append(len(features["numbers"]))
            return super().probabilities(features)

    other = Counted(scorer)
    batches = scoring.score([people(400)], scorer, encoding)
    builder = Builder("stability", 1, count, beside=True)
    (tally,) = count_batches(batches, [builder], 400, "k", {"before": other, "champion": other})
    assert asked == [400]
    assert (
        tally["stability:before:moved"].counts.tolist() == tally["stability:champion:moved"].counts.tolist()
    )
