"""What is seen of a training from inside the vault, step by step? Only sums of it are kept, and none leaves.

The witness is told each step's draws, clipped sums, noised sums and weights, and holds them against what
was claimed when the budget was charged. It repeats some steps itself, with the reference engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sandbox.training.gate import canaries
from sandbox.training.gate.canaries import Bounds, Scores
from sandbox.training.gate.check import Check, exact
from sandbox.training.gate.residuals import Residuals
from sandbox.training.gate.sampling import Draws
from sandbox.training.gate.tails import Numbers
from sandbox.training.sampler import Whole

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.training.gate.reference import Reference


@dataclass(frozen=True)
class Claim:
    """What is promised of a training. `noise` is the noise multiplier; `steps` is what was charged."""

    units: int
    rate: float
    noise: float
    steps: int
    clip: float
    epsilon: float
    delta: float


class Witness:
    """Hears of every step. `included` says which canaries take part; they are the units after the real ones."""

    def __init__(
        self,
        claim: Claim,
        shapes: Mapping[str, tuple[int, ...]],
        canary_weight: str,
        included: NDArray[np.bool_],
        generator: np.random.Generator,
        reference: Reference | None = None,
    ) -> None:
        self._claim, self._generator, self._reference = claim, generator, reference
        self._canary_weight = canary_weight
        self._weights = Residuals(
            {n: s for n, s in shapes.items() if n != canary_weight}, claim.steps, generator
        )
        self._canaries = Residuals({canary_weight: (len(included),)}, claim.steps, generator)
        self._draws = Draws(claim.units, claim.rate)
        self._scores = Scores(included, claim.rate, claim.noise)
        self._steps = 0
        self._finite = True

    def note(
        self,
        step: int,
        drawn: Whole,
        sums: Mapping[str, Tensor],
        noised: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
    ) -> None:
        """`step` counts from nought; `weights` are those the gradients were taken at."""
        self._steps += 1
        deviation = self._claim.noise * self._claim.clip
        added = {name: (_flat(noised[name]) - _flat(sums[name])) / deviation for name in sums}
        self._finite &= all(bool(np.isfinite(values).all()) for values in added.values())
        if not self._finite:
            return
        real = drawn[drawn < self._claim.units]
        self._draws.note(real)
        canary = self._canary_weight
        self._canaries.note({canary: added.pop(canary)})
        self._weights.note(added)
        self._scores.note(
            drawn[drawn >= self._claim.units] - self._claim.units,
            _flat(sums[canary]) / self._claim.clip,
            _flat(noised[canary]) / self._claim.clip,
        )
        if self._reference:
            self._reference.note(step, real, sums, weights)

    @property
    def first_noise(self) -> tuple[Numbers, Numbers]:
        """Some of the first step's: of the weights, and of the canaries' coordinates."""
        return self._weights.first, self._canaries.first

    def checks(self, rehearsal: Witness | None = None) -> list[Check]:
        """`rehearsal`: a witness of one step with noise of its own, which must not come again."""
        claim = self._claim
        known = [
            exact("steps", self._steps == claim.steps, "not as many steps were taken as were charged"),
            exact("finite sums", self._finite, "a sum is not finite"),
        ]
        if not self._finite or not self._steps:
            return known
        earlier = rehearsal.first_noise if rehearsal else (None, None)
        return [
            *known,
            *(self._reference.checks() if self._reference else ()),
            *self._draws.checks(self._generator),
            *self._weights.checks("records", "the weights", earlier[0]),
            *self._canaries.checks("canaries", "the canaries", earlier[1]),
            *self._scores.checks(),
            canaries.refutes(self.bounds(), claim.epsilon, claim.delta),
        ]

    def bounds(self) -> Bounds:
        return self._scores.bounds(self._claim.delta)


def _flat(tensor: Tensor) -> Numbers:
    return tensor.detach().numpy().reshape(-1).astype(np.float64)
