"""What a developer leaves open is chosen from sizes and epsilon alone, and what they ask for is done."""

import math

import pytest

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Refused
from sandbox.submissions import recipes
from sandbox.submissions.manifest import Wishes
from sandbox.training.plan import choose

INPUTS = Inputs("binary", 1, numbers=2)


def plan(wishes=None, recipe="logistic", inputs=INPUTS, **changes):
    sizes = {"units": 10_000, "max_rows_per_unit": 1, "epsilon": 1.0, "budget_delta": 1e-6, **changes}
    return choose(inputs, recipe, Wishes(**(wishes or {})), **sizes)


def test_wishes_are_granted():
    chosen = plan({"epochs": 2.0, "batch_size": 500, "learning_rate": 0.3, "clip": 0.7})
    assert (chosen.sampling_rate, chosen.steps, chosen.learning_rate, chosen.clip) == (0.05, 40, 0.3, 0.7)
    assert chosen.expected_batch == 500


@pytest.mark.parametrize("recipe", [*recipes.RECIPES, None])
@pytest.mark.parametrize("units", [1, 7, 500, 10_000, 10_000_000])
def test_defaults_are_possible_for_any_number_of_units(recipe, units):
    chosen = plan(recipe=recipe, units=units)
    assert 0 < chosen.sampling_rate <= 1
    assert chosen.steps >= 1
    assert math.isfinite(chosen.expected_batch)


def test_a_batch_is_never_larger_than_everybody():
    assert plan({"batch_size": 50_000}).sampling_rate == 1.0


def test_delta_is_the_budgets_or_smaller_for_many_units():
    assert plan(units=100).delta == 1e-6
    assert plan(units=10_000_000).delta == pytest.approx(10_000_000**-1.1)


def test_nobody_to_train_on_is_refused():
    with pytest.raises(Refused, match="nothing to train on"):
        plan(units=0)


def test_noise_is_calibrated_for_what_will_run():
    asked = []
    chosen = plan({"epochs": 1.0, "batch_size": 100}).calibrated(lambda *of: asked.append(of) or 3.5)
    assert asked == [(1.0, 1e-6, 0.01, 100)]
    assert chosen.noise_multiplier == 3.5


def test_a_line_takes_longer_steps_the_more_of_its_columns_can_be_heard_over_the_noise():
    wide = Inputs("binary", 1, numbers=20, categories=(3,) * 20)
    rates = [plan(recipe="gam", **c).learning_rate for c in ({"inputs": wide}, {}, {"epsilon": 4.0})]
    assert rates == sorted(set(rates))
    assert plan(recipe="gam", units=10**8).learning_rate == 0.3
    assert plan(recipe="gam", units=10).learning_rate == 0.05


def test_a_step_of_a_line_sees_everybody_while_that_is_cheap():
    assert plan(recipe="gam", units=40_000).sampling_rate == 1.0
    assert plan(recipe="gam", units=10**7).expected_batch == 50_000


def test_the_mean_of_several_rows_is_clipped_shorter_than_a_row_in_a_line():
    assert plan(recipe="gam").clip == plan(recipe="mlp", max_rows_per_unit=5).clip == 1.0
    assert plan(recipe="gam", max_rows_per_unit=2).clip == 0.75
