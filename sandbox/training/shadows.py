"""How do models turn out that never saw these people? Shadow models: the same recipe on random halves of others.

All of them learn at once, as one stack of weights through `vmap`: a step draws one batch from the pool, and
each shadow learns from those of its own half. They take the audited model's start, steps, learning rate and
averaging, and the noise that its mean gradient had: so they are draws from what the recipe gives without a
target, noise included, which is the null that both attacks assume (Carlini et al. 2022, section IV; Zarifzadeh
et al. 2024, section 3). Clipping is left out, for it needs every record's own gradient under every shadow. An
attack with such shadows is as valid, at most a little weaker where clipping takes much.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from sandbox.training import loop
from sandbox.training.descent import Descent
from sandbox.training.gradients import loss_of_one
from sandbox.training.sampler import Randomness, UnitRows

if TYPE_CHECKING:
    from sandbox.submissions.graph.lift import Model
    from sandbox.training.plan import Plan

Weights = dict[str, Tensor]
LEAST_BATCH = 256
"""Units that a shadow's step holds on average, where its half has as many: a pool is smaller than what the model
saw, and steps on a handful of people would be of another kind."""


def halves(shadows: int, units: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[shadows, units]: every shadow has its own random half."""
    order = rng.permuted(np.tile(np.arange(units), (shadows, 1)), axis=1)
    return order < units // 2


def train(
    model: Model,
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    own: NDArray[np.bool_],
    plan: Plan,
    rng: np.random.Generator,
) -> Weights:
    """The weights of each shadow, [shadows, *shape], where shadow s learns from the units with `own[s]`."""
    if plan.terms:
        return _boosted(model, features, target, units, own, plan, rng)
    shadows, half = len(own), max(1, int(own.sum(axis=1).mean()))
    rate = rate_of(plan, half)
    batch = rate * half
    descent = Descent({n: w.repeat(shadows, *(1,) * w.dim()) for n, w in model.weights.items()}, plan)
    weights = {name: weight.requires_grad_() for name, weight in descent.weights.items()}
    deviation = plan.noise_multiplier * plan.clip * batch / plan.expected_batch
    belongs = torch.from_numpy(own)
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))  # for dropout
        for _ in range(plan.steps):
            drawn = np.flatnonzero(rng.random(len(units)) < rate)
            rows, owners = units.rows(drawn)
            shares = belongs[:, drawn][:, owners] / torch.from_numpy(units.sizes[drawn][owners])
            sums = _gradients(model, features, target, torch.from_numpy(rows), shares, weights, plan.loss)
            for total in sums.values():
                total.nan_to_num_(0.0, 0.0, 0.0)
                total.add_(torch.empty_like(total).normal_(0.0, deviation, generator=noise))
            descent.step(sums, batch)
    return descent.means


def _boosted(
    model: Model, features: Mapping[str, Tensor], target: Tensor, units: UnitRows,
    own: NDArray[np.bool_], plan: Plan, rng: np.random.Generator,
) -> Weights:  # fmt: skip
    """Each by itself, by the very loop that trained the model: a step of DP-EBM costs little."""
    found = []
    for members in own:
        rows, owners = units.rows(np.flatnonzero(members))
        half = UnitRows(owners, plan.max_rows_per_unit)
        share = len(half) / plan.units
        short = replace(plan, units=len(half), noise_multiplier=plan.noise_multiplier * share)
        some = {name: tensor[torch.from_numpy(rows)] for name, tensor in features.items()}
        found.append(loop.fit(model, some, target[torch.from_numpy(rows)], half, short, Randomness(rng, rng)))
    return {name: torch.stack([weights[name] for weights in found]) for name in model.weights}


def rate_of(plan: Plan, half: int) -> float:
    """The share of a shadow's units that a step draws."""
    return min(1.0, max(plan.sampling_rate, LEAST_BATCH / half))


def answers(model: Model, weights: Mapping[str, Tensor], features: Mapping[str, Tensor]) -> Tensor:
    """[shadows, records, outputs], without dropout."""
    each = vmap(
        vmap(lambda w, record: model.one(w, record, training=False), in_dims=(None, 0)), in_dims=(0, None)
    )
    rows, at_once = len(next(iter(features.values()))), _at_once(model, weights)
    with torch.no_grad():
        parts = [
            each(dict(weights), {n: t[at : at + at_once] for n, t in features.items()})
            for at in range(0, rows, at_once)
        ]
    return torch.cat(parts, 1)


def _gradients(
    model: Model, features: Mapping[str, Tensor], target: Tensor, rows: Tensor, shares: Tensor,
    weights: Weights, loss: str,
) -> Weights:  # fmt: skip
    """Of the sum, over each shadow's own units, of the mean loss of a unit's records; some records at a time."""

    def loss_of(learned: Weights, record: Weights, answer: Tensor) -> Tensor:
        return loss_of_one(model.one(learned, record, training=True), answer, loss)

    each = vmap(
        vmap(loss_of, in_dims=(None, 0, 0), randomness="different"),
        in_dims=(0, None, None),
        randomness="different",
    )
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    at_once = _at_once(model, weights)
    for at in range(0, len(rows), at_once):
        some = rows[at : at + at_once]
        losses = each(weights, {n: t[some] for n, t in features.items()}, target[some])
        found = torch.autograd.grad(
            (losses * shares[:, at : at + at_once]).sum(), list(weights.values()),
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        for total, part in zip(sums.values(), found, strict=True):
            total += part
    return sums


def _at_once(model: Model, weights: Mapping[str, Tensor]) -> int:
    """So many records that all the shadows' values of one step stay near the processor: 200 MB at most on the way."""
    shadows = len(next(iter(weights.values())))
    return max(16, model.at_once // shadows)
