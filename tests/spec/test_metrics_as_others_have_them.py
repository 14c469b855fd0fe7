"""Every metric equals scikit-learn's, fairlearn's or scipy's on whatever records, weighted or not.

Scores, outcomes and residuals lie on the middles of their bins, so that counting them into bins loses nothing.
"""

from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pytest
from fairlearn import metrics as fair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.optimize import minimize
from sklearn import metrics

from evaluators import calibration, curve, scoring
from evaluators.axes import PAIR, residual_values, score_positions, score_values
from evaluators.base import Context
from evaluators.fairness import GAPS, PAIR_GROUPS
from sandbox.catalogue.encoding import Encoding
from tests.unit.evaluators.conftest import TOWNS
from tests.unit.evaluators.test_cases import PLAIN, REPORTS, WEIGHED, weighing

N = 240
BASE = weighing(N)
TRIED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CARDS = pytest.mark.parametrize("card", [PLAIN, WEIGHED], ids=["plain", "weighted"])


def whole(least, most):
    return hnp.arrays(np.int64, N, elements=st.integers(least, most), fill=st.nothing())


SEEDS = st.integers(0, 2**32 - 1)
WEIGHTS = whole(1, 64)


class Given:
    """A model that says what it is told to."""

    def __init__(self, said):
        self.said = said

    def probabilities(self, features):
        return self.said


def measured(card, task, said, weight, **columns):
    table = BASE
    for name, values in {**columns, "grossing": weight}.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    encoding = Encoding(card, task)
    tally = reduce(add, map(scoring.count, scoring.score([table], Given(said), encoding)))
    context = Context(tally, card, card.task(task), key="k")
    return {(m.name, m.group, m.feature): m for report in REPORTS for m in report(context)}


def weighing_of(card, steps):
    """The weights, in sixteenths so that counting them loses nothing, and as scikit-learn takes them."""
    return steps / 16, steps if card is WEIGHED else None


def agree(found, expected, within=1e-9):
    for name, value in expected.items():
        m = found[name, "", ""]
        assert m.status == "too few" or m.value == pytest.approx(value, rel=within, abs=within), name


def binary(seed):
    """Outcomes that follow scores more or less, at 64 values that all widths of bins tell apart."""
    rng = np.random.default_rng(seed)
    place = np.clip(rng.normal(rng.integers(20, 44), rng.integers(2, 20), N), 0, 63).astype(int) * 16 + 8
    score, tilt = score_values(1024)[place], rng.uniform(0, 2)
    return score, rng.random(N) < score**tilt


@CARDS
@given(seed=SEEDS, steps=WEIGHTS)
@TRIED
def test_binary_metrics_equal_scikit_learns(card, seed, steps):
    (score, outcome), (weight, w) = binary(seed), weighing_of(card, steps)
    found, chosen = measured(card, "fell", score, weight, fell=outcome), score >= 0.5
    agree(found, {
        "accuracy": metrics.accuracy_score(outcome, chosen, sample_weight=w),
        "f1": metrics.f1_score(outcome, chosen, sample_weight=w, zero_division=0.0),
        "log_loss": metrics.log_loss(outcome, score, sample_weight=w, labels=[False, True]),
        "brier": metrics.brier_score_loss(outcome, score, sample_weight=w),
        "calibration_bias": np.average(score - outcome, weights=w),
    })  # fmt: skip
    if 0 < outcome.sum() < N:
        agree(found, {
            "auc": metrics.roc_auc_score(outcome, score, sample_weight=w),
            "average_precision": metrics.average_precision_score(outcome, score, sample_weight=w),
        })  # fmt: skip
    bins = {key[2]: m for key, m in found.items() if key[0] == "reliability" and m.value is not None}
    means = [found["reliability_mean", "", feature].value for feature in bins]
    assert sum(m.n for m in bins.values()) == N or len(bins) < 10
    assert means == sorted(means)


