"""What guessing canaries proves: never more than is true, and not nothing."""

import math

import numpy as np
import pytest
from scipy import stats

from sandbox.privacy import accounting
from sandbox.training.gate import lower_bounds
from sandbox.training.gate.canaries import Scores

GAUSSIAN = [(1.0, 3.56, 0.1, 60), (4.0, 1.3, 0.1, 60), (8.0, 2.69, 0.5, 60)]


def audited(noise, rate, steps, seed, n=2000, delta=1e-6):
    rng = np.random.default_rng(seed)
    included = rng.random(n) < 0.5
    scores = Scores(included, rate, noise)
    for _ in range(steps):
        drawn = np.flatnonzero(included & (rng.random(n) < rate))
        sums = np.zeros(n)
        sums[drawn] = 1
        scores.note(drawn, sums, sums + rng.normal(0, noise, n))
    return scores.bounds(delta)


def test_a_p_value_by_hand():
    """Two guesses, both right, of two canaries: (3/4)^2 at epsilon log 3, and delta's part.

    The likelihoods of no, one and two right are 1/16, 6/16, 9/16; of 2 * 2 * delta the larger of 6/16 and 7/32.
    """
    p = lower_bounds.p_value(2, 2, 2, math.log(3), 0.01)
    assert p == pytest.approx(9 / 16 + 4 * 0.01 * 6 / 16)


def test_without_delta_and_with_all_guessed_the_bound_is_that_of_a_binomial():
    epsilon = lower_bounds.formal(1000, 1000, 800, 0.0)
    share = 1 / (1 + math.exp(-epsilon))
    assert stats.binom.sf(799, 1000, share) == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize(("right", "least"), [(500, 0.0), (400, 0.0), (1000, 5.0)])
def test_guesses_like_a_coins_prove_nothing_and_all_right_proves_much(right, least):
    for bound in (lower_bounds.formal, lower_bounds.gaussian):
        found = bound(1000, 1000, right, 1e-6)
        assert (found == 0.0) if not least else (found > least)


def test_more_right_guesses_prove_more():
    for bound in (lower_bounds.formal, lower_bounds.gaussian):
        found = [bound(2000, 200, right, 1e-6) for right in range(100, 201, 20)]
        assert found == sorted(found)
        assert found[-1] > found[0]


@pytest.mark.parametrize("wrong", [(10, 20, 5), (10, 5, 6), (10, 5, -1)])
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="at most"):
        lower_bounds.p_value(*wrong, 1.0, 0.0)


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.0])
def test_gaussian_epsilons_are_those_of_the_accountant(mu):
    event = accounting.dp_sgd_event(1 / mu, 1.0, 1)
    assert lower_bounds.gdp_epsilon(mu, 1e-6) == pytest.approx(accounting.epsilon_of([event], 1e-6), rel=2e-3)
    assert lower_bounds.gdp_epsilon(0.0, 1e-6) == 0


def test_the_curve_of_a_gaussian_is_not_ruled_out_by_its_own_guesses_more_often_than_allowed():
    """One canary a coordinate, one noisy look at each: mu is 1/noise exactly."""
    rng, broken = np.random.default_rng(7), 0
    for _ in range(200):
        included = rng.random(200) < 0.5
        seen = included + rng.normal(0, 1.0, 200)
        order = np.argsort(seen)
        right = int((~included[order[:50]]).sum() + included[order[-50:]].sum())
        broken += lower_bounds.gaussian(200, 100, right, 1e-6) > lower_bounds.gdp_epsilon(1.0, 1e-6)
    assert broken <= 20  # 10 of 200 expected at most; 21 or more has a chance of 1e-3


@pytest.mark.parametrize(("epsilon", "noise", "rate", "steps"), GAUSSIAN)
def test_bounds_lie_below_the_truth_and_above_nothing(epsilon, noise, rate, steps):
    event = accounting.dp_sgd_event(noise, rate, steps)
    assert accounting.epsilon_of([event], 1e-6) == pytest.approx(epsilon, rel=0.02)
    found = [audited(noise, rate, steps, seed) for seed in range(3)]
    assert all(0 <= bound < epsilon for bounds in found for bound in (bounds.formal, bounds.gaussian))
    assert max(bounds.formal for bounds in found) > epsilon / 10


def test_how_many_guesses_are_made_follows_from_the_plan_alone():
    assert lower_bounds.best_guesses(2000, 0.2, 1e-6) > lower_bounds.best_guesses(2000, 2.0, 1e-6)
    assert lower_bounds.best_guesses(2000, 1.0, 1e-6) == lower_bounds.best_guesses(2000, 1.0, 1e-6)
