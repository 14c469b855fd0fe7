"""What is seen of a training from inside the vault, step by step? Of most of it only sums, and nothing leaves.

The witness is told each step's draws, clipped sums, noised sums and weights, and holds them against what
was claimed when the budget was charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sandbox.records import Json
from sandbox.training.canaries import NAME, Canaries
from sandbox.training.gate import canaries as of_canaries
from sandbox.training.gate.canaries import Bounds, Scores
from sandbox.training.gate.check import Check, exact
from sandbox.training.gate.residuals import Residuals
from sandbox.training.gate.sampling import Draws
from sandbox.training.gate.tails import Numbers
from sandbox.training.noise import Grid
from sandbox.training.resumable import Resumable, State, Sums, part_of, together

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.training.loop import Step
    from sandbox.training.plan import Plan


@dataclass(frozen=True)
class Claim:
    """What is promised of a training: the event that was charged, on so many units."""

    units: int
    rate: float
    noise: float
    steps: int
    clip: float
    epsilon: float
    delta: float

    @classmethod
    def of(cls, event: Json, plan: Plan) -> Claim:
        """Rate, noise and steps from the charged event alone, not from what the training was told."""
        sampled = event["of"]
        return cls(
            plan.units, sampled["sampling_probability"], sampled["of"]["noise_multiplier"], event["count"], plan.clip,
            plan.epsilon, plan.delta,
        )  # fmt: skip


class Second(Resumable, Protocol):
    """Another who sees every step, with checks of their own."""

    def note(self, step: Step) -> None: ...

    def checks(self) -> list[Check]: ...


FirstNoise = tuple[Numbers, Numbers]
"""Some of the first step's: of the weights, and of the canaries' coordinates."""


class Witness(Sums):
    """Hears of every step; `rehearsed` is the first noise of a rehearsal in this process, which must not come again."""

    _KEPT = ("_steps", "_sound")

    def __init__(
        self,
        claim: Claim,
        shapes: Mapping[str, tuple[int, ...]],
        canaries: Canaries,
        generator: np.random.Generator,
        seconds: Mapping[str, Second] | None = None,
        rehearsed: FirstNoise | None = None,
    ) -> None:
        self._claim, self._generator, self._seconds = claim, generator, seconds or {}
        self._places = np.flatnonzero(canaries.included)
        of_weights, of_coordinates = rehearsed or (None, None)
        self._weights = Residuals(shapes, claim.steps, generator, of_weights)
        self._canaries = Residuals({NAME: (len(canaries),)}, claim.steps, generator, of_coordinates)
        self._draws = Draws(claim.units, claim.rate, len(self._places))
        coordinates = sum(int(np.prod(shape)) for shape in shapes.values()) + len(canaries)
        worth = Grid.of(claim.clip, coordinates).inner_clip / claim.clip
        self._scores = Scores(canaries.included, claim.rate, claim.noise, worth)
        self._parts: dict[str, Resumable] = {
            "weights": self._weights, "canaries": self._canaries, "draws": self._draws, "scores": self._scores,
            **self._seconds,
        }  # fmt: skip
        self._steps = 0
        self._sound = True

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **together(self._parts)}

    def take_up(self, state: State) -> None:
        super().take_up(state)
        for name, part in self._parts.items():
            part.take_up(part_of(state, name))

    def note(self, step: Step) -> None:
        self._steps += 1
        deviation = self._claim.noise * self._claim.clip
        added = {
            name: (_flat(step.noised[name]) - _flat(total)) / deviation for name, total in step.sums.items()
        }
        planted = step.drawn[step.drawn >= step.units] - step.units
        self._sound &= bool(all(np.isfinite(values).all() for values in added.values()))
        self._sound &= NAME in added and step.number == self._steps
        self._sound &= bool((planted < len(self._places)).all())
        if not self._sound:
            return
        self._draws.note(step.drawn[step.drawn < step.units], len(planted))
        self._canaries.note({NAME: added.pop(NAME)})
        self._weights.note(added)
        sums, noised = (_flat(values[NAME]) / self._claim.clip for values in (step.sums, step.noised))
        self._scores.note(self._places[planted], sums, noised)
        for second in self._seconds.values():
            second.note(step)

    @property
    def first_noise(self) -> FirstNoise:
        """The first that was seen in this process."""
        return self._weights.first, self._canaries.first

    def checks(self) -> list[Check]:
        claim = self._claim
        known = [
            exact("steps", self._steps == claim.steps, "as many steps were not taken as were charged"),
            exact(
                "sound steps", self._sound, "a step was not finite, out of order, or left out the canaries"
            ),
        ]
        if not self._sound or not self._steps:
            return known
        return [
            *known,
            *(check for second in self._seconds.values() for check in second.checks()),
            *self._draws.checks(self._generator),
            *self._weights.checks("records", "weights"),
            *self._canaries.checks("canaries", "canary coordinates"),
            *self._scores.checks(),
            of_canaries.refutes(self.bounds(), claim.epsilon, claim.delta),
        ]

    def bounds(self) -> Bounds:
        return self._scores.bounds(self._claim.delta)


def _flat(tensor: Tensor) -> Numbers:
    return np.asarray(tensor.detach().numpy().reshape(-1), np.float64)
