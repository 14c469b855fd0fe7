"""How does `ebm` learn? DP-EBM, step by step: people's residuals summed by leaf, noise, and a move of one table.

Every step everybody takes part, and a unit's part in all that the step releases has a norm of at most the clip: in a
counting step it is 1 / the root of how many columns there are, in the bin of each column it is in; in a later one its
residual (the slope of the loss), in the one leaf it is in. Of several rows a unit has the mean. So each step is a
Gaussian mechanism like a step of DP-SGD with a sampling rate of 1 (sandbox.training.loop), is charged as one, and
the same witness stands beside it; what follows from the noised sums is in sandbox.training.boosted_tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sandbox.training import canaries as planted
from sandbox.training.boosted_tables import COUNTS, LEAVES, Numbers, Split, Tables, released
from sandbox.training.canaries import Canaries
from sandbox.training.loop import Observer, Step
from sandbox.training.noise import Grid, noised
from sandbox.training.plan import Plan
from sandbox.training.resumable import State
from sandbox.training.sampler import Randomness, UnitRows

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.submissions.graph.lift import Model


class Boosting:
    """One training of tables, step by step; as `loop.Training`."""

    def __init__(
        self,
        model: Model,
        features: Mapping[str, Tensor],
        target: Tensor,
        units: UnitRows,
        plan: Plan,
        randomness: Randomness,
        canaries: Canaries | None = None,
    ) -> None:
        import torch

        self._plan, self._randomness, self._canaries = plan, randomness, canaries or Canaries.none()
        ((self._name, weight),) = model.weights.items()
        self._weight = weight.detach().clone()
        rows, owners = units.rows(np.arange(len(units)))
        self._people = len(units)
        self._everybody = np.arange(len(units) + self._canaries.units)
        self._shares = torch.from_numpy(1.0 / np.asarray(units.sizes)[owners])
        self._bins = bins_of(features, plan, torch.from_numpy(rows))
        self._target = target.index_select(0, torch.from_numpy(rows)).float()
        self._scores = torch.zeros(len(rows))
        self._tables = Tables(plan)
        self._grid = Grid.of(
            plan.clip, sum(math.prod(s) for s in released(plan).values()) + len(self._canaries)
        )

    @property
    def done(self) -> int:
        return self._tables.done

    @property
    def means(self) -> dict[str, Tensor]:
        """The weights to release."""
        return {self._name: self._weight}

    def step(self, observe: Observer | None = None) -> None:
        """Sums, adds noise, and moves one table."""
        plan, split = self._plan, self._tables.split()
        sums = self._sums(split)
        deviation = plan.noise_multiplier * plan.clip
        after = noised(sums, deviation, self._grid, self._randomness.noise)
        if observe:
            observe(Step(self.done + 1, self.means, self._everybody, self._people, sums, after))
        moved = self._tables.learn(split, after)
        if split:
            self._show()
            self._move(split.term, moved)

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on but records and randomness; what `take_up` takes."""
        return self._tables.state()

    def take_up(self, state: State) -> None:
        """Goes on where this state was taken."""
        self._tables.take_up(state)
        self._show()
        for term, moved in enumerate(self._tables.of_terms()):
            self._move(term, moved)

    def _show(self) -> None:
        import torch

        self._weight.copy_(torch.from_numpy(self._tables.table).view_as(self._weight))

    def _move(self, term: int, by: Numbers) -> None:
        import torch

        self._scores += torch.from_numpy(by).float().index_select(0, self._bins[term].int())

    def _sums(self, split: Split | None) -> dict[str, Tensor]:
        import torch

        clip = self._grid.inner_clip
        sums = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in released(self._plan).items()}
        if split is None:
            part = clip / math.sqrt(len(self._bins))
            sums[COUNTS] = torch.cat([self._by_bin(at, self._shares * part) for at in range(len(self._bins))])
        else:
            slopes = residuals(self._scores, self._target, self._plan.loss, clip)
            found = self._by_bin(split.term, slopes * self._shares)
            sums[LEAVES].index_add_(0, torch.from_numpy(split.leaf_of), found)
        if len(self._canaries):
            drawn = self._everybody[self._people :] - self._people
            sums[planted.NAME] = self._canaries.clipped_sum(drawn, clip)
        return sums

    def _by_bin(self, term: int, values: Tensor) -> Tensor:
        import torch

        return torch.bincount(self._bins[term].long(), values, minlength=self._plan.terms[term])


def residuals(scores: Tensor, target: Tensor, loss: str, bound: float) -> Tensor:
    """Less the slope of the loss (sandbox.training.gradients), cut at `bound` either way."""
    slopes = target - scores.sigmoid() if loss == "binary" else ((target - scores) * 2).clamp(-1, 1)
    return slopes.clamp(-bound, bound)


def bins_of(features: Mapping[str, Tensor], plan: Plan, rows: Tensor) -> list[Tensor]:
    """For each column the bin of each of these rows: a part of a number's range, or a category."""
    import torch

    found = []
    for at, size in enumerate(plan.terms):
        if at < plan.ordered:
            numbers = features["numbers"][:, at].index_select(0, rows)
            places = ((numbers + 1) * (size / 2)).long()
        else:
            places = features["categories"][:, at - plan.ordered].index_select(0, rows)
        found.append(places.clamp(0, size - 1).to(torch.int16 if size <= 2**15 else torch.int32))
    return found
