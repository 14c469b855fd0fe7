"""The filter's order, its bound, and what a cost means in the words of a request."""

import math

import pytest

from sandbox.errors import Refused
from sandbox.privacy.accounting import dp_sgd_event, epsilon_of, gaussian_event, rdp_at
from sandbox.privacy.budgets import new_budget
from sandbox.privacy.filter import gaussian_epsilon, order_for, rdp_bound

HALF = dp_sgd_event(4.09, 0.02, 600)
"""A training of epsilon 0.5 at delta 1e-6 by PLD."""


def test_the_standard_training_costs_a_half():
    assert 0.49 < epsilon_of([HALF], 1e-6) <= 0.5


@pytest.mark.parametrize(("epsilon", "fits"), [(1, 3), (3, 24), (8, 139)])
def test_no_whole_order_admits_more_standard_trainings_than_the_chosen_one(epsilon, fits):
    admitted = {
        order: math.floor(rdp_bound(epsilon, 1e-6, order) / rdp_at(HALF, order)) for order in range(2, 129)
    }
    assert admitted[order_for(epsilon, 1e-6)] == max(admitted.values()) == fits


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-5), (1, 1e-6), (3, 1e-9), (8, 1e-6)])
def test_the_bound_converts_back_to_the_promise_by_dp_accounting(epsilon, delta):
    from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

    order = order_for(epsilon, delta)
    assert compute_epsilon([order], [rdp_bound(epsilon, delta, order)], delta)[0] == pytest.approx(epsilon)


@pytest.mark.parametrize("noise", [0.6, 2, 10, 40])
def test_a_cost_read_as_a_gaussian_release_is_its_epsilon(noise):
    found = gaussian_epsilon(rdp_at(gaussian_event(noise), 7), 7, 1e-6)
    assert found == pytest.approx(epsilon_of([gaussian_event(noise)], 1e-6), rel=1e-3, abs=1e-4)


def test_no_cost_is_no_epsilon_and_endless_cost_is_endless():
    assert gaussian_epsilon(0, 7, 1e-6) == 0
    assert gaussian_epsilon(math.inf, 7, 1e-6) == math.inf


def test_a_budget_that_admits_nothing_is_refused():
    with pytest.raises(Refused, match="admits nothing"):
        new_budget("training:p", 0.001, 1e-12)
