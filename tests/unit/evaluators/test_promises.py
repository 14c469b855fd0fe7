"""Small versions of benchmarks/statistics.py: covers, alarms, delays and drift as promised."""

import sys
from pathlib import Path

import numpy as np
import pytest

from evaluators import change, curve, intervals, two_waves
from evaluators.base import stream
from evaluators.cases import Cases

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from simulations import alarms, coverage, drifts, worlds


def test_the_interval_of_a_rate_holds_at_least_its_level_whatever_the_rate():
    rows = list(coverage.rates())
    assert len(rows) == len(coverage.SHARES) * len(coverage.SIZES)
    assert min(row.covered for row in rows) >= 0.95
    (wide,) = [row for row in rows if row.setting == "rate p=0.1 n=1000"]
    assert wide.width < 1.04 * 0.0372  # Wilson's mean width


@pytest.mark.parametrize("at", [2, 9, 14, 21, 60, 77])
def test_intervals_of_scores_cover(at):
    world = list(worlds.worlds())[at]
    names = [name for name in world.figures if name != "ece"]
    rows = coverage.look(world, names, 250, seed=3)
    assert rows
    for row in rows:
        assert row.covered >= coverage.EACH - 3.2 * np.sqrt(0.945 * 0.055 / row.tried), row


def test_the_grid_has_more_than_five_hundred_settings():
    simulated = sum(len(world.figures) for world in worlds.worlds())
    assert simulated + len(coverage.SHARES) * len(coverage.SIZES) > 500


def test_delongs_variance_from_counts_equals_that_from_records():
    rng = np.random.default_rng(3)
    no, yes = rng.integers(0, 8, 60), rng.integers(2, 10, 40)
    counts = np.stack([np.bincount(no, minlength=10), np.bincount(yes, minlength=10)])
    wins = (yes[:, None] > no) + 0.5 * (yes[:, None] == no)
    expected = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 60
    assert curve.auc_variance(counts) == pytest.approx(expected)


def test_the_variance_of_average_precision_equals_the_jackknifes():
    rng = np.random.default_rng(4)
    counts = np.stack([rng.integers(5, 30, 12), rng.integers(1, 30, 12)])
    n, without = counts.sum(), []
    for cell in np.ndindex(counts.shape):
        less = counts.copy()
        less[cell] -= 1
        without += [float(curve.average_precision(less))] * counts[cell]
    jackknife = np.var(without) * (n - 1)
    assert curve.average_precision_variance(counts) == pytest.approx(jackknife, rel=0.03)


def test_skewed_means_are_not_surer_than_they_should_be():
    rng, held = stream("skewed"), []
    for _ in range(1500):
        x = rng.exponential(size=15) ** 1.5
        _, variance, skew = curve.moments_of(np.ones(15), x)
        e = intervals.mean(float(x.mean()), variance, 15, skew=skew)
        plain = intervals.mean(float(x.mean()), variance, 15)
        held.append([e.low <= 1.3293 <= e.high, plain.low <= 1.3293 <= plain.high])
    mended, plain = np.mean(held, axis=0)
    assert plain < 0.90 < 0.92 < mended


def test_noise_is_in_the_covariance_of_the_noisy_test():
    rng, shape, ps, plain = stream("noisy test"), np.full(10, 0.1), [], []
    for _ in range(1500):
        sides = [np.rint(rng.multinomial(n, shape) + rng.normal(0, 12, 10)) for n in (1000, 4000)]
        ps.append(two_waves.noisy_chi_square(*sides, 12.0))
        plain.append(two_waves.chi_square(*(Cases.plain(np.maximum(side, 0)) for side in sides)))
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(plain) < 0.05) > 0.3
    exact = two_waves.noisy_chi_square(np.array([120, 80, 60]), np.array([900, 700, 610]), 0.0)
    assert exact == pytest.approx(
        two_waves.chi_square(Cases.plain(np.array([120, 80, 60])), Cases.plain(np.array([900, 700, 610])))
    )


def test_the_relation_is_the_same_whichever_scores_there_are_and_found_when_it_moves():
    rng, same, moved = stream("relation"), [], []
    rate = np.linspace(0.05, 0.9, 40)

    def wave(n, weight, rates):
        at = rng.choice(40, n, p=weight / weight.sum())
        yes = rng.random(n) < rates[at]
        return Cases.plain(np.stack([np.bincount(at[side], minlength=40) for side in (~yes, yes)]))

    flat, tilted = np.ones(40), np.linspace(0.5, 1.5, 40)
    for _ in range(150):
        reference = wave(8000, flat, rate)
        same.append(two_waves.relation(wave(2000, flat, rate), reference, rng))
        moved.append(two_waves.relation(wave(2000, tilted, rate * 0.8), reference, rng))
    assert np.mean([p < 0.05 for _, p in same]) < 0.12
    assert np.mean([size.low == 0 for size, _ in same]) > 0.95
    assert all(p < 1e-6 for _, p in moved)
    assert np.mean([size.low > 0.05 for size, _ in moved]) > 0.9


# --- watching for ever ---


def test_an_estate_of_160_streams_without_change_raises_no_alarm_in_a_year():
    assert alarms.quiet_shares(160, 52, 1000).alarms == 0
    assert alarms.quiet_means(15, "AUC", 500).alarms == 0


def test_the_evidence_grows_by_one_a_check_on_average_while_nothing_changes():
    rng, last = stream("evidence"), []
    for _ in range(400):
        p = rng.beta(200.5, 1800.5)  # what the reference wave below leaves open
        last.append(change.share_evidence(rng.binomial(100, p, 10), np.full(10, 100), 200, 2000)[-1])
    assert np.mean(last) == pytest.approx(10, rel=0.35)


@pytest.mark.parametrize(("p", "within"), [(0.05, 6), (0.1, 8), (0.2, 12)])
def test_a_fall_of_two_points_is_seen_in_days(p, within):
    found = alarms.delays(40, 100, p, within)
    assert found.never == 0
    assert found.least <= found.median <= within


def test_evidence_does_not_overflow_and_does_not_depend_on_what_comes_later():
    year = np.full(52, 300)
    evidence = change.share_evidence(year, np.full(52, 400), 20, 400)
    assert np.isfinite(evidence).all()
    assert evidence[-1] > 1e100
    before = change.Check(0.8, 5000, 1e-4)
    for moved, signs, seen in ((-0.05, (-1,), True), (0.05, (-1,), False), (0.05, (-1, 1), True)):
        value = np.array([0.8] * 10 + [0.8 + moved] * 30)
        found = change.mean_evidence(value, np.full(40, 1e-4), before, signs)
        assert (found[-1] > 1e4) == seen
        shorter = change.mean_evidence(value[:15], np.full(15, 1e-4), before, signs)
        assert shorter == pytest.approx(found[:15], rel=1e-3)


def test_the_onset_of_a_change_is_named():
    checks = [change.Check(v, 1000, 1e-4) for v in [0.8] * 6 + [0.75] * 5]
    assert change.onset(checks, change.Check(0.8, 5000, 2e-5)) == 6


# --- drift ---


def test_quiet_years_are_quiet_and_drift_is_found_in_time():
    assert drifts.years(5).share <= 0.2
    assert not drifts.shifts(60).missed
    assert not drifts.moves(60).missed
    assert not drifts.shifts(40, drifts.ONE_TABLE).missed
    assert not drifts.moves(40, drifts.ONE_TABLE).missed