@CARDS
@given(seed=SEEDS, steps=WEIGHTS)
@settings(TRIED, max_examples=12)
def test_the_calibration_slope_equals_scipys_fit(card, seed, steps):
    (score, outcome), (weight, w) = binary(seed), weighing_of(card, steps)
    slope = measured(card, "fell", score, weight, fell=outcome)["calibration_slope", "", ""]
    x = np.log(score / (1 - score))
    w = np.ones(N) if w is None else w / w.mean()

    def loss(beta):
        eta = beta[0] + beta[1] * x
        return float((w * (np.logaddexp(0, eta) - outcome * eta)).sum())

    if slope.value is not None and abs(slope.value) < 20:
        assert slope.value == pytest.approx(minimize(loss, [0.0, 1.0]).x[1], abs=2e-3)


@CARDS
@given(seed=SEEDS, steps=WEIGHTS)
@TRIED
def test_metrics_of_several_classes_equal_scikit_learns(card, seed, steps):
    rng, (weight, w) = np.random.default_rng(seed), weighing_of(card, steps)
    said = 0.97 * rng.dirichlet(rng.uniform(0.3, 3, 3), N) + 0.01
    outcome = np.where(rng.random(N) < 0.5, rng.integers(0, 3, N), said.argmax(axis=1))
    names = np.array(["x", "y", "z"])
    found, chosen = measured(card, "kind", said, weight, kind=names[outcome]), said.argmax(axis=1)
    likelihood = score_values(1024)[score_positions(said[np.arange(N), outcome])]
    own = score_values(256)[score_positions(said) // 4]
    agree(found, {
        "accuracy": metrics.accuracy_score(outcome, chosen, sample_weight=w),
        "f1": metrics.f1_score(outcome, chosen, average="macro", sample_weight=w, labels=[0, 1, 2], zero_division=0.0),
        "log_loss": np.average(-np.log(likelihood), weights=w),
    })  # fmt: skip
    assert np.average(-np.log(likelihood), weights=w) == pytest.approx(
        metrics.log_loss(outcome, said, sample_weight=w, labels=[0, 1, 2]), rel=0.02
    )
    if np.bincount(outcome, minlength=3).min() >= 10:
        aucs = [metrics.roc_auc_score(outcome == at, own[:, at], sample_weight=w) for at in range(3)]
        agree(found, {"macro_auc": np.mean(aucs)})
    confident = score_values(256)[score_positions(said.max(axis=1)) // 4]
    agree(found, {"calibration_bias": np.average(confident - (chosen == outcome), weights=w)})


@CARDS
@given(outcome=whole(16, 47), residual=whole(256, 767), steps=WEIGHTS)
@TRIED
def test_errors_of_numbers_equal_scikit_learns(card, outcome, residual, steps):
    weight, w = weighing_of(card, steps)
    truth = (outcome + 0.5) / 32 - 1
    said = truth + residual_values(1024)[residual]
    found = measured(card, "cost", said, weight, cost=truth * 5 + 5)
    agree(found, {
        "mae": metrics.mean_absolute_error(truth, said, sample_weight=w),
        "rmse": metrics.root_mean_squared_error(truth, said, sample_weight=w),
        "calibration_bias": np.average(said - truth, weights=w),
    })  # fmt: skip
    if found["r2", "", ""].value is not None:
        agree(found, {"r2": metrics.r2_score(truth, said, sample_weight=w)}, within=1e-7)


def precision(outcome, chosen, sample_weight=None):
    return metrics.precision_score(outcome, chosen, sample_weight=sample_weight, zero_division=0.0)


def outcome_rate(outcome, chosen, sample_weight=None):
    return fair.selection_rate(outcome, outcome, sample_weight=sample_weight)


BY_GROUP = {
    "selection_rate": fair.selection_rate, "tpr": fair.true_positive_rate, "fpr": fair.false_positive_rate,
    "ppv": precision, "outcome_rate": outcome_rate,
}  # fmt: skip


def frame(measures, outcome, said, groups, w):
    """fairlearn's MetricFrame, which wants the weights once for each metric."""
    params = None if w is None else {name: {"sample_weight": w} for name in measures}
    return fair.MetricFrame(
        metrics=measures, y_true=outcome, y_pred=said, sensitive_features=groups, sample_params=params
    )


def agree_by_group(found, made, name, column):
    """Of every group that is measured, and of the gap where all are."""
    by_group = made.by_group[name]
    shown = {group: found.get((name, f"{column}={group}", "")) for group in by_group.index}
    known = {group: m for group, m in shown.items() if m is not None and m.value is not None}
    for group, m in known.items():
        assert m.value == pytest.approx(by_group[group], abs=1e-9), (name, group)
    if name in GAPS and len(known) == len(by_group) > 1:
        agree_on_gaps(found, made, name, column)


def agree_on_gaps(found, made, name, column, feature=""):
    by_group, gap = made.by_group[name], found[GAPS[name], column, feature]
    worst = by_group.max() if name in ("fpr", "mae") else by_group.min()
    assert gap.value == pytest.approx(made.difference()[name], abs=1e-9), name
    (named,) = [
        m
        for key, m in found.items()
        if key[0] == f"{name}_worst" and key[1].startswith(f"{column}=") and key[2] == feature
    ]
    assert named.value == pytest.approx(worst, abs=1e-9)


@CARDS
@given(seed=SEEDS, steps=WEIGHTS, towns=whole(0, 2), alone=whole(0, 1))
@settings(TRIED, max_examples=10)
def test_rates_and_gaps_by_group_and_pair_equal_fairlearns(card, seed, steps, towns, alone):
    (score, outcome), (weight, w) = binary(seed), weighing_of(card, steps)
    town, single = np.array(TOWNS)[towns], alone.astype(bool)
    found = measured(card, "fell", score, weight, fell=outcome, town=town, alone=single)
    columns = {"town": town, "alone": np.where(single, "true", "false")}
    columns[f"town{PAIR}alone"] = np.array([f"{a}{PAIR}{b}" for a, b in zip(*columns.values(), strict=True)])
    for column, groups in columns.items():
        made = frame(BY_GROUP, outcome, score >= 0.5, groups, w)
        for name in BY_GROUP:
            agree_by_group(found, made, name, column)
        for group in np.unique(groups):
            of, m = groups == group, found.get(("auc", f"{column}={group}", ""))
            if m is not None and m.value is not None:
                w_of = None if w is None else w[of]
                assert m.value == pytest.approx(
                    metrics.roc_auc_score(outcome[of], score[of], sample_weight=w_of)
                )
                bias = found["calibration_bias", f"{column}={group}", ""].value
                assert bias == pytest.approx(np.average(score[of] - outcome[of], weights=w_of), abs=5e-3)


@CARDS
@given(seed=SEEDS, steps=WEIGHTS, towns=whole(0, 2))
@settings(TRIED, max_examples=10)
def test_the_accuracy_of_groups_over_several_classes_equals_fairlearns(card, seed, steps, towns):
    rng, (weight, w) = np.random.default_rng(seed), weighing_of(card, steps)
    said, outcome, town = rng.dirichlet(np.ones(3), N), rng.integers(0, 3, N), np.array(TOWNS)[towns]
    alone, kind = rng.integers(0, 2, N).astype(bool), np.array(["x", "y", "z"])[outcome]
    found = measured(card, "kind", said, weight, kind=kind, town=town, alone=alone)
    chosen = said.argmax(axis=1)
    agree_by_group(
        found, frame({"accuracy": metrics.accuracy_score}, outcome, chosen, town, w), "accuracy", "town"
    )
    for at, name in enumerate("xyz"):
        made = frame(BY_GROUP, outcome == at, chosen == at, town, w)
        for measure in BY_GROUP.keys() & GAPS.keys():
            gap = found[GAPS[measure], "town", name]
            if gap.value is not None and gap.n == beneath(measure, outcome == at, chosen == at):
                agree_on_gaps(found, made, measure, "town", name)
    confident, right = score_values(256)[score_positions(said.max(axis=1)) // 4], chosen == outcome
    for group in np.unique(town):
        of = town == group
        bias = found["calibration_bias", f"town={group}", ""]
        if bias.value is not None:
            expected = np.average((confident - right)[of], weights=None if w is None else w[of])
            assert bias.value == pytest.approx(expected)
    agree_on_macro_auc(found, outcome, score_values(256)[score_positions(said) // 4], "town", town, w)
    both = np.array([f"{a}{PAIR}{str(b).lower()}" for a, b in zip(town, alone, strict=True)])
    said = score_values(64)[score_positions(said) // 16]
    agree_on_macro_auc(found, outcome, said, f"town{PAIR}alone", both, w)


def test_of_each_pair_of_groups_with_enough_of_every_class_the_auc_is_scikit_learns():
    place, said = np.arange(N), np.random.default_rng(5).dirichlet(np.ones(3), N)
    town, alone, outcome = np.array(TOWNS)[place % 2], place // 2 % 2 == 1, place // 4 % 3
    kind = np.array(["x", "y", "z"])[outcome]
    found = measured(PLAIN, "kind", said, np.ones(N), kind=kind, town=town, alone=alone)
    both = np.array([f"{a}{PAIR}{str(b).lower()}" for a, b in zip(town, alone, strict=True)])
    said = score_values(64)[score_positions(said) // 16]
    assert agree_on_macro_auc(found, outcome, said, f"town{PAIR}alone", both, None) == PAIR_GROUPS
    assert found["macro_auc_gap", f"town{PAIR}alone", ""].value > 0


def agree_on_macro_auc(found, outcome, said, column, groups, w):
    """Of every group that is measured, with scikit-learn, and of the gap where all are; returns how many are."""
    said_of = {group: found.get(("macro_auc", f"{column}={group}", "")) for group in np.unique(groups)}
    shown = {group: m.value for group, m in said_of.items() if m}
    for group, value in shown.items():
        of, w_of = groups == group, None if w is None else w[groups == group]
        if value is not None:
            aucs = [
                metrics.roc_auc_score(outcome[of] == at, said[of, at], sample_weight=w_of) for at in range(3)
            ]
            assert value == pytest.approx(np.mean(aucs), abs=1e-9), group
    if column == "town" and None not in shown.values() and len(shown) == len(TOWNS):
        assert found["macro_auc_gap", "town", ""].value == pytest.approx(
            max(shown.values()) - min(shown.values())
        )
        assert found["macro_auc_worst", f"town={min(shown, key=shown.get)}", ""].value == min(shown.values())
    return sum(value is not None for value in shown.values())


def beneath(measure, outcome, chosen):
    """How many records the measure is of in all groups together."""
    return {"tpr": outcome.sum(), "fpr": (~outcome).sum(), "ppv": chosen.sum()}.get(measure, len(outcome))


@CARDS
@given(outcome=whole(16, 47), residual=whole(256, 767), steps=WEIGHTS, towns=whole(0, 2), alone=whole(0, 1))
@settings(TRIED, max_examples=10)
def test_errors_by_group_and_pair_equal_fairlearns(card, outcome, residual, steps, towns, alone):
    weight, w = weighing_of(card, steps)
    truth, town, single = (outcome + 0.5) / 32 - 1, np.array(TOWNS)[towns], alone.astype(bool)
    said = truth + residual_values(1024)[residual]
    found = measured(card, "cost", said, weight, cost=truth * 5 + 5, town=town, alone=single)
    both = np.array([f"{a}{PAIR}{b}" for a, b in zip(town, np.where(single, "true", "false"), strict=True)])
    for column, groups, bins in (("town", town, 256), (f"town{PAIR}alone", both, 64)):
        off = residual_values(bins)[residual * bins // 1024]  # groups are counted in wider bins
        made = frame({"mae": metrics.mean_absolute_error}, truth, truth + off, groups, w)
        agree_by_group(found, made, "mae", column)
        for group in np.unique(groups):
            bias = found.get(("calibration_bias", f"{column}={group}", ""))
            if bias is not None and bias.value is not None:
                of = groups == group
                assert bias.value == pytest.approx(np.average(off[of], weights=None if w is None else w[of]))


@given(seed=SEEDS)
@TRIED
def test_the_auc_is_that_of_scipys_rank_test_and_its_variance_delongs(seed):
    score, outcome = binary(seed)
    yes, no = score[outcome], score[~outcome]
    if min(len(yes), len(no)) < 2:
        return
    counts = np.zeros((2, 1024), int)
    np.add.at(counts, (outcome.astype(int), score_positions(score)), 1)
    assert curve.auc(counts) == pytest.approx(stats.mannwhitneyu(yes, no).statistic / (len(yes) * len(no)))
    wins = (yes[:, None] > no) + (yes[:, None] == no) / 2
    delong = sum(wins.mean(axis=at).var(ddof=1) / wins.shape[1 - at] for at in (0, 1))
    assert curve.auc_variance(counts) == pytest.approx(delong)
    assert calibration.ece(counts) >= abs(float(curve.calibration_bias(counts))) - 1e-12
