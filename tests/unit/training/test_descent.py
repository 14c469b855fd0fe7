"""What becomes of weights after the noise, against Adam's formula written out."""

import numpy as np
import pytest
import torch

from sandbox.training.descent import Descent
from tests.unit.training.test_private_loop import a_plan

START = {"line": torch.tensor([[0.5, -1.0], [0.0, 2.0]]), "bias": torch.tensor([0.25])}


def gradients(steps, seed=4):
    random = np.random.default_rng(seed)
    return [{name: random.normal(size=tuple(w.shape)) for name, w in START.items()} for _ in range(steps)]


def by_hand(given, rate, name):
    """Weights after each step (Kingma and Ba 2015, algorithm 1)."""
    weight, first, second, seen = START[name].double().numpy(), 0.0, 0.0, []
    for at, gradient in enumerate(given, 1):
        first = 0.9 * first + 0.1 * gradient[name]
        second = 0.999 * second + 0.001 * gradient[name] ** 2
        weight = weight - rate * (first / (1 - 0.9**at)) / (np.sqrt(second / (1 - 0.999**at)) + 1e-8)
        seen.append(weight)
    return seen


def taken(descent, given):
    for gradient in given:
        descent.step({name: torch.from_numpy(values) * 7 for name, values in gradient.items()}, 7)
    return descent


@pytest.mark.parametrize(("averaged", "last"), [(0.5, 6), (0.0, 1), (1.0, 10)])
def test_weights_follow_adam_and_what_is_released_is_the_mean_of_the_last(averaged, last):
    plan, given = a_plan(steps=10, learning_rate=0.2, averaged=averaged), gradients(10)
    made = taken(Descent(START, plan), given)
    for name in START:
        expected = by_hand(given, 0.2, name)
        np.testing.assert_allclose(made.weights[name], expected[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(made.means[name], np.mean(expected[-last:], 0), rtol=1e-5, atol=1e-6)


def test_the_first_weights_are_not_touched_and_other_sums_not_looked_at():
    before = {name: weight.clone() for name, weight in START.items()}
    ones = {name: torch.ones_like(weight) for name, weight in START.items()}
    Descent(START, a_plan()).step({**ones, "canaries": torch.full((3,), torch.nan)}, 1)
    assert all(torch.equal(START[name], weight) for name, weight in before.items())


def test_one_that_takes_up_the_state_of_another_goes_on_as_that_one_would():
    plan, given = a_plan(steps=10), gradients(10)
    whole, other = taken(Descent(START, plan), given[:7]), Descent(START, plan)
    other.take_up({name: value.clone() for name, value in whole.state().items()})
    taken(whole, given[7:])
    taken(other, given[7:])
    assert other.done == whole.done == 10
    assert all(torch.equal(other.means[name], mean) for name, mean in whole.means.items())
