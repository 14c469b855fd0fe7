"""Intervals hold what they promise, on simulated data; the long versions are in benchmarks/."""

import numpy as np
import pytest

from evaluators import axes, calibration, coarse, curve, discrimination, intervals, two_waves
from evaluators.axes import score_positions
from evaluators.base import stream
from evaluators.cases import Cases
from evaluators.noisy import Counts, _binary, _residual

ROUNDS = 400
AT_LEAST = 0.92  # of 400 intervals at 95 %: three standard errors below


def population(n, base, slope, rng):
    score = 1 / (1 + np.exp(-(base + slope * rng.normal(size=n))))
    return score, (rng.random(n) < score).astype(int)


def counts(score, outcome, bins=1024):
    flat = outcome * bins + score_positions(score) // (1024 // bins)
    return np.bincount(flat, minlength=2 * bins).reshape(2, bins)


@pytest.fixture(scope="module", params=[(-2.5, 1.0), (0.0, 2.5)], ids=["rare", "well separated"])
def world(request):
    rng = stream("statistics", *request.param)
    return request.param, float(curve.auc(counts(*population(400_000, *request.param, rng)))), rng


def covered(made, truth):
    return np.mean([e.low - 1e-12 <= truth <= e.high + 1e-12 for e in made])


def test_auc_intervals_cover(world):
    (base, slope), truth, rng = world
    made = []
    for _ in range(ROUNDS):
        c = counts(*population(150, base, slope, rng))
        no, yes = c.sum(axis=1)
        if min(no, yes):
            made.append(intervals.auc(float(curve.auc(c)), int(yes), int(no)))
    assert covered(made, truth) >= AT_LEAST


def test_calibration_bias_intervals_cover(world):
    (base, slope), _, rng = world
    made = [calibration.bias(Cases.plain(counts(*population(200, base, slope, rng)))) for _ in range(ROUNDS)]
    assert covered(made, 0.0) >= AT_LEAST


def test_calibration_slope_intervals_cover(world):
    (base, slope), _, rng = world
    made = [calibration.slope_of(Cases.plain(counts(*population(800, base, slope, rng)))) for _ in range(150)]
    assert covered(made, 1.0) >= AT_LEAST - 0.02


def test_a_fall_of_nothing_is_rarely_beyond_nothing(world):
    (base, slope), _, rng = world

    def auc(n):
        c = counts(*population(n, base, slope, rng))
        no, yes = c.sum(axis=1)
        return intervals.auc(float(curve.auc(c)), int(yes), int(no))

    falls = [intervals.difference(auc(400), auc(600)) for _ in range(ROUNDS)]
    assert covered(falls, 0.0) >= AT_LEAST


def test_the_worst_gap_of_equal_groups_reaches_nothing():
    rng, low = stream("gap"), []
    for _ in range(ROUNDS):
        groups = [(int(rng.binomial(300, 0.3)), 300) for _ in range(6)]
        gap = intervals.worst_gap([lambda level, g=g: intervals.rate(*g, level) for g in groups])
        low.append(gap.low)
        assert gap.low <= gap.value <= gap.high
    assert np.mean(np.array(low) > 0) <= 0.05


def test_macro_f1_intervals_cover_where_hardly_any_record_is_wrong():
    rng, cells = stream("macro f1"), np.array([[0.33, 0.003, 0.0], [0.0, 0.33, 0.003], [0.004, 0.0, 0.33]])
    truth = float(discrimination._mean_f1(cells * 1e6))
    drawn = rng.multinomial(120, (cells / cells.sum()).ravel(), ROUNDS).reshape(-1, 3, 3)
    assert covered([discrimination.macro_f1_of(Cases.plain(c), 10) for c in drawn], truth) >= AT_LEAST


