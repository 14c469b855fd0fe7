"""How are weights learned without learning any one person? DP-SGD, written out: sample, clip, add noise.

Every step: draw units by Poisson sampling; take the gradient of every record by itself
(sandbox.training.engines); average within a unit; clip each unit to `clip`; sum; add Gaussian noise of
`noise_multiplier * clip`; divide by the *expected* number of units. Nothing un-noised is kept or
returned: no loss, no gradient norm, no batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows, Whole, draw

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.submissions.graph.lift import Model
    from sandbox.training.engines import Engine

Progress = Callable[[int, int], None]


def fit(
    model: Model,
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    plan: Plan,
    randomness: Randomness,
    progress: Progress | None = None,
    begins: Progress | None = None,
) -> dict[str, Tensor]:
    """The trainable weights of `model` after exactly `plan.steps` noisy steps; the model itself stays as it was.

    `begins` hears of each step before a record is drawn for it, `progress` after it is done; both as (step
    from 1, steps).
    """
    import torch

    from sandbox.submissions.graph.lift import flushed
    from sandbox.training import engines

    weights = {name: weight.detach().clone() for name, weight in model.weights.items()}
    engine = engines.choose(model, plan.loss)
    optimiser = torch.optim.Adam(list(weights.values()), lr=plan.learning_rate)
    average = _TailAverage(weights, first=plan.steps - int(plan.averaged * plan.steps))
    with flushed():  # else a step's time could tell of tiny values in it
        for step in range(plan.steps):
            if begins:
                begins(step + 1, plan.steps)
            drawn = draw(len(units), plan.sampling_rate, randomness.sampling)
            sums = clipped_sums(engine, weights, features, target, units, drawn, plan.clip)
            for name, total in sums.items():
                noise = gaussian(total, plan.noise_multiplier * plan.clip, randomness.noise)
                weights[name].grad = (total + noise) / plan.expected_batch
            optimiser.step()
            average.note(step + 1)
            if progress:
                progress(step + 1, plan.steps)
    return average.means


def clipped_sums(
    engine: Engine,
    weights: Mapping[str, Tensor],
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    drawn: Whole,
    clip: float,
) -> dict[str, Tensor]:
    """For each weight, the sum over the drawn units of their clipped mean gradients, some units at a time.

    Adding or removing one unit changes all of these together by at most `clip` in norm.
    """
    import torch

    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    at_once = max(1, engine.records_at_once // units.most_rows)
    for start in range(0, len(drawn), at_once):
        rows, owners = units.rows(drawn[start : start + at_once])
        chosen = torch.from_numpy(rows)
        some = {name: tensor[chosen] for name, tensor in features.items()}
        found = engine.sums(weights, some, target[chosen], torch.from_numpy(owners), clip)
        for name, total in sums.items():
            total += found[name]
    return sums


def gaussian(like: Tensor, deviation: float, generator: np.random.Generator) -> Tensor:
    """Fresh Gaussian noise in the shape of `like`, never from torch's global generator."""
    import torch

    return torch.from_numpy(generator.normal(0.0, deviation, tuple(like.shape))).to(like.dtype)


class _TailAverage:
    """The mean of the weights after step `first` and later: most of the noise averages out, at no cost."""

    def __init__(self, weights: Mapping[str, Tensor], first: int) -> None:
        self._weights, self._first, self._count = weights, first, 0
        self.means: dict[str, Tensor] = {name: weight.clone() for name, weight in weights.items()}

    def note(self, step: int) -> None:
        if step < self._first:
            return
        self._count += 1
        for name, mean in self.means.items():
            mean += (self._weights[name] - mean) / self._count
