"""Are the clipped sums what the definition of DP-SGD gives, on the same units at the same weights?

Some steps, which the training cannot foresee, are repeated with every record's whole gradient, on rows
chosen here from the units' codes: each unit's first ones, up to its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sandbox.training.gate.check import Check, exact
from sandbox.training.resumable import State, Sums
from sandbox.training.sampler import Whole

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.submissions.graph.lift import Model
    from sandbox.training.loop import Step

_WORK = 2**25
"""Gradient floats spent on repeating steps; one step is repeated whatever it takes, and no more than three."""
_AT_ONCE = 2**22
_FAR = 0.05
_APART = 1e-4
"""How far from the reference in norm, in clips: in all, and for each unit of the step. Float32 sums in
another order differ by less; a record at a kink of its loss may fall on either side."""


class Reference(Sums):
    """Repeats some steps of a training by the definition; of the steps left where one goes on, as many again."""

    _KEPT = ("_seen", "_worst", "_longest")

    def __init__(
        self, model: Model, loss: str, features: Mapping[str, Tensor], target: Tensor, codes: Whole,
        most_rows: int, clip: float, steps: int, batch: float, generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self._model, self._loss, self._features, self._target = model, loss, features, target
        order = np.argsort(codes, kind="stable")
        starts = np.append(np.flatnonzero(np.diff(codes[order], prepend=codes.min() - 1)), len(codes))
        most = min(most_rows, int(np.diff(starts).max()))
        small = np.min_scalar_type(len(codes))  # of many records, half of what they would take
        self._order, self._starts = order.astype(small), starts.astype(small)
        self._most_rows, self._clip = most_rows, clip
        size = sum(weight.numel() for weight in model.weights.values())
        self._at_once = max(1, min(_AT_ONCE // max(1, size), model.at_once, 256) // most)
        self._many = int(np.clip(_WORK // max(1, int(size * batch)), 1, 3))
        self._steps, self._generator = steps, generator
        self._seen, self._worst, self._longest = 0, 0.0, 0.0
        self._choose()

    def note(self, step: Step) -> None:
        """Most steps are let pass."""
        self._seen = step.number
        drawn, sums, weights = step.drawn[step.drawn < step.units], step.sums, step.weights
        allowed = self._clip * len(drawn) * (1 + 1e-4) + 1e-6
        length = sum(float(sums[n].double().square().sum()) for n in self._nothing()) ** 0.5
        self._longest = max(self._longest, length / allowed)
        if step.number not in self._chosen or self._is_random(drawn, weights):
            return
        again = self._sums(drawn, weights)
        apart = sum(float((sums[n] - again[n]).double().square().sum()) for n in again) ** 0.5
        self._worst = max(self._worst, apart / (self._clip * (_FAR + _APART * len(drawn))))

    def checks(self) -> list[Check]:
        return [
            exact(
                "longest sum", self._longest <= 1, "a step's clipped sum is longer than all its units' clips together"
            ),
            exact("sums by definition", self._worst <= 1, "a step's clipped sum is not what the definition gives"),
        ]  # fmt: skip

    def take_up(self, state: State) -> None:
        super().take_up(state)
        self._choose()

    def _choose(self) -> None:
        left = range(self._seen + 1, self._steps + 1)
        many = min(self._many, len(left))
        self._chosen = {int(step) for step in self._generator.choice(left, many, replace=False)}

    def _is_random(self, drawn: Whole, weights: Mapping[str, Tensor]) -> bool:
        """Dropout is drawn anew, so a step cannot be repeated; the rehearsal compared the sums without it."""
        one, other = (self._sums(drawn[:32], weights) for _ in range(2))
        return any(not bool((one[name] == other[name]).all()) for name in one)

    def _sums(self, drawn: Whole, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sums = self._nothing()
        here = {name: weights[name].detach() for name in self._model.weights}
        for start in range(0, len(drawn), self._at_once):
            rows = [self._rows(unit) for unit in drawn[start : start + self._at_once]]
            for name, total in self._clipped(rows, here).items():
                sums[name] += total
        return sums

    def _clipped(self, rows: list[Whole], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean within each unit, then at most the clip long, then the sum; nothing here is the engines' own."""
        import torch

        chosen = torch.from_numpy(np.concatenate(rows))
        features = {name: tensor[chosen] for name, tensor in self._features.items()}
        each = self._of_records(features, self._target[chosen], weights)
        shares = torch.zeros(len(rows), len(chosen))
        shares[np.repeat(np.arange(len(rows)), [len(r) for r in rows]), np.arange(len(chosen))] = 1.0
        shares /= shares.sum(1, keepdim=True)
        means = {name: shares @ part.reshape(len(chosen), -1) for name, part in each.items()}
        lengths = torch.stack([mean.square().sum(1) for mean in means.values()]).sum(0).sqrt()
        scales = torch.minimum(torch.ones(()), self._clip / lengths.clamp_min(1e-12))
        return {name: (scales @ mean).view(each[name].shape[1:]) for name, mean in means.items()}

    def _nothing(self) -> dict[str, Tensor]:
        """The sums of nobody."""
        import torch

        return {name: torch.zeros_like(weight) for name, weight in self._model.weights.items()}

    def _of_records(
        self, features: Mapping[str, Tensor], target: Tensor, weights: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """[records, *shape]: what each record by itself would have a step sum."""
        from sandbox.training.gradients import record_gradients

        return record_gradients(self._model, features, target, self._loss, weights)

    def _rows(self, unit: int) -> Whole:
        rows = self._order[self._starts[unit] : self._starts[unit + 1]]
        return rows[: self._most_rows].astype(np.int64)
