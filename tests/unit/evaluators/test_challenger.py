"""A challenger has one paired test: declared before its wave, run first on it, once, and never again."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy.exc import DatabaseError

from evaluators import challenger, harness
from evaluators.cases import Cases
from evaluators.intervals import difference
from evaluators.tallies import Tallies
from sandbox.errors import Refused
from sandbox.lifecycle import Standing
from sandbox.records import Comparison, ComparisonResult, Evaluation, Wave
from sandbox.roles import Person, Role

OMAR = Person("omar", frozenset({Role.OVERSEER}))


class Worse:
    def __init__(self, scorer):
        self.encoding, self.scorer = scorer.encoding, scorer

    def probabilities(self, features):
        said = self.scorer.probabilities(features)
        return np.clip(said * 0.5 + np.random.default_rng(len(said)).random(len(said)) * 0.5, 0, 1)


@pytest.fixture
def loads(scorer):
    return lambda _settings, version: Worse(scorer) if version.model == "old" else scorer


@pytest.fixture
def rivals(world, store, people):
    """A champion, a better challenger and a first wave; the clock moves when told."""
    world.wave("w1", people(800))
    world.model("new", Standing.CHALLENGER)
    world.model("old", Standing.CHAMPION, digest="d2")
    return store


def declare(store, who=OMAR, reason="Newer records."):
    return challenger.declare(store, "new/1", "old/1", "binary", who, reason)


def arrive(world, name, table, hours):
    """A wave that arrives so many hours after noon."""
    wave = world.wave(name, table)
    later = replace(wave, id=f"falls/{name}", arrived_at=wave.arrived_at + timedelta(hours=hours))
    with world.store.transaction() as tx:
        tx.change(Wave, wave.id, world.event, arrived_at=later.arrived_at)
    return later


def test_the_declared_test_runs_first_on_the_next_wave_and_once(rivals, world, settings, loads, people):
    made = declare(rivals)
    harness.evaluate_due(rivals, settings, "operator", load=loads)
    assert rivals.all(ComparisonResult) == []  # w1 had arrived before
    arrive(world, "w2", people(2000, seed=2), 1)
    arrive(world, "w3", people(2000, seed=3), 2)
    harness.evaluate_due(rivals, settings, "operator", load=loads)
    (result,) = rivals.all(ComparisonResult)
    assert (result.id, result.wave, result.status) == (made.id, "falls/w2", "ok")
    assert result.low > 0
    assert "better" in challenger.words(result, made)
    actions = [line.action for line in rivals.audit_lines()]
    on_w2 = next(at for at, line in enumerate(rivals.audit_lines()) if "falls/w2|" in line.subject)
    assert actions.index("comparison.declare") < actions.index("comparison.finish") < on_w2
    assert any(e.wave == "falls/w2" for e in rivals.all(Evaluation))  # monitoring follows
    harness.evaluate_due(rivals, settings, "operator", load=loads)
    tallies = Tallies(rivals, settings, loads)
    assert challenger.run_first(rivals, tallies, rivals.get(Wave, "falls/w2"), "operator") == []
    with rivals.reading() as view:
        assert challenger.told(view, "new/1") == challenger.told(view)
        assert "better" in challenger.told(view)[0]
        assert challenger.told(view, "other/1") == []


def test_a_declaration_and_its_result_never_change(rivals):
    made = declare(rivals)
    with pytest.raises(DatabaseError), rivals.transaction() as tx:
        tx.connection.exec_driver_sql(f"UPDATE comparisons SET challenger = 'x/1' WHERE id = '{made.id}'")
    assert rivals.get(Comparison, made.id) == made


@pytest.mark.parametrize(
    ("who", "reason", "words"),
    [
        (Person("dev", frozenset({Role.DEVELOPER})), "Better.", "overseer"),
        (Person("amara", frozenset({Role.OVERSEER})), "Mine.", "made this request"),
        (OMAR, "  ", "reason"),
    ],
)
def test_who_may_not_declare_is_refused(rivals, who, reason, words):
    with pytest.raises(Refused, match=words):
        declare(rivals, who, reason)
    assert rivals.all(Comparison) == []


def test_the_same_test_is_not_declared_twice_while_it_waits(rivals):
    declare(rivals)
    with pytest.raises(Refused, match="declared already"):
        declare(rivals)


def test_a_model_that_fails_has_had_its_test(rivals, world, settings, scorer, people):
    class Broken:
        def probabilities(self, features):
            raise RuntimeError("age 42")

    declare(rivals)
    arrive(world, "w2", people(500, seed=2), 1)
    harness.evaluate_due(rivals, settings, "o", load=lambda _, v: Broken() if v.model == "new" else scorer)
    (result,) = rivals.all(ComparisonResult)
    assert (result.value, result.status) == (None, "scoring:RuntimeError")


def test_the_paired_interval_holds_and_is_much_narrower_than_the_unpaired():
    from evaluators.discrimination import auc_of

    rng, held, widths = np.random.default_rng(5), [], []
    for _ in range(150):
        z = rng.normal(size=900)
        yes = (rng.random(900) < 1 / (1 + np.exp(-z))).astype(int)
        a, b = (np.clip(((z + rng.normal(0, 0.3, 900)) * 8 + 32).astype(int), 0, 63) for _ in range(2))
        joint = np.zeros((2, 64, 64), int)
        np.add.at(joint, (yes, a, b), 1)
        paired = challenger.paired_auc(joint)
        apart = difference(*(auc_of(Cases.plain(joint.sum(axis=at)), 1) for at in (2, 1)))
        assert paired.value == pytest.approx(apart.value, abs=1e-12)
        held.append(paired.low <= 0 <= paired.high)
        widths.append((paired.high - paired.low) / (apart.high - apart.low))
    assert np.mean(held) >= 0.90
    assert np.mean(widths) < 0.5
