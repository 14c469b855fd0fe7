"""Are the sums of a DP-EBM training what the definition gives, and do its tables follow from the noised sums alone?

What `reference` and `replay` ask of DP-SGD, asked of sandbox.training.boosting. In whose bin a record is, and how far
its answer is off, is read from the record graph itself, by its gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sandbox.training.boosted_tables import COUNTS, LEAVES, Tables, released
from sandbox.training.gate.check import Check, exact
from sandbox.training.gate.reference import Reference
from sandbox.training.resumable import State, Sums

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.training.loop import Step
    from sandbox.training.plan import Plan

_APART = 1e-5


class ReplayOfTables(Sums):
    """Moves tables of its own by the noised sums."""

    _KEPT = ("_follows",)

    def __init__(self, weights: Mapping[str, Tensor], plan: Plan) -> None:
        self._names, self._follows = set(weights), True
        self.tables = Tables(plan)

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **self.tables.state()}

    def take_up(self, state: State) -> None:
        super().take_up(state)
        self.tables.take_up(state)

    def note(self, step: Step) -> None:
        self.released(step.weights)
        self.tables.learn(self.tables.split(), step.noised)

    def released(self, weights: Mapping[str, Tensor]) -> None:
        """What came of the training, to be compared too."""
        if set(weights) != self._names:
            self._follows = False
            return
        (found,) = weights.values()
        expected = self.tables.table
        apart = np.abs(found.numpy().reshape(-1) - expected).max()
        self._follows &= bool(apart <= _APART * (1 + np.abs(expected).max()))  # not so for NaN

    def checks(self) -> list[Check]:
        return [
            exact("weights by replay", self._follows, "the weights do not follow from the noised sums alone")
        ]


class ReferenceOfTables(Reference):
    """Repeats some steps by the definition, on the split that the replay has come to.

    Told of a step before the replay is.
    """

    def __init__(self, plan: Plan, replay: ReplayOfTables, *given: Any) -> None:
        super().__init__(*given)
        self._plan, self._replay = plan, replay

    def _nothing(self) -> dict[str, Tensor]:
        import torch

        return {name: torch.zeros(shape) for name, shape in released(self._plan).items()}

    def _of_records(
        self, features: Mapping[str, Tensor], target: Tensor, weights: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        import torch
        from torch.func import grad, vmap

        from sandbox.training.gradients import loss_of_one

        def answer(learned: Mapping[str, Tensor], record: Mapping[str, Tensor]) -> Tensor:
            return self._model.one(learned, record, training=False)

        split = self._replay.tables.split()
        (looked_up,) = vmap(grad(lambda w, r: answer(w, r).sum()), in_dims=(None, 0))(
            weights, features
        ).values()
        bins = looked_up.flatten(1)
        none = torch.zeros(len(bins), self._plan.leaves)
        if split is None:
            return {COUNTS: bins * (self._clip / math.sqrt(len(self._plan.terms))), LEAVES: none}
        answers = vmap(answer, in_dims=(None, 0))(weights, features)
        slopes = vmap(grad(loss_of_one), in_dims=(0, 0, None))(answers, target, self._loss).flatten()
        none.index_add_(1, torch.from_numpy(split.leaf_of), bins[:, split.place])
        return {
            COUNTS: torch.zeros_like(bins),
            LEAVES: -slopes.clamp(-self._clip, self._clip)[:, None] * none,
        }
