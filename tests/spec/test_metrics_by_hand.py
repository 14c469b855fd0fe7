"""Every metric, on tables a reader can check by hand, and against scikit-learn and scipy.

Two score bins: below one half (its middle is 0.25) and above (0.75).

                    below 0.5   above 0.5
    did not happen      30          10
    happened            10          50
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from evaluators import calibration, coarse, curve, discrimination, intervals, two_waves
from evaluators.axes import RESIDUAL, root_positions, score_axis, score_positions, score_values
from evaluators.base import Context
from evaluators.cases import Cases
from sandbox.tally import Axis, Table, Tally

HAND = np.array([[30, 10], [10, 50]])

BY_HAND = {
    # of 60 x 40 pairs, 50 x 30 are ranked rightly and 10 x 30 + 50 x 10 are tied
    "auc": (1500 + 800 / 2) / 2400,
    # above 0.5: precision 50/60 at recall 50/60; all: precision 60/100 for the other 10/60
    "average_precision": 50 / 60 * 50 / 60 + 10 / 60 * 60 / 100,
    "accuracy": 80 / 100,
    "f1": 2 * 50 / (2 * 50 + 10 + 10),
    "outcome_rate": 60 / 100,
    "selection_rate": 60 / 100,
    "tpr": 50 / 60,
    "fpr": 10 / 40,
    "ppv": 50 / 60,
    # mean prediction (40 x 0.25 + 60 x 0.75) / 100 = 0.55, less 0.60
    "calibration_bias": -0.05,
    # 80 are 0.25 off and 20 are 0.75 off
    "brier": 0.8 * 0.0625 + 0.2 * 0.5625,
    "log_loss": -(0.8 * math.log(0.75) + 0.2 * math.log(0.25)),
}


@pytest.mark.parametrize("name", curve.METRICS)
def test_a_metric_is_what_the_hand_says(name):
    assert float(curve.METRICS[name](HAND)) == pytest.approx(BY_HAND[name], abs=1e-12)


def test_a_metric_is_undefined_where_it_has_nothing_beneath_it():
    nobody = np.zeros((2, 4), int)
    for name, metric in curve.METRICS.items():
        assert math.isnan(float(metric(nobody))), name


def test_the_expected_calibration_error_by_hand():
    # below: 10 of 40 happened, as 0.25 says; above: 50 of 60 where 0.75 was said, for 60 of the 100
    assert calibration.ece(HAND) == pytest.approx((50 / 60 - 0.75) * 0.6)


def test_a_distance_by_hand():
    before, now = np.array([700, 300]), np.array([500, 500])
    estimate = two_waves.distance(now, before, np.random.default_rng(1))
    assert estimate.value == pytest.approx(0.2, abs=0.003)  # 20 in 100 would have to move back
    assert estimate.low < 0.2 < estimate.high


def test_newcombes_published_interval_of_a_difference_of_rates():
    """Newcombe, Stat. Med. 17 (1998) 873, table II: 56/70 - 48/80, method 10."""
    from scipy.stats import binomtest

    def wilson(cases, n):
        bounds = binomtest(cases, n).proportion_ci(method="wilson")
        return intervals.Estimate(cases / n, bounds.low, bounds.high, n)

    found = intervals.difference(wilson(56, 70), wilson(48, 80))
    assert (found.value, found.low, found.high) == (
        pytest.approx(0.2), pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4)
    )  # fmt: skip


# --- against scikit-learn and scipy ---


@pytest.fixture(scope="module")
def scored():
    """3,000 outcomes with scores that lie on bin middles, so that counting loses nothing."""
    rng = np.random.default_rng(7)
    raw = 1 / (1 + np.exp(-(rng.normal(-1, 1.4, 3000))))
    score = score_values(1024)[score_positions(raw)]
    return score, (rng.random(3000) < raw**1.2).astype(int)


def counted(score, outcome):
    axes = (Axis("outcome", ("no", "yes")), score_axis(1024))
    return Table.count(axes, outcome, score_positions(score)).counts


def reference_metrics(score, outcome):
    from sklearn import metrics

    chosen = score >= 0.5
    (tn, fp), _ = metrics.confusion_matrix(outcome, chosen)
    return {
        "auc": metrics.roc_auc_score(outcome, score),
        "average_precision": metrics.average_precision_score(outcome, score),
        "accuracy": metrics.accuracy_score(outcome, chosen),
        "f1": metrics.f1_score(outcome, chosen),
        "outcome_rate": outcome.mean(),
        "selection_rate": chosen.mean(),
        "tpr": metrics.recall_score(outcome, chosen),
        "fpr": fp / (fp + tn),
        "ppv": metrics.precision_score(outcome, chosen),
        "calibration_bias": score.mean() - outcome.mean(),
        "brier": metrics.brier_score_loss(outcome, score),
        "log_loss": metrics.log_loss(outcome, score),
    }


def test_every_metric_equals_scikit_learns(scored):
    counts, expected = counted(*scored), reference_metrics(*scored)
    assert expected.keys() == curve.METRICS.keys()
    for name, value in expected.items():
        assert float(curve.METRICS[name](counts)) == pytest.approx(value, abs=1e-12), name


def test_counting_scores_into_bins_loses_less_than_a_thousandth():
    rng = np.random.default_rng(8)
    score = 1 / (1 + np.exp(-rng.normal(-2, 1.2, 20_000)))
    outcome = (rng.random(20_000) < score).astype(int)
    counts, expected = counted(score, outcome), reference_metrics(score, outcome)
    for name, value in expected.items():
        assert float(curve.METRICS[name](counts)) == pytest.approx(value, abs=1e-3), name


@pytest.mark.parametrize("bins", [16, 32])
def test_wide_bins_reach_the_auc_of_smooth_and_of_lumpy_scores(bins):
    rng = np.random.default_rng(9)
    smooth = 1 / (1 + np.exp(-rng.normal(-2, 1, 200_000)))
    lumpy = score_values(bins)[score_positions(smooth) // (1024 // bins)]
    for score in (smooth, lumpy):
        outcome = (rng.random(len(score)) < score).astype(int)
        fine = counted(score, outcome)
        wide = fine.reshape(2, bins, -1).sum(axis=-1)
        assert abs(float(coarse.auc(wide) - curve.auc(fine))) <= coarse.auc_reach(wide) + 3e-4


def test_the_calibration_slope_equals_an_unpenalised_logistic_regression(scored):
    from sklearn.linear_model import LogisticRegression

    score, outcome = scored
    logit = np.log(score / (1 - score))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit, outcome)
    found = calibration.slope_of(Cases.plain(counted(score, outcome)))
    assert found.value == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    assert found.low < found.value < found.high


def test_the_calibration_error_equals_a_plain_loop_over_tenths(scored):
    score, outcome = scored
    order = np.argsort(score, kind="stable")
    tenths = np.array_split(order, 10)
    plain = sum(abs(score[t].mean() - outcome[t].mean()) * len(t) for t in tenths) / len(score)
    assert calibration.ece(counted(score, outcome)) == pytest.approx(plain, abs=0.004)


@pytest.mark.parametrize(("cases", "n"), [(0, 12), (3, 40), (40, 40), (700, 1000)])
def test_rates_have_the_exact_interval(cases, n):
    from scipy.stats import binomtest

    expected = binomtest(cases, n).proportion_ci(method="exact")
    found = intervals.rate(cases, n)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_auc_interval_is_near_delongs_in_large_samples_and_right_at_the_edge():
    found = intervals.auc(0.8, 4000, 4000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.0049, rel=0.1)
    perfect = intervals.auc(1.0, 20, 20)
    assert perfect.high == 1.0
    assert 0.8 < perfect.low < 0.95  # Wald's would be [1, 1]
    assert intervals.auc(0.0, 20, 20).high == pytest.approx(1 - perfect.low)


def test_the_two_sample_test_equals_scipys():
    from scipy.stats import chi2_contingency

    now, before = np.array([120, 80, 60, 40]), np.array([900, 700, 610, 300])
    expected = chi2_contingency(np.stack([now, before]), correction=False).pvalue
    assert two_waves.chi_square(Cases.plain(now), Cases.plain(before)) == pytest.approx(expected)


def multiclass():
    rng = np.random.default_rng(11)
    logits = rng.normal(0, 1.2, (2500, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outcome = (p.cumsum(axis=1) < rng.random((2500, 1))).sum(axis=1).clip(0, 2)
    return p, outcome


def test_multiclass_metrics_equal_scikit_learns():
    from sklearn import metrics

    p, outcome = multiclass()
    chosen, names = p.argmax(axis=1), ("x", "y", "z")
    classes, coarse_axis = Axis("outcome", names), score_axis(256)
    places = score_positions(p) // 4
    tables = {
        "confusion": Table.count([classes, Axis("predicted", names)], outcome, chosen),
        "likelihood": Table.count([score_axis(1024)], score_positions(p[np.arange(2500), outcome])),
    }
    for at, name in enumerate(names):
        is_class = (outcome == at).astype(int)
        tables[f"own:{name}"] = Table.count(
            [Axis("is_class", ("no", "yes")), coarse_axis], is_class, places[:, at]
        )
    context = Context(Tally(tables), SimpleNamespace(), SimpleNamespace(kind="multiclass"), key="k")
    found = {m.name: m for m in discrimination.discrimination(context)}
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(outcome, chosen))
    assert found["f1"].value == pytest.approx(metrics.f1_score(outcome, chosen, average="macro"))
    expected = metrics.roc_auc_score(outcome, p, multi_class="ovr", average="macro")
    assert found["macro_auc"].value == pytest.approx(expected, abs=1e-3)
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(outcome, p), abs=1e-3)
    for m in found.values():
        assert m.low < m.value < m.high


def test_regression_metrics_equal_scikit_learns():
    from sklearn import metrics

    rng = np.random.default_rng(12)
    outcome = np.clip(rng.normal(0, 0.4, 4000), -1, 1)
    said = np.clip(outcome + rng.normal(0.05, 0.2, 4000), -1, 1)
    bins = root_positions(said - outcome, RESIDUAL, 1024)
    spread = np.minimum(np.floor((outcome + 1) / 2 * 64).astype(int), 63)
    labels = tuple(str(i) for i in range(1024))
    tables = {
        "residual": Table.count([Axis("residual", labels)], bins),
        "outcome": Table.count([Axis("outcome", labels[:64])], spread),
        "outcome & residual": Table.count(
            [Axis("outcome", labels[:64]), Axis("residual", labels[:256])], spread, bins // 4
        ),
    }
    context = Context(Tally(tables), SimpleNamespace(), SimpleNamespace(kind="regression"), key="k")
    found = {m.name: m.value for m in discrimination.discrimination(context)}
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(outcome, said), abs=1e-3)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(outcome, said), abs=1e-3)
    assert found["r2"] == pytest.approx(metrics.r2_score(outcome, said), abs=2e-3)
    (bias,) = calibration.calibration(context)
    assert bias.value == pytest.approx((said - outcome).mean(), abs=1e-3)


def test_the_macro_f1_by_hand_and_why_it_is_unsure_where_no_record_is_wrong():
    # x: 2 x 20 / (2 x 20 + 5); y: 2 x 15 / (2 x 15 + 5)
    found = discrimination.macro_f1_of(Cases.plain(np.array([[20, 5], [0, 15]])), 10)
    assert found.value == pytest.approx((40 / 45 + 30 / 35) / 2)
    assert found.low < found.value < found.high
    perfect = discrimination.macro_f1_of(Cases.plain(np.diag([20, 15])), 10)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.75 < perfect.low < 0.95  # 35 right of 35: the exact interval of their share begins at 0.90
    assert discrimination.macro_f1_of(Cases.plain(np.diag([20, 9])), 10) is None


def test_r2_by_hand():
    # outcomes at -0.5 and 0.5 (of bins whose middles are 1/64 further out), residuals of 0.25 either way: half of it,
    # 0.125, lies between (181/512)^2 and (182/512)^2
    both = np.zeros((64, 256), int)
    both[[15, 48], 128 - 46], both[[15, 48], 127 + 46] = 50, 50
    residual = np.zeros(1024, int)
    residual[[512 - 182, 511 + 182]] = 100
    square, variance = ((181**2 + 182**2) / 512**2) ** 2, (33 / 64) ** 2
    found = discrimination.r2_of(*(Cases.plain(c) for c in (residual, both.sum(axis=1), both)))
    assert found.value == pytest.approx(1 - square / variance)
    # every record has the same square error and lies as far from the mean: nothing is left to chance
    assert (found.low, found.high) == pytest.approx((found.value, found.value))


def test_the_interval_of_r2_goes_by_what_leaving_out_each_record_does():
    rng = np.random.default_rng(3)
    both = np.bincount(
        rng.integers(20, 44, 40) * 256 + rng.integers(90, 170, 40), minlength=64 * 256
    ).reshape(64, 256)
    moves, whole = discrimination._moves(both), float(discrimination._log_ratio(both))
    for outcome, residual in np.argwhere(both):
        without = both.copy()
        without[outcome, residual] -= 1
        moved = whole - float(discrimination._log_ratio(without))
        # the variance is of all records: its mean square falls by n / (n - 1) less than its sum
        assert moves[outcome, residual] == pytest.approx(39 * moved, abs=1e-9)
