"""Which mechanism may stand in for which: at a glance, on the curves, and never because one epsilon is smaller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.privacy import accounting, domination
from sandbox.privacy.accounting import best_of_event, compose, dp_sgd_event, epsilon_of, gaussian_event
from sandbox.privacy.domination import GRID, Curve, above, dominates

STEP = dp_sgd_event(1.626, 0.01, 200)


@pytest.mark.parametrize(
    "event",
    [
        STEP,
        dp_sgd_event(1.626, 0.01, 1),
        dp_sgd_event(1.7, 0.01, 200),
        dp_sgd_event(1.626, 0.002, 200),
        dp_sgd_event(1.626, 0.01, 0),
        compose([dp_sgd_event(1.626, 0.01, 100), dp_sgd_event(3, 0.001, 100)]),
    ],
)
def test_no_more_steps_each_with_no_more_sampling_and_no_less_noise_is_seen_at_a_glance(event, monkeypatch):
    monkeypatch.setattr(domination, "_on_the_curves", lambda *_: False)
    assert dominates(STEP, event)


@pytest.mark.parametrize(
    "event", [dp_sgd_event(1.6, 0.01, 200), dp_sgd_event(1.626, 0.0101, 200), dp_sgd_event(1.626, 0.01, 201)]
)
def test_a_little_more_of_anything_is_not_dominated(event):
    assert not dominates(STEP, event)


def test_what_has_other_steps_is_decided_on_the_curves():
    assert dominates(STEP, dp_sgd_event(2.25, 0.02, 100))
    assert dominates(gaussian_event(2), compose([gaussian_event(3), gaussian_event(4)]))
    assert not dominates(gaussian_event(2), compose([gaussian_event(2.5), gaussian_event(3)]))


def test_a_smaller_epsilon_is_not_enough_since_curves_may_cross():
    """At one delta far out the sampled one seems to cost as much; in the middle the plain one reveals more."""
    delta = 1e-6 / 16
    plain = gaussian_event(9.2)
    assert epsilon_of([plain], delta) < epsilon_of([STEP], delta)
    assert not dominates(STEP, plain)
    assert epsilon_of([plain], 1e-3) > epsilon_of([STEP], 1e-3)


def test_best_of_k_is_dominated_by_nothing():
    assert not dominates(gaussian_event(0.5), best_of_event(gaussian_event(50), 3))


@pytest.mark.parametrize("event", [STEP, gaussian_event(3), dp_sgd_event(0.8, 0.001, 1000)])
def test_a_mechanism_dominates_itself_on_the_curves_too(event):
    text = accounting.canonical(event)
    assert domination._on_the_curves(text, text)


def test_the_curve_of_a_gaussian_is_the_analytic_one():
    """Balle and Wang 2018, Theorem 8, with the pessimism of the grid."""
    from scipy.stats import norm

    mu = 1 / 3
    for curve in domination.curves(accounting.canonical(gaussian_event(3))):
        first, size = curve.first, len(curve.mass)
        x = GRID * np.arange(first, first + size)
        found = curve.divergences(first, size)
        size_of_x = np.abs(x)
        true = norm.cdf(mu / 2 - size_of_x / mu) - np.exp(size_of_x) * norm.cdf(-mu / 2 - size_of_x / mu)
        inner = np.abs(x) < 2
        assert np.all(found[inner] >= true[inner] - 1e-12)
        assert np.all(found[inner] <= true[inner] + 1e-5)


def brute(curve, alpha):
    losses = GRID * (curve.first + np.arange(len(curve.mass)))
    return curve.infinite + np.maximum(curve.mass - alpha * curve.mass * np.exp(-losses), 0).sum()


def drawn(weights, first, infinite):
    """A distribution over losses far enough apart to matter, whose other side sums to at most 1."""
    mass = np.zeros(40_001)
    mass[first + 8_000 * np.arange(len(weights))] = weights
    curve = Curve(-16_000, mass / mass.sum() * (1 - infinite), infinite)
    other_side = (curve.mass * np.exp(-GRID * (curve.first + np.arange(len(mass))))).sum()
    return (
        curve
        if other_side <= 1
        else Curve(curve.first, curve.mass / other_side, 1 - (1 - infinite) / other_side)
    )


CURVES = st.builds(
    drawn, st.lists(st.floats(0.01, 1), min_size=3, max_size=4), st.integers(0, 7_999), st.floats(0, 0.3)
)


@settings(max_examples=40, deadline=None)
@given(CURVES, CURVES)
def test_above_is_what_every_threshold_says(one, other):
    alphas = np.exp(GRID * np.arange(-16_500, 25_000, 997))
    below = max(brute(other, alpha) - brute(one, alpha) for alpha in alphas)
    if above(one, other, slack=0):
        assert below <= 1e-12
    knots = np.exp(GRID * np.concatenate([c.first + np.flatnonzero(c.mass) for c in (one, other)]))
    if max(brute(other, alpha) - brute(one, alpha) for alpha in knots) > 1e-9:
        assert not above(one, other, slack=0)


@settings(max_examples=30, deadline=None)
@given(CURVES, st.floats(0.1, 1))
def test_what_is_shown_only_sometimes_is_dominated(curve, share):
    """With probability `share` the output, else nothing (loss 0)."""
    mass = curve.mass * share
    mass[-curve.first] += 1 - share
    assert above(curve, Curve(curve.first, mass, curve.infinite * share), slack=1e-12)
