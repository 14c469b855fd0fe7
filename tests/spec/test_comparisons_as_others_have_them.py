"""What is compared between waves, models and attackers equals what scipy and scikit-learn say of the same counts.

Distances between waves also stand in a table that a reader can check by hand.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize
from scipy.spatial.distance import cityblock
from sklearn import metrics

from evaluators import axes, change, drift, expected, intervals, membership, two_waves
from evaluators.base import Context
from evaluators.cases import Cases
from evaluators.challenger import paired_auc
from evaluators.curve import quantile_groups
from sandbox.tally import Axis, Table, Tally

SEEDS = st.integers(0, 2**32 - 1)
TRIED = settings(max_examples=25, deadline=None)
CATEGORIES = ("a", "b", "c", axes.UNKNOWN, axes.MISSING)
CARD = SimpleNamespace(
    columns={"ward": SimpleNamespace(kind="category")},
    recurs=True,
    training=SimpleNamespace(held_out_share=0.3),
)


def table(counts, *names):
    counts = np.asarray(counts)
    return Table(
        tuple(Axis(n, tuple(map(str, range(s)))) for n, s in zip(names, counts.shape, strict=True)), counts
    )


def ward(counts):
    return Tally({"input:ward": Table((Axis("ward", CATEGORIES),), np.asarray(counts))})


def measured(report, now, reference, kind="binary", earlier=()):
    context = Context(now, CARD, SimpleNamespace(kind=kind), reference, "k", earlier=tuple(earlier))
    return {(m.name, m.feature): m for m in report(context)}


# --- inputs, outcomes and scores between two waves ---

WARDS = {  # now, reference: the share that would have to be elsewhere, and the chi-square statistic, by hand
    "nothing moved": ([100, 100, 100, 50, 50], [1000, 1000, 1000, 500, 500], 0.0, 0.0),
    # of 1,200 a and 1,600 b in both waves a quarter is expected now, 300 and 400: 100 too few and 100 too many, and in
    # the reference as many the other way round, of three times as many
    "some moved": ([200, 500, 300, 0, 0], [1000, 1100, 900, 0, 0], 4 / 30, (100 / 3 + 100 / 4) * 4 / 3),
}  # fmt: skip


@pytest.mark.parametrize("case", WARDS)
def test_distances_and_tests_by_hand(case):
    now, reference, far, statistic = WARDS[case]
    shares = np.array(now) / sum(now) - np.array(reference) / sum(reference)
    assert np.abs(shares).sum() / 2 == pytest.approx(far)
    found = measured(drift.input_drift, ward(now), ward(reference))
    degrees = np.count_nonzero(np.array(now) + reference) - 1
    assert found["input_p", "ward"].value == pytest.approx(min(3 * stats.chi2.sf(statistic, degrees), 1))
    assert found["input_distance", "ward"].value == pytest.approx(far, abs=0.02)
    assert found["input_distance", "ward"].low <= far <= found["input_distance", "ward"].high
    assert found["input_scale", "ward"].value == 1


@given(seed=SEEDS)
@TRIED
def test_the_distance_and_p_value_of_categories_equal_scipys(seed):
    rng = np.random.default_rng(seed)
    reference, now = (rng.multinomial(n, rng.dirichlet(np.full(5, 30))) for n in (6000, 1500))
    found = measured(drift.input_drift, ward(now), ward(reference))
    p = stats.chi2_contingency(np.stack([now, reference]), correction=False).pvalue
    assert found["input_p", "ward"].value == pytest.approx(min(3 * p, 1), rel=1e-9, abs=1e-300)
    far = cityblock(now / now.sum(), reference / reference.sum()) / 2
    chance = 2.5 * np.sqrt(1 / 1500 + 1 / 6000)  # what 5 cells add by chance, at the most
    assert found["input_distance", "ward"].value <= far + 1e-3
    assert far - found["input_distance", "ward"].value < chance
    many = two_waves.distance(now * 100_000, reference * 100_000, rng)  # where nothing is left to chance
    assert many.value == pytest.approx(far, abs=1e-3)


@given(seed=SEEDS)
@TRIED
def test_waves_together_are_tested_as_scipy_tests_their_sum(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(5, 300), 2)
    reference, *waves = (rng.multinomial(n, of) for n, of in [(6000, p), *[(500, q)] * 4])
    found = measured(drift.input_drift, ward(waves[0]), ward(reference), earlier=map(ward, waves[1:]))
    ps = {
        scale: stats.chi2_contingency(np.stack([sum(waves[:scale]), reference]), correction=False).pvalue
        for scale in (1, 4)
    }
    assert found["input_scale", "ward"].value == min(ps, key=ps.get)
    assert found["input_p", "ward"].value == pytest.approx(min(3 * min(ps.values()), 1), rel=1e-9)


@given(seed=SEEDS)
@TRIED
def test_scores_are_joined_at_the_tenths_that_numpy_finds_and_tested_as_scipy_does(seed):
    rng = np.random.default_rng(seed)
    place = [np.clip(rng.normal(120, 30, n), 0, 255).astype(int) for n in (8000, 1500)]
    reference, now = (np.bincount(at, minlength=256) for at in place)
    groups = quantile_groups(reference, np.array(two_waves.SHARES))
    ends = np.array([group[-1] for group in groups[:-1]])
    wanted = np.quantile(place[0], two_waves.SHARES, method="inverted_cdf")
    below = np.append(0, reference.cumsum())  # records below each edge; edges about an empty bin are one
    sides = below[ends + 1, None] == np.stack([below[wanted], below[wanted + 1]], axis=1)
    assert sides.any(axis=1).all()  # the nearest edge on either side
    joined = [np.bincount(np.searchsorted(ends, at), minlength=len(groups)) for at in (place[1], place[0])]
    found = measured(drift.score_drift, *(Tally({"score": table(c, "score")}) for c in (now, reference)))
    p = stats.chi2_contingency(np.stack(joined), correction=False).pvalue
    assert found["score_p", ""].value == pytest.approx(min(3 * p, 1), rel=1e-9, abs=1e-300)
    said = axes.score_values(256)[place[1]]
    mean = found["score_mean", ""]
    assert mean.value == pytest.approx(said.mean())
    student = stats.t.interval(intervals.aim(0.95), 1499, said.mean(), stats.sem(said))
    assert (mean.low, mean.high) == pytest.approx(student, abs=5e-4)  # Hall's adds a little for skewness


@given(seed=SEEDS)
@TRIED
def test_shares_of_missing_values_and_outcomes_and_the_volume_have_scipys_exact_intervals(seed):
    rng = np.random.default_rng(seed)
    now, reference = (rng.multinomial(n, rng.dirichlet(np.ones(5))) for n in rng.integers(50, 3000, 2))
    found = measured(drift.input_drift, ward(now), ward(reference))
    for name, at in (("unknown", 3), ("missing", 4)):
        both = [stats.binomtest(int(side[at]), int(side.sum())) for side in (now, reference)]
        (a, b) = ((test.statistic, *test.proportion_ci(method="exact")) for test in both)
        m, moved = found[f"{name}_share", "ward"], found[f"{name}_change", "ward"]
        assert (m.value, m.low, m.high) == pytest.approx(a)
        low = a[0] - b[0] - np.hypot(a[0] - a[1], b[2] - b[0])  # squaring and adding: Newcombe 1998
        high = a[0] - b[0] + np.hypot(a[2] - a[0], b[0] - b[1])
        assert (moved.value, moved.low, moved.high) == pytest.approx((a[0] - b[0], low, high))
    n, before = int(now.sum()), int(reference.sum())
    ends = np.array(stats.binomtest(n, n + before).proportion_ci(method="exact"))
    volume = measured(drift.volume, *(Tally({"score": table([k], "score")}) for k in (n, before)))[
        "volume_ratio", ""
    ]
    assert (volume.value, volume.low, volume.high) == pytest.approx((n / before, *(ends / (1 - ends))))
    outcome = [Tally({"outcome": table(side[:2] + 5, "outcome")}) for side in (now, reference)]
    rate = measured(drift.outcome_drift, *outcome)["outcome_rate", ""]
    exact = stats.binomtest(int(now[1] + 5), int(now[:2].sum() + 10)).proportion_ci(method="exact")
    assert (rate.low, rate.high) == pytest.approx(tuple(exact))


@given(seed=SEEDS)
@TRIED
def test_the_test_of_a_relation_is_scipys_of_each_tenth_of_scores_together(seed):
    """Of a table for each tenth: the sum of chi-squares, as Cochran added them up."""
    rng = np.random.default_rng(seed)
    rates, reference, now = rng.uniform(0.2, 0.8, 256), *(np.zeros((2, 256), int) for _ in range(2))
    for side, n, lift in ((reference, 40_000, 0), (now, 20_000, rng.uniform(0, 0.03))):
        place = rng.integers(0, 256, n)
        np.add.at(side, ((rng.random(n) < rates[place] + lift).astype(int), place), 1)
    groups = quantile_groups(reference.sum(axis=0), np.arange(1, 10) / 10)
    sides = [np.stack([side[:, group].sum(axis=1) for group in groups]) for side in (now, reference)]
    each = [
        stats.chi2_contingency(np.stack(pair), correction=False).statistic
        for pair in zip(*sides, strict=True)
    ]
    size, p = two_waves.relation(Cases.plain(now), Cases.plain(reference), rng)
    # the rate that both share is drawn a little towards one half, so that none is 0
    assert p == pytest.approx(stats.chi2.sf(sum(each), len(groups)), rel=0.02, abs=1e-30)
    a, b = (side[:, 1] / side.sum(axis=1) for side in sides)
    far = np.average(np.abs(a - b), weights=sides[0].sum(axis=1))
    assert size.low <= far <= size.high + 0.01


# --- two models, and a model without outcomes ---


@given(seed=SEEDS)
@TRIED
def test_the_fall_of_an_auc_and_its_interval_are_those_of_scikit_learn_and_of_delong(seed):
    rng = np.random.default_rng(seed)
    outcome = rng.random(400) < 0.4
    first, second = (np.clip(rng.normal(12 + 6 * outcome, 5), 0, 31).astype(int) for _ in range(2))
    joint = np.zeros((2, 32, 32), int)
    np.add.at(joint, (outcome.astype(int), first, second), 1)
    found = paired_auc(joint)
    assert found.value == pytest.approx(
        metrics.roc_auc_score(outcome, first) - metrics.roc_auc_score(outcome, second)
    )
    wins = [
        (said[outcome][:, None] > said[~outcome]) + (said[outcome][:, None] == said[~outcome]) / 2
        for said in (first, second)
    ]
    apart = wins[0] - wins[1]
    error = np.sqrt(sum(apart.mean(axis=at).var(ddof=1) / apart.shape[1 - at] for at in (0, 1)))
    half = intervals.t_of(0.95, min(outcome.sum(), (~outcome).sum()) - 1) * error
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


@given(seed=SEEDS)
@settings(TRIED, max_examples=10)
def test_what_to_expect_without_outcomes_is_what_scipy_fits_and_scikit_learn_makes_of_it(seed):
    rng, p = np.random.default_rng(seed), axes.score_values(expected.BINS)
    place = np.clip(rng.normal(110, 40, 3000), 0, 255).astype(int)
    counts = np.zeros((2, 256), int)
    np.add.at(counts, ((rng.random(3000) < p[place] ** rng.uniform(0.5, 2)).astype(int), place), 1)
    beta, covariance = expected.calibration(counts)
    x = np.stack([np.ones(256), np.log(p), -np.log1p(-p)])

    def loss(b):
        eta = b @ x
        return (counts.sum(axis=0) * np.logaddexp(0, eta) - counts[1] * eta).sum() + (
            (b - [0, 1, 1]) ** 2
        ).sum() / 2

    fitted = minimize(loss, [0.0, 1.0, 1.0], tol=1e-10)
    assert beta == pytest.approx(fitted.x, abs=2e-3)
    assert covariance == pytest.approx(np.linalg.inv(_information(x, counts.sum(axis=0), beta)), rel=1e-4)
    scores, likely = counts.sum(axis=0), 1 / (1 + np.exp(-beta @ x))
    found = expected.estimated(Cases.plain(scores), (beta, covariance), expected._METRICS["binary"]["auc"])
    truth, weights = np.repeat([0, 1], 256), np.concatenate([scores * (1 - likely), scores * likely])
    assert found.value == pytest.approx(metrics.roc_auc_score(truth, np.tile(p, 2), sample_weight=weights))


def _information(x, n, beta):
    p = 1 / (1 + np.exp(-beta @ x))
    return (x * (n * p * (1 - p))) @ x.T + np.eye(3)


# --- the watch for ever, and attackers ---


def test_the_evidence_of_a_risen_share_is_what_its_definition_says():
    """Over every rate before and every day of a change: how much likelier are these cases with it than without."""
    rng = np.random.default_rng(8)
    cases, n = rng.binomial(60, 0.22, 8), np.full(8, 60)
    found = change.share_evidence(cases, n, 40, 200)
    angle = np.linspace(0.05, 1.2, 20_001)
    p = np.sin(angle) ** 2
    before = stats.beta.pdf(p, 41, 161) * np.sin(2 * angle)  # what the reference wave leaves open
    for day in range(1, 9):
        same = before * np.prod([stats.binom.pmf(k, 60, p) for k in cases[:day]], axis=0)
        changed = sum(
            weight
            * before
            * np.prod(
                [stats.binom.pmf(k, 60, p + size * (at >= start)) for at, k in enumerate(cases[:day])], axis=0
            )
            for start in range(day)
            for size, weight in change.CHANGES.items()
        )
        assert found[day - 1] == pytest.approx(
            np.trapezoid(changed, angle) / np.trapezoid(same, angle), rel=2e-3
        )


@given(seed=SEEDS, lift=st.floats(0, 2))
@TRIED
def test_an_attackers_figures_are_those_of_scikit_learns_curve(seed, lift):
    rng = np.random.default_rng(seed)
    member = np.arange(2400) < 1200
    scores = np.round(rng.normal(lift * member), 1)
    counts = membership._ranks(scores, member).counts
    found = {m.name: m for m in membership.measured(counts, "attack=x", 10)}
    assert found["membership_auc"].value == pytest.approx(metrics.roc_auc_score(member, scores))
    false_positives, hits, _ = metrics.roc_curve(member, scores, drop_intermediate=False)
    assert found["membership_tpr_1"].value == pytest.approx(hits[false_positives <= 0.01].max())
