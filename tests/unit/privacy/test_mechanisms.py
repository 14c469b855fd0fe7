"""Noise: how much, of which distribution, and that the charge covers it."""

import itertools
import math

import numpy as np
import pytest

from sandbox.errors import Refused, Unfit
from sandbox.privacy.accounting import epsilon_of, gaussian_event
from sandbox.privacy.mechanisms import DiscreteGaussian, discrete_gaussian, l2_sensitivity, noise_multiplier
from sandbox.tally import Axis, Table


def table(counts):
    return Table((Axis("cell", tuple(str(i) for i in range(len(counts)))),), np.asarray(counts, np.int64))


@pytest.mark.parametrize(("rows", "tables"), [(1, 1), (1, 3), (3, 2)])
def test_no_unit_moves_the_tables_further_than_the_sensitivity(rows, tables):
    cells = list(itertools.product(range(3), repeat=tables))  # where one record lands in each table
    worst = 0.0
    for count in range(1, rows + 1):
        for landed in itertools.combinations_with_replacement(cells, count):
            moved = [np.bincount([cell[t] for cell in landed], minlength=3) for t in range(tables)]
            worst = max(worst, float(np.linalg.norm(np.concatenate(moved))))
    assert worst <= l2_sensitivity(rows, tables)
    assert l2_sensitivity(rows, tables) == pytest.approx(worst)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1, 5])
def test_the_noise_keeps_its_epsilon_by_the_concentrated_bound_which_is_never_below_the_analytic(epsilon):
    noise = noise_multiplier(epsilon, 1e-6)
    assert epsilon_of([gaussian_event(noise)], 1e-6, "rdp") == pytest.approx(epsilon, rel=0.02)
    assert 0.9 * epsilon < epsilon_of([gaussian_event(noise)], 1e-6, "pld") < epsilon


def test_noise_is_whole_in_every_cell_and_of_the_stated_size():
    mechanism = discrete_gaussian(0.5, 1e-6, 2.0)
    noisy = mechanism.release({"a": table([1000] * 3000), "b": table([0] * 3000)})
    assert noisy["a"].counts.dtype == noisy["b"].counts.dtype == np.int64
    noise = np.concatenate([noisy["a"].counts - 1000, noisy["b"].counts])
    assert abs(noise.mean()) < 6 * mechanism.sigma / math.sqrt(6000)
    assert abs(noise.std() / mechanism.sigma - 1) < 6 / math.sqrt(2 * 6000)
    assert len(set(noise[:3000] - noise[3000:])) > 10  # the two tables do not share noise


def test_small_noise_has_the_probabilities_of_the_discrete_gaussian():
    sigma, draws = 0.8, 8000
    noisy = DiscreteGaussian(sigma, 0.8, gaussian_event(0.999)).release({"t": table([0] * draws)})["t"].counts
    weights = {k: math.exp(-k * k / (2 * sigma**2)) for k in range(-6, 7)}
    for k in (-2, -1, 0, 1, 2):
        p = weights[k] / sum(weights.values())
        assert abs(np.mean(noisy == k) - p) < 6 * math.sqrt(p * (1 - p) / draws)


def test_two_releases_of_the_same_counts_differ():
    mechanism = discrete_gaussian(0.5, 1e-6, 1.0)
    first, second = (mechanism.release({"t": table(range(200))})["t"].counts for _ in range(2))
    assert (first != second).any()


def test_noise_that_costs_more_than_its_charge_is_never_drawn():
    with pytest.raises(Unfit, match="nothing was drawn"):
        DiscreteGaussian(sigma=5.0, sensitivity=2.0, event=gaussian_event(2.6)).release({"t": table([1])})


@pytest.mark.parametrize("sensitivity", [0, -1, math.nan, math.inf])
def test_an_impossible_sensitivity_is_refused(sensitivity):
    with pytest.raises(Refused):
        discrete_gaussian(0.5, 1e-6, sensitivity)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, 1e-6), (math.nan, 1e-6), (math.inf, 1e-6), (1, 0), (1, 1)]
)
def test_an_impossible_promise_is_refused(epsilon, delta):
    with pytest.raises(Refused):
        discrete_gaussian(epsilon, delta, 1.0)
