"""What is expected without outcomes, of scores that a reader can follow, and how it is settled when they come.

On the reference wave the model's probabilities are right: of those said to be at 0.25 a quarter falls, of those
at 0.75 three quarters. On the new wave 40 are at 0.25 and 60 at 0.75; so 10 and 45 should fall:

                    at 0.25    at 0.75
    will not fall      30         15
    will fall          10         45
"""

import numpy as np
import pytest

from evaluators import axes, curve, units
from evaluators.base import Context
from evaluators.cases import Cases
from evaluators.expected import BINS, calibration, estimated, expected
from sandbox.tally import Axis, Table, Tally
from tests.spec.test_robustness_by_hand import CARD

LOW, HIGH = (int(np.argmin(np.abs(axes.score_values(BINS) - p))) for p in (0.25, 0.75))
HAND = {"auc": (45 * 30 + (30 * 10 + 15 * 45) / 2) / (55 * 45), "accuracy": 0.75}


def counts(no_low, yes_low, no_high, yes_high):
    """Outcome x 1,024 score bins with these records at 0.25 and 0.75."""
    made, fine = np.zeros((2, 1024), np.int64), 1024 // BINS
    made[:, LOW * fine], made[:, HIGH * fine] = (no_low, yes_low), (no_high, yes_high)
    return made


def tally(known, unknown=(0, 0)):
    score = known.reshape(2, BINS, -1).sum(axis=(0, 2))
    score[[LOW, HIGH]] += unknown
    classes, bins = Axis("outcome", ("no", "yes")), axes.score_axis(1024)
    return Tally({"scores": Table((classes, bins), known), "score": Table((axes.score_axis(BINS),), score)})


REFERENCE = tally(counts(75_000, 25_000, 25_000, 75_000))
NONE = counts(0, 0, 0, 0)


def measured(now, earlier=(), reference=REFERENCE, kind="fell"):
    context = Context(now, CARD, CARD.task(kind), reference, "k", earlier=earlier)
    return {m.name: m for m in expected(context)}


def test_without_outcomes_by_hand():
    found = measured(tally(NONE, (40, 60)))
    for name, value in HAND.items():
        said = found[f"expected_{name}"]
        assert (said.value, said.n) == (pytest.approx(value, abs=0.005), 100)
        # the luck of 100 outcomes: about 4 points of standard error
        assert 0.06 < value - said.low < 0.13
        for settled in ("error", "held"):
            assert found[f"expected_{name}_{settled}"].status == "no outcomes yet"


def test_when_outcomes_come_the_estimate_stands_beside_the_truth():
    found = measured(tally(counts(31, 9, 14, 46), (400, 600)))
    assert found["expected_auc"].n == 1100  # all records of the wave
    truth = float(curve.accuracy(counts(31, 9, 14, 46)))
    error = found["expected_accuracy_error"]
    assert (error.value, error.n) == (pytest.approx(0.75 - truth, abs=0.005), 100)
    assert error.low < 0 < error.high
    assert (found["expected_accuracy_held"].value, found["expected_accuracy_held"].n) == (1.0, 1)


def test_it_is_blind_to_a_changed_relation_and_says_so_when_outcomes_come():
    turned = tally(counts(400, 600, 900, 600))  # those said to be at 0.75 fall as rarely as in 2 of 5
    blind, settled = measured(tally(NONE, (1000, 1500))), measured(turned)
    assert settled["expected_auc"] == blind["expected_auc"]
    assert settled["expected_auc_error"].low > 0.2
    assert settled["expected_auc_held"].value == 0.0


def test_the_track_record_counts_the_waves_that_are_settled():
    good, turned = tally(counts(310, 90, 140, 460)), tally(counts(400, 600, 900, 600))
    earlier = (good, turned, tally(NONE, (400, 600)), good)
    found = measured(tally(NONE, (40, 60)), earlier)
    assert (found["expected_auc_held"].value, found["expected_auc_held"].n) == (pytest.approx(2 / 3), 3)
    assert found["expected_auc_error"].status == "no outcomes yet"


