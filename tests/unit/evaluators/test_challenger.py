"""A challenger has one paired test: declared before its wave, run first on it, once, and never again."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy.exc import DatabaseError

from evaluators import challenger, harness, scoring
from evaluators.axes import score_positions
from evaluators.cases import Cases
from evaluators.intervals import difference
from evaluators.tallies import Tallies
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import Refused
from sandbox.lifecycle import Standing
from sandbox.records import Comparison, ComparisonResult, Evaluation, Wave
from sandbox.roles import Person, Role
from tests.unit.evaluators.conftest import AgeScorer
from tests.unit.evaluators.test_cases import PEOPLE, WEIGHED, times, weighing

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


def asked(card, task, table, seed=9):
    """What a good model and one with noise in it say of these records; the noise is the person's."""
    encoding = Encoding(card, task)
    good = AgeScorer(encoding)

    class Noisy:
        def probabilities(self, features):
            said = good.probabilities(features)
            noise = np.random.default_rng(seed).random(int(features["numbers"].shape[0] / COPIES) + 1)
            noise = np.repeat(noise, COPIES)[: len(said)]
            if task == "fell":
                return said * 0.5 + noise * 0.5
            if task == "cost":
                return np.clip(said + 0.6 * noise, -1, 1)
            return np.where((noise > 0.5)[:, None], said[:, [1, 0, 2]], said)

    return [[next(scoring.score([table], scorer, encoding)) for scorer in (good, Noisy())]]


COPIES = 6


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_copies_of_a_persons_records_make_no_model_better(task):
    kind = PEOPLE.task(task).kind
    table = times(weighing(500, seed=4), COPIES)
    found = challenger.between_units(kind, asked(PEOPLE, task, table))
    assert found.n == 3000
    if task == "kind":  # the mean and the error of the 500 people's own differences, by hand
        good, noisy = asked(PEOPLE, task, table)[0]
        own = [(s.said.argmax(axis=1) == s.outcome)[::COPIES].astype(float) for s in (good, noisy)]
        apart = own[0] - own[1]
        assert found.value == pytest.approx(apart.mean())
        assert (found.high - found.low) / 2 == pytest.approx(1.99 * apart.std() / 500**0.5, rel=0.25)
    weighed = times(weighing(500, seed=4, weight=np.full(500, 3.0)), COPIES)
    assert challenger.between_units(kind, asked(WEIGHED, task, weighed)).value == pytest.approx(found.value)


def test_a_paired_difference_of_several_records_a_person_holds_nothing_where_there_is_nothing():
    rng, held, narrow = np.random.default_rng(6), 0, []
    for round_ in range(60):
        table = times(weighing(150, seed=100 + round_), COPIES)
        (sides,) = asked(PEOPLE, "fell", table, seed=round_)
        good, _ = sides
        noise = np.repeat(rng.normal(0, 0.1, (2, 150)), COPIES, axis=1)
        a, b = (replace(good, said=np.clip(good.said + n, 0, 1)) for n in noise)
        found = challenger.between_units("binary", [[a, b]])
        held += found.low <= 0 <= found.high
        places = [score_positions(side.said) // 16 for side in (a, b)]
        joint = np.zeros((2, 64, 64), int)
        np.add.at(joint, (good.outcome, *places), 1)
        taken = challenger.paired_auc(joint)
        narrow.append((taken.high - taken.low) / (found.high - found.low))
    assert held >= 60 * 0.95 - 3 * (60 * 0.95 * 0.05) ** 0.5
    assert np.mean(narrow) < 0.55  # as if every copy were another person


def test_a_few_people_with_many_records_are_too_few_to_compare_models():
    table = times(weighing(9, seed=4), 9)
    for task in ("fell", "kind", "cost"):
        assert challenger.between_units(PEOPLE.task(task).kind, asked(PEOPLE, task, table)) is None
