"""How are weights learned without learning any one person? DP-SGD, written out: sample, clip, add noise.

Every step: draw units by Poisson sampling; take the gradient of every record by itself
(sandbox.training.gradients); average within a unit; clip each unit to `clip`; sum; add Gaussian noise of
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

Progress = Callable[[int, int], None]
_GRADIENT_FLOATS = 2**22
"""Per-record gradients held at once: 16 MB, which stays near the processor."""
_VALUE_FLOATS = 2**24
"""Values computed on the way to an answer and held at once: 64 MB."""


def fit(
    model: Model,
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    plan: Plan,
    randomness: Randomness,
    progress: Progress | None = None,
    values_per_record: int = 1,
    begins: Progress | None = None,
) -> dict[str, Tensor]:
    """The trainable weights of `model` after exactly `plan.steps` noisy steps; the model itself stays as it was.

    `begins` hears of each step before a record is drawn for it, `progress` after it is done; both as (step
    from 1, steps). `values_per_record` (of the graph's summary) keeps memory in bounds; it changes no result.
    """
    import torch

    from sandbox.submissions.graph.lift import flushed

    weights = {name: weight.detach().clone() for name, weight in model.weights.items()}
    at_once = _units_at_once(weights, plan, values_per_record)
    optimiser = torch.optim.Adam(list(weights.values()), lr=plan.learning_rate)
    average = _TailAverage(weights, first=plan.steps - int(plan.averaged * plan.steps))
    with flushed():  # else a step's time could tell of tiny values in it
        for step in range(plan.steps):
            if begins:
                begins(step + 1, plan.steps)
            drawn = draw(len(units), plan.sampling_rate, randomness.sampling)
            sums = clipped_sums(model, weights, features, target, units, drawn, plan, at_once)
            for name, total in sums.items():
                noise = gaussian(total, plan.noise_multiplier * plan.clip, randomness.noise)
                weights[name].grad = (total + noise) / plan.expected_batch
            optimiser.step()
            average.note(step + 1)
            if progress:
                progress(step + 1, plan.steps)
    return average.means


def clipped_sums(
    model: Model,
    weights: Mapping[str, Tensor],
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    drawn: Whole,
    plan: Plan,
    at_once: int,
) -> dict[str, Tensor]:
    """For each weight, the sum over the drawn units of their clipped mean gradients, `at_once` units at a time.

    Adding or removing one unit changes all of these together by at most `plan.clip` in norm.
    """
    import torch

    from sandbox.training.gradients import record_gradients

    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for start in range(0, len(drawn), at_once):
        rows, owners = units.rows(drawn[start : start + at_once])
        chosen = torch.from_numpy(rows)
        some = {name: tensor[chosen] for name, tensor in features.items()}
        of_records = record_gradients(model, some, target[chosen], plan.loss, weights)
        _add_clipped(sums, _unit_means(of_records, torch.from_numpy(owners)), plan.clip)
    return sums


def gaussian(like: Tensor, deviation: float, generator: np.random.Generator) -> Tensor:
    """Fresh Gaussian noise in the shape of `like`, never from torch's global generator."""
    import torch

    return torch.from_numpy(generator.normal(0.0, deviation, tuple(like.shape))).to(like.dtype)


def _units_at_once(weights: Mapping[str, Tensor], plan: Plan, values_per_record: int) -> int:
    size = sum(weight.numel() for weight in weights.values())
    records = min(_GRADIENT_FLOATS // max(1, size), _VALUE_FLOATS // max(1, values_per_record))
    return max(1, records // plan.max_rows_per_unit)


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


def _unit_means(gradients: dict[str, Tensor], owners: Tensor) -> dict[str, Tensor]:
    import torch

    counts = torch.bincount(owners)
    if len(counts) == len(owners):
        return gradients
    shares = (1 / counts)[owners]
    return {
        name: torch.zeros(len(counts), *g.shape[1:]).index_add_(0, owners, _each(shares, g))
        for name, g in gradients.items()
    }


def _add_clipped(sums: dict[str, Tensor], gradients: Mapping[str, Tensor], clip: float) -> None:
    from sandbox.training.gradients import flat, squared_norms

    factors = (clip / squared_norms(gradients).sqrt().clamp_min(1e-12)).clamp_max(1.0)
    for name, total in sums.items():
        total += (factors @ flat(gradients[name])).view_as(total)


def _each(factors: Tensor, gradients: Tensor) -> Tensor:
    """Each record's gradient times its factor."""
    return gradients * factors.view(-1, *(1,) * (gradients.dim() - 1))
