"""How will this model be trained? Chosen from the number of units, the inputs and epsilon alone.

None of these choices looks at a record, so none of them costs privacy. The number of units is treated
as public: the card's readers see it, and the sampling rate is computed from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sandbox.errors import Refused
from sandbox.records import Json
from sandbox.submissions import recipes

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs
    from sandbox.submissions.manifest import Wishes

Calibrate = Callable[[float, float, float, int], float]
"""(epsilon, delta, sampling rate, steps) -> noise multiplier."""


@dataclass(frozen=True)
class Plan:
    """Everything a training needs. `noise_multiplier` is the noise's standard deviation over `clip`.

    With `terms` the training is DP-EBM (sandbox.training.boosting), else DP-SGD: how many bins each column has, the
    first `ordered` of them parts of a number's range; a step makes `leaves` of a column's bins.
    """

    epsilon: float
    delta: float
    units: int
    max_rows_per_unit: int
    sampling_rate: float
    steps: int
    clip: float
    learning_rate: float
    loss: str
    averaged: float = 0.5
    noise_multiplier: float = math.nan
    terms: Sequence[int] = ()
    ordered: int = 0
    leaves: int = 0

    @property
    def expected_batch(self) -> float:
        """Units a step holds on average: the divisor, because the actual number is private."""
        return self.units * self.sampling_rate

    def calibrated(self, noise_for: Calibrate) -> Plan:
        """The same plan with the least noise that keeps its epsilon."""
        noise = noise_for(self.epsilon, self.delta, self.sampling_rate, self.steps)
        return replace(self, noise_multiplier=noise)

    def to_json(self) -> Json:
        return asdict(self)


def choose(
    inputs: Inputs,
    recipe: str | None,
    wishes: Wishes,
    *,
    units: int,
    max_rows_per_unit: int,
    epsilon: float,
    budget_delta: float,
    settings: Json | None = None,
) -> Plan:
    """A plan without its noise yet. What the developer left open is chosen here.

    Delta is the smaller of the budget's and units^-1.1: a delta of 1/units would allow publishing one
    person in full. `settings` are the recipe's, as far as they were given. Raises Refused when there is nobody to
    train on.
    """
    if units < 1:
        raise Refused("There is no unit on the training side, so there is nothing to train on.")
    boosted: Json = {}
    if recipe == "ebm":
        tables = recipes.Ebm.model_validate(settings or {})
        boosted = {"terms": tables.terms(inputs), "ordered": inputs.numbers, "leaves": tables.leaves}
        if wishes.batch_size:
            raise Refused("In every step of ebm everybody takes part: leave batch_size out of [training].")
    batch, steps, learning_rate = _defaults(recipe, inputs, units, epsilon)
    rate = min(1.0, (wishes.batch_size or batch) / units)
    return Plan(
        epsilon=epsilon,
        delta=min(budget_delta, units**-1.1),
        units=units,
        max_rows_per_unit=max_rows_per_unit,
        sampling_rate=rate,
        steps=math.ceil(wishes.epochs / rate) if wishes.epochs else steps,
        clip=wishes.clip or _clip(recipe, max_rows_per_unit),
        learning_rate=wishes.learning_rate or learning_rate,
        loss=inputs.kind,
        **boosted,
    )


def _clip(recipe: str | None, max_rows_per_unit: int) -> float:
    """The largest gradient of a line for a yes-or-no question or a number.

    Of several classes it could be the root of 2, but where the answer is sure and wrong only: it begins below 1, and
    noise for more is for nothing. In a line the mean of a unit's several rows is seldom as long. Clipped shorter still,
    chances would come out too small where yes is rare.
    """
    return 0.75 if recipe in _LINES and max_rows_per_unit > 1 else 1.0


def _defaults(recipe: str | None, inputs: Inputs, units: int, epsilon: float) -> tuple[int, int, float]:
    """Batch size, steps and learning rate (for Adam), as measured (see the README).

    Few steps on big batches need the least noise in all. A line starts with gradients of norm near 1
    and sees everybody at every step while that is cheap; its steps are longer the more its columns can be
    heard over the noise. A recipe with layers takes big steps, too; of a model we do not know, less is
    assumed.
    """
    heard = epsilon * units / (1 + inputs.columns)
    if recipe == "ebm":
        reach = min(60.0, max(8.0, 0.8 * math.sqrt(heard))) / (4 if inputs.kind == "regression" else 1)
        return units, math.ceil(_ROUNDS * inputs.columns / 0.99), reach / _ROUNDS
    if recipe in _LINES:
        return min(units, 50_000), 120, min(0.3, max(0.05, 0.1 * math.sqrt(heard / 1_000)))
    if recipe in _LAYERS:
        return math.ceil(max(units * 0.02, min(units * 0.2, 10_000))), 60, 0.1
    return math.ceil(max(units * 0.01, min(units * 0.1, 5_000))), 200, 0.01


_ROUNDS = 100
"""How often `ebm` comes back to each column."""

_LINES = ("gam", "logistic", "linear")
_LAYERS = ("mlp", "tabular-transformer")
