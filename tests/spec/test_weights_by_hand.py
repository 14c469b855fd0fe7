"""Weighted and clustered figures, on tables a reader can check by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluators import cases, curve, dependence, intervals, units
from evaluators.cases import Cases
from sandbox.tally import Axis, Table, Tally
from tests.spec.test_metrics_by_hand import HAND

#                    below 0.5   above 0.5          a record there weighs      so that they weigh
# did not happen         30          10                 1         3                 30        30
# happened               10          50                 2         1                 20        50
WEIGHED = HAND * [[1, 3], [2, 1]]

BY_HAND = {
    # of 70 x 60 pairs, 50 x 30 are ranked rightly and 20 x 30 + 50 x 30 are tied
    "auc": (1500 + 2100 / 2) / 4200,
    # above 0.5: precision 50/80 at recall 50/70; all: precision 70/130 for the other 20/70
    "average_precision": 50 / 70 * 50 / 80 + 20 / 70 * 70 / 130,
    "accuracy": 80 / 130,
    "f1": 2 * 50 / (2 * 50 + 30 + 20),
    "outcome_rate": 70 / 130,
    "selection_rate": 80 / 130,
    "tpr": 50 / 70,
    "fpr": 30 / 60,
    "ppv": 50 / 80,
    # mean prediction (50 x 0.25 + 80 x 0.75) / 130, less 70/130
    "calibration_bias": 72.5 / 130 - 70 / 130,
    "brier": (80 * 0.0625 + 50 * 0.5625) / 130,
    "log_loss": -(80 * math.log(0.75) + 50 * math.log(0.25)) / 130,
}


@pytest.mark.parametrize("name", curve.METRICS)
def test_a_weighted_metric_is_that_of_the_population_the_weights_stand_for(name):
    outcome, score = Axis("outcome", ("no", "yes")), Axis("score", ("low", "high"))
    tables = {"scores": Table((outcome, score), HAND), "weighted:scores": Table((outcome, score), WEIGHED)}
    scores = Cases.of(Tally(tables), "scores")
    assert float(curve.METRICS[name](scores.counts)) == pytest.approx(BY_HAND[name], abs=1e-12)
    assert scores.n == 100  # records, not weight


EIGHT_PEOPLE = np.array([[2, 0], [0, 2]] * 4)
"""Eight people with two records each; of half of them both records happened, of the others neither."""


def test_the_standard_error_of_eight_people_by_hand():
    # without one of them the rate is 8/14 or 6/14, each 1/14 from their mean: 7/8 x 8 x (1/14)^2 = 1/28
    error, freedom = units.jackknife(EIGHT_PEOPLE, lambda c: c[..., 1] / c.sum(axis=-1))
    assert error**2 == pytest.approx(1 / 28)
    assert freedom == 7


def test_sixteen_records_of_eight_people_tell_as_much_as_seven_less_what_their_variance_is_unsure():
    records = EIGHT_PEOPLE.sum(axis=0)
    people = Cases(records, records, EIGHT_PEOPLE)
    # 16 independent records would give 0.25 / 16 = 1/64; 1/28 is that of 7.
    # A variance known to 7 degrees of freedom and not to 15 makes it fewer.
    surer = intervals.t_of(0.95, 15) / intervals.t_of(0.95, 7)
    expected, estimate = intervals.rate(3.5 * surer**2, 7 * surer**2), cases.rate(people)
    assert 0.7 < surer**2 < 0.9
    assert (estimate.value, estimate.n, people.units) == (0.5, 16, 8)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_where_nothing_varies_every_person_counts_once():
    nobody = np.array([[5, 0]] * 40 + [[0, 0]] * 24)
    people = Cases(nobody.sum(axis=0), nobody.sum(axis=0), nobody)
    # 40 of 64 replicates hold 5 records: sum of squares 40 x 25 less 200^2 / 64, over 63/64
    effective = 200**2 / ((1000 - 200**2 / 64) * 64 / 63)
    assert effective == pytest.approx(105)  # replicates this even speak for more people than 40
    expected = intervals.rate(0.0, 105.0)
    assert cases.rate(people).high == pytest.approx(expected.high)


def test_a_rare_case_that_was_not_seen_may_weigh_more_than_those_that_were():
    # of 64 replicates one holds a case of weight 1, and all hold others of weight 1 but for eight of weight 8
    replicates = np.ones((64, 2), int) * [1, 0]
    replicates[:8, 0], replicates[8] = 8, [0, 1]
    records = np.array([63, 1])
    weighed = Cases(records, replicates.sum(axis=0) * 64 / 120, replicates, weighted=True)
    found = cases.rate(weighed)
    assert found.value == pytest.approx(1 / 120)
    # sum of squares 8 x 64 + 56 less 120^2 / 64, over 63/64: as 41.3 people of equal weight
    unseen = 1 / units.effective(replicates.sum(axis=1))
    assert unseen == pytest.approx((568 - 225) * 64 / 63 / 120**2)
    assert found.high > 1 / 120 + 2 * unseen
    # where all weigh the same it is the exact bound's near relation: one case of 64 reaches to 8.4 %
    exact = intervals.rate(1, 64).high
    assert intervals.most_with_unseen(1 / 64, 1 / 64**2, 1 / 64) == pytest.approx(exact, abs=0.002)


def test_where_no_case_was_seen_the_first_may_weigh_a_quarter_more_than_others():
    weights = np.where(np.arange(64) < 32, 1, 3)
    nobody = np.array([64, 0])
    uneven = Cases(nobody, nobody * 1.0, np.stack([weights, 0 * weights], axis=1), weighted=True)
    unseen = 1.25 / 64
    # of (1 - unseen) / unseen records that weigh as much none is a case: 0.025 = (1 - high) to that power
    assert cases.rate(uneven).high == pytest.approx(1 - 0.025 ** (unseen / (1 - unseen)), rel=1e-6)
    even = Cases(nobody, nobody * 1.0, np.ones((64, 2), int) * [1, 0])
    assert cases.rate(even).high == pytest.approx(intervals.rate(0, 64).high)


def test_two_waves_of_eight_people_each_differ_as_much_as_people_do_by_hand():
    nobody = np.zeros_like(EIGHT_PEOPLE)
    now, then = (np.concatenate(sides) for sides in ((EIGHT_PEOPLE, nobody), (nobody, EIGHT_PEOPLE)))
    sides = [Cases(side.sum(axis=0), side.sum(axis=0), side) for side in (now, then)]
    held = dependence.of_shares(*sides)
    # without one of the 16 people the difference is 1/14: 15/16 x 16 x (1/14)^2 = 15/196;
    # that of 16 and 16 independent records is 0.5 x 0.5 x (1/16 + 1/16) = 1/32
    effect = 15 / 196 * 32
    assert held.parts == pytest.approx((effect, effect**2, effect**3))  # one part: nothing else can differ
    assert held.freedom == 15  # 16 people who move it alike
    # of one part that is F with 1 and 15 degrees of freedom: the square of Student's t
    assert held.p_value(4.0 * effect, 1) == pytest.approx(2 * stats.t.sf(2.0, 15))
    same = dependence.of_shares(sides[0], sides[0])
    assert same == dependence.INDEPENDENT  # the same people have nothing to differ by
    # 8 replicates hold 2 records and 8 none: 16^2 / (16 x 16/15) = 15 units, of 16 records
    assert dependence.of_totals(*sides) == pytest.approx(16 / 15)