def test_the_reference_wave_is_what_is_learnt_from_and_few_outcomes_teach_nothing():
    assert {m.status for m in measured(tally(NONE, (40, 60)), reference=None).values()} == {"reference"}
    few = tally(counts(4, 5, 100, 100), (0, 0))
    assert measured(tally(NONE, (40, 60)), reference=few)["expected_auc"].value is not None
    fewer = tally(counts(100, 4, 100, 5))
    assert {m.status for m in measured(tally(NONE, (40, 60)), reference=fewer).values()} == {"too few"}


def weighed(known, weights):
    """A tally of records that weigh so much, in the order of `counts`."""
    made, heavy = dict(tally(known).tables), counts(*weights) * known
    made |= {"weighted:scores": Table(made["scores"].axes, heavy)}
    heavy_scores = heavy.reshape(2, BINS, -1).sum(axis=(0, 2))
    return Tally(made | {"weighted:score": Table(made["score"].axes, heavy_scores)})


def test_of_weighted_records_the_population_they_stand_for_is_expected_by_hand():
    """In the reference those at 0.25 that fell weigh 2 and stand for twice as many: 40 % of them fall, in truth. Of the
    new wave those at 0.25 weigh 3, and so stand for 120 beside 60 others:

                        at 0.25    at 0.75
        will not fall      72         15
        will fall          48         45
    """
    reference = weighed(counts(75_000, 25_000, 25_000, 75_000), (1, 2, 1, 1))
    found = measured(weighed(counts(20, 20, 30, 30), (3, 3, 1, 1)), reference=reference)
    assert found["expected_accuracy"].value == pytest.approx((72 + 45) / 180, abs=0.005)
    auc = (45 * 72 + (72 * 48 + 15 * 45) / 2) / (87 * 93)
    assert found["expected_auc"].value == pytest.approx(auc, abs=0.005)
    assert found["expected_auc"].n == 100  # records, not weight
    error = found["expected_accuracy_error"]
    truth = (3 * 20 + 30) / 180  # so many are on the right side of 0.5
    assert error.value == pytest.approx((72 + 45) / 180 - truth, abs=0.005)


def test_several_classes_by_hand():
    """Of those it is 0.75 sure of, the model is right on three quarters."""
    right = Axis("correct", ("no", "yes"))

    def of_classes(known, score):
        table = Table((right, axes.score_axis(BINS)), known.reshape(2, BINS, -1).sum(axis=2))
        return Tally({"confidence": table, "score": Table((axes.score_axis(BINS),), score)})

    reference = of_classes(counts(0, 0, 25_000, 75_000), np.zeros(BINS, np.int64))
    score = np.zeros(BINS, np.int64)
    score[HIGH] = 200
    found = measured(of_classes(NONE, score), reference=reference, kind="kind")
    assert found["expected_accuracy"].value == pytest.approx(0.75, abs=0.005)
    assert "expected_auc" not in found


def world(rng, n, shift, slope, bias):
    """Outcome x score of a model that is over-confident and off by a constant; `shift` moves the inputs."""
    z = rng.normal(shift, 1.2, n)
    y = rng.random(n) < 1 / (1 + np.exp(-z))
    at = axes.coarser(axes.score_positions(1 / (1 + np.exp(-(slope * z + bias)))), BINS)
    return np.stack([np.bincount(at[~y], minlength=BINS), np.bincount(at[y], minlength=BINS)])


