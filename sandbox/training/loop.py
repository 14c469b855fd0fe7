"""How are weights learned without learning any one person? DP-SGD, written out: sample, clip, add noise.

Every step: draw units by Poisson sampling; take the gradient of every record by itself
(sandbox.training.engines); average within a unit; clip each unit; sum; add Gaussian noise of
`noise_multiplier * clip` (sandbox.training.noise); divide by the *expected* number of units. Nothing un-noised
is kept or returned: no loss, no gradient norm, no batch size. Whoever watches a step does so inside the vault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.training import canaries as planted
from sandbox.training.canaries import Canaries
from sandbox.training.noise import Grid, noised
from sandbox.training.plan import Plan
from sandbox.training.resumable import State
from sandbox.training.sampler import Randomness, UnitRows, Whole, draw

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.submissions.graph.lift import Model
    from sandbox.training.boosting import Boosting
    from sandbox.training.engines import Engine

_LOOKED_AT = 5
"""Steps after which it is known how long one takes."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Step:
    """What one step did. It holds un-noised sums, so it may never leave the vault.

    `number` counts from 1. `weights` are those the gradients were
    taken at: the training's own tensors, which it changes after the observer has returned. `drawn` are places
    among the units; those from `units` on are canaries (see `Canaries.clipped_sum`). `sums` and `noised` are
    named by weight, and `canaries.NAME`.
    """

    number: int
    weights: Mapping[str, Tensor]
    drawn: Whole
    units: int
    sums: Mapping[str, Tensor]
    noised: Mapping[str, Tensor]


Observer = Callable[[Step], None]


class Training:
    """One training, step by step. The model it starts from stays as it was."""

    def __init__(
        self,
        model: Model,
        features: Mapping[str, Tensor],
        target: Tensor,
        units: UnitRows,
        plan: Plan,
        randomness: Randomness,
        canaries: Canaries | None = None,
        *,
        by: str = "taps",
        compiled: str = "auto",
    ) -> None:
        from sandbox.training import engines
        from sandbox.training.descent import Descent

        self._features, self._target, self._units = features, target, units
        self._plan, self._randomness, self._canaries = plan, randomness, canaries or Canaries.none()
        self._descent = Descent(model.weights, plan)
        self._weights = self._descent.weights
        self._model, self._engine, self._compiled = model, engines.choose(model, plan.loss, by=by), compiled
        coordinates = sum(weight.numel() for weight in self._weights.values()) + len(self._canaries)
        self._grid = Grid.of(plan.clip, coordinates)
        self._taken_up = 0
        self._timed = 0.0

    @property
    def done(self) -> int:
        return self._descent.done

    @property
    def means(self) -> dict[str, Tensor]:
        """The weights to release: the mean over the last steps."""
        return self._descent.means

    def step(self, observe: Observer | None = None) -> None:
        """Draws, clips, sums, adds noise, and moves the weights."""
        self._compile_if_it_pays()
        plan, people = self._plan, len(self._units)
        drawn = draw(people + self._canaries.units, plan.sampling_rate, self._randomness.sampling)
        sums = self._sums(drawn)
        deviation = plan.noise_multiplier * plan.clip
        after = noised(sums, deviation, self._grid, self._randomness.noise)
        if observe:
            observe(Step(self.done + 1, self._weights, drawn, people, sums, after))
        self._descent.step(after, plan.expected_batch)

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on but records and randomness; what `take_up` takes."""
        return self._descent.state()

    def take_up(self, state: State) -> None:
        """Goes on where this state was taken."""
        self._descent.take_up(state)
        self._taken_up = self.done

    def _compile_if_it_pays(self) -> None:
        """After some steps have shown how long one takes; always or never where that was asked for."""
        took = self.done - self._taken_up
        if took == 0:
            self._timed = time.monotonic()
        if (
            self._compiled == "never"
            or self._units.most_rows > 1
            or not (took == _LOOKED_AT or self._compiled == "always")
        ):
            return
        from sandbox.training import compiled

        seconds, nodes = (time.monotonic() - self._timed) / _LOOKED_AT, len(self._model.graph.nodes)
        if self._compiled == "always" or compiled.pays(self._plan.steps - self.done, seconds, nodes):
            self._engine = compiled.instead_of(
                self._engine,
                self._model,
                self._weights,
                self._target,
                self._plan.expected_batch,
                self._grid.inner_clip,
            )
        self._compiled = "never"

    def _sums(self, drawn: Whole) -> dict[str, Tensor]:
        people, clip = len(self._units), self._grid.inner_clip
        of_people = drawn[drawn < people]
        sums = clipped_sums(
            self._engine, self._weights, self._features, self._target, self._units, of_people, clip
        )
        if len(self._canaries):
            sums[planted.NAME] = self._canaries.clipped_sum(drawn[drawn >= people] - people, clip)
        return sums


def fit(
    model: Model,
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    plan: Plan,
    randomness: Randomness,
    progress: Progress | None = None,
    begins: Progress | None = None,
    *,
    canaries: Canaries | None = None,
    observe: Observer | None = None,
    taken_up: State | None = None,
    keep: Callable[[Training | Boosting], None] | None = None,
    by: str = "taps",
    compiled: str = "auto",
) -> dict[str, Tensor]:
    """The trainable weights of `model` after exactly `plan.steps` noisy steps; the model itself stays as it was.

    `begins` hears of each step before a record is drawn for it, `progress` after it is done; both as (step
    from 1, steps). `observe` sees inside each step, after its noise and before the weights move. With `taken_up` a
    training goes on where this `state` of it was taken; `keep` sees it after each step. `by` and `compiled` as in
    sandbox.settings.Training.
    """
    from sandbox.submissions.graph.lift import flushed
    from sandbox.training.boosting import Boosting

    training: Training | Boosting
    if plan.terms:
        training = Boosting(model, features, target, units, plan, randomness, canaries)
    else:
        training = Training(
            model, features, target, units, plan, randomness, canaries, by=by, compiled=compiled
        )
    if taken_up:
        training.take_up(taken_up)
    with flushed():  # else a step's time could tell of tiny values in it
        while training.done < plan.steps:
            if begins:
                begins(training.done + 1, plan.steps)
            training.step(observe)
            if keep:
                keep(training)
            if progress:
                progress(training.done, plan.steps)
    return training.means


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

    sums: dict[str, Tensor] = {}
    at_once = max(1, engine.records_at_once // units.most_rows)
    for start in range(0, len(drawn), at_once):
        rows, owners = units.rows(drawn[start : start + at_once])
        chosen = torch.from_numpy(rows)
        if engine.padded_to > len(rows):
            chosen = torch.cat([chosen, chosen[:1].expand(engine.padded_to - len(rows))])
        some = {name: tensor.index_select(0, chosen) for name, tensor in features.items()}
        target_of_some = target.index_select(0, chosen)
        found = engine.sums(weights, some, target_of_some, torch.from_numpy(owners), clip)
        sums = {name: sums[name] + total for name, total in found.items()} if sums else found
    return sums or {name: torch.zeros_like(weight) for name, weight in weights.items()}