@pytest.mark.parametrize("far", [0.3, 0.0, -0.3], ids=["wider", "even", "narrower"])
def test_r2_intervals_cover_whether_errors_are_larger_or_smaller_far_out(far):
    rng, made = stream("r2", far), []
    values = (np.arange(64) + 0.5) / 32 - 1
    for _ in range(ROUNDS):
        outcome = np.clip(((np.clip(rng.normal(0, 0.3, 400), -1, 0.999) + 1) * 32).astype(int), 0, 63)
        spread = 0.15 * (1 + far * (np.abs(values[outcome]) - 0.25) / 0.25)
        residual = axes.root_positions(np.clip(rng.normal(0, 1, 400) * spread, -1, 1), axes.RESIDUAL, 1024)
        both = np.bincount(outcome * 256 + residual // 4, minlength=64 * 256).reshape(64, 256)
        tables = np.bincount(residual, minlength=1024), np.bincount(outcome, minlength=64), both
        made.append(discrimination.r2_of(*map(Cases.plain, tables)))
    shares = np.exp(-(values**2) / 2 / 0.3**2)
    square = np.average((0.15 * (1 + far * (np.abs(values) - 0.25) / 0.25)) ** 2, weights=shares)
    assert covered(made, 1 - square / 0.3**2) >= AT_LEAST


@pytest.mark.parametrize("bins", [16, 32])
def test_noisy_intervals_cover_with_the_noise_in_them(bins):
    rng = stream("noisy", bins)
    big = counts(*population(400_000, -1.0, 1.2, rng))
    truth = {name: float(curve.METRICS[name](big)) for name in ("auc", "calibration_bias", "accuracy", "tpr")}
    hits = dict.fromkeys(truth, 0)
    for _ in range(150):
        c = counts(*population(4000, -1.0, 1.2, rng), bins=bins)
        noisy = Counts(c + np.rint(rng.normal(0, 10, c.shape)).astype(int), 10.0, 10)
        for name, answer in _binary(noisy, tuple(truth)):
            estimate = answer(0.95)
            hits[name] += estimate.low <= truth[name] <= estimate.high
    assert min(hits.values()) / 150 >= 0.90, hits


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
def test_the_error_that_the_public_is_told_is_the_true_one_however_small(spread):
    rng = stream("public error", spread)
    off = rng.normal(spread / 3, spread, 40_000)
    counts_of = np.bincount(axes.root_positions(off, axes.RESIDUAL, 32), minlength=32)
    drawn = Counts(counts_of + np.rint(rng.normal(0, 3, 32)), 3.0, 10)
    answers = {name: answer(0.95) for name, answer in _residual(drawn, ())}
    assert answers["mae"].low <= np.abs(off).mean() <= answers["mae"].high
    assert answers["mae"].value == pytest.approx(np.abs(off).mean(), rel=0.05)
    assert answers["calibration_bias"].low <= off.mean() <= answers["calibration_bias"].high


def test_a_noisy_figure_that_drowns_in_its_noise_is_too_few():
    rng = stream("drowned")
    c = counts(*population(120, -1.0, 1.2, rng), bins=16)
    answers = dict(_binary(Counts(c, 14.0, 10), ("auc", "tpr")))
    assert all(isinstance(answer, int) for answer in answers.values())


def test_plain_noisy_answers_are_the_same_when_asked_again():
    c = counts(*population(4000, -1.0, 1.2, stream("again")), bins=16)
    first, second = (dict(_binary(Counts(c, 8.0, 10), ("auc",)))["auc"](0.95) for _ in range(2))
    assert first == second
    assert first.high - first.low > 2 * coarse.auc_reach(c)


@pytest.mark.parametrize("n", [60, 300, 2000])
def test_two_samples_of_the_same_people_are_never_beyond_tolerance(n):
    """Distance 0.10, six inputs; the year's promise is 5 %, and here nothing at all is beyond."""
    rng = stream("same", n)
    shape = np.array([1, 9, 10, 10, 10, 10, 10, 10, 10, 10, 9, 1]) / 100
    reference, beyond, ps = rng.multinomial(6000, shape), 0, []
    for _ in range(300):
        now = rng.multinomial(n, shape)
        p = two_waves.chi_square(Cases.plain(now), Cases.plain(reference))
        ps.append(p)
        beyond += two_waves.distance(now, reference, rng).low > 0.10 and p < 0.05 / (52 * 6)
    assert beyond == 0
    assert np.mean(np.array(ps) < 0.05) < 0.10


def test_distances_of_moved_data_are_found_with_their_size():
    rng = stream("moved")
    shape = np.full(10, 0.1)
    for moves, size in (([0.08, -0.08], 0.08), ([0.06, -0.06] * 5, 0.30), ([0, 0], 0.0)):
        moved = shape + np.pad(moves, (0, 10 - len(moves)))
        made = [
            two_waves.distance(rng.multinomial(1500, moved), rng.multinomial(6000, shape), rng)
            for _ in range(200)
        ]
        assert covered(made, size) >= 0.90
        assert np.mean([m.value for m in made]) == pytest.approx(size, abs=0.02)


def test_fine_bins_join_into_tenths_of_the_reference_with_thin_tails():
    rng = stream("tails")
    reference = np.bincount(np.clip(rng.normal(32, 6, 20_000), 0, 63).astype(int), minlength=65)
    plain = Cases.plain(reference)
    joined = two_waves.joined(plain, plain, ordered=True, ends=1)[0].counts
    shares = joined / joined.sum()
    assert 10 <= len(joined) <= 13
    assert shares[0] < 0.03
    assert shares[-2] < 0.03
    tail = np.zeros(65, int)
    tail[60] = 100  # a value the reference hardly has
    assert two_waves.joined(Cases.plain(tail), plain, ordered=True, ends=1)[0].counts[-2] == 100


def test_calibrated_scores_have_an_expected_calibration_error_near_zero():
    rng = stream("ece")
    found = []
    for round_ in range(60):
        c = counts(*population(500, -1.0, 1.2, rng))
        found.append(calibration._ece(calibration._tenths(c), Cases.plain(c), stream(round_)))
    assert np.mean([e.low == 0 for e in found]) >= 0.9
    assert np.mean([e.value for e in found]) < 0.02