@pytest.mark.parametrize(("shift", "slope", "bias"), [(0.0, 1.0, 0.0), (0.5, 1.8, 0.4)])
def test_its_intervals_hold_while_the_relation_stays(shift, slope, bias):
    rng, tried = np.random.default_rng(6), 150
    held = {"auc": 0, "accuracy": 0}
    for _ in range(tried):
        fit = calibration(world(rng, 2000, 0.0, slope, bias))
        now = world(rng, 1000, shift, slope, bias)
        for name in held:
            guess = estimated(Cases.plain(now.sum(axis=0)), fit, curve.METRICS[name])
            held[name] += guess.low <= float(curve.METRICS[name](now)) <= guess.high
    for name, times in held.items():
        assert times / tried >= 0.945 - 3.2 * np.sqrt(0.945 * 0.055 / tried), (name, times)


def of_people(rng, people, each, wide, uneven=0.0):
    """A tally of people with `each` records that share score and outcome; they are in 64 replicates if `wide`. Weights
    spread like exp(`uneven` x a normal), and are heavier where the score is high and nothing happened."""
    z = rng.normal(0, 1.2, people)
    y = (rng.random(people) < 1 / (1 + np.exp(-z))).astype(int)
    at, of = axes.score_positions(1 / (1 + np.exp(-z))), rng.integers(0, 64, people)
    weight = np.rint(100 * np.exp(uneven * (rng.normal(size=people) + 0.5 * z - y))).astype(np.int64)
    known = np.zeros((2, 1024), np.int64)
    np.add.at(known, (y, at), each)
    made = dict(tally(known).tables)
    joined = (units.REPLICATE_AXIS, *made["scores"].axes[:1], axes.score_axis(BINS))
    if wide:
        replicates = np.zeros((64, 2, BINS), np.int64)
        np.add.at(replicates, (of, y, at // (1024 // BINS)), each * weight)
        made["replicates:scores"] = Table(joined, replicates)
    if uneven:
        heavy = np.zeros((2, 1024), np.int64)
        np.add.at(heavy, (y, at), each * weight)
        made["weighted:scores"] = Table(made["scores"].axes, heavy)
    return Tally(made)


def test_where_people_have_several_records_its_intervals_hold_too():
    rng, tried, narrow, held = np.random.default_rng(8), 60, 0, {"auc": 0, "accuracy": 0}
    for _ in range(tried):
        reference, now = (of_people(rng, 500, 4, wide=True) for _ in range(2))
        found = measured(now, reference=reference)
        for name in held:
            error = found[f"expected_{name}_error"]
            held[name] += error.low <= 0 <= error.high
        alone = measured(now, reference=Tally({n: reference[n] for n in ("scores", "score")}))[
            "expected_auc_error"
        ]
        narrow += alone.low <= 0 <= alone.high
    for name, times in held.items():
        assert times / tried >= 0.945 - 3.2 * np.sqrt(0.945 * 0.055 / tried), (name, times)
    assert narrow / tried < 0.85  # what taking them for 2,000 people would promise


def test_where_records_weigh_differently_its_intervals_hold_the_truth_of_the_population():
    rng, tried, unweighed, held = np.random.default_rng(9), 40, 0, {"auc": 0, "accuracy": 0}
    for _ in range(tried):
        reference, now = (of_people(rng, 800, 1, wide=True, uneven=0.7) for _ in range(2))
        found = measured(now, reference=reference)
        for name in held:
            error = found[f"expected_{name}_error"]
            held[name] += error.low <= 0 <= error.high
        plain = measured(now, reference=Tally({n: reference[n] for n in ("scores", "score")}))
        error = plain["expected_accuracy_error"]
        unweighed += error.low <= 0 <= error.high
    for name, times in held.items():
        assert times / tried >= 0.945 - 3.2 * np.sqrt(0.945 * 0.055 / tried), (name, times)
    assert unweighed / tried < 0.75  # what records that count alike would teach


def test_few_people_with_many_records_teach_nothing():
    rng = np.random.default_rng(10)
    few = of_people(rng, 12, 40, wide=True)  # 480 records
    assert {m.status for m in measured(tally(NONE, (40, 60)), reference=few).values()} == {"too few"}
