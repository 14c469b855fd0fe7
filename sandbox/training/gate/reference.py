"""Are the clipped sums what the definition of DP-SGD gives, on the same units at the same weights?

Some steps, which the training cannot foresee, are repeated with every record's whole gradient, on rows
chosen here from the units' codes: each unit's first ones, up to its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sandbox.training.gate.check import Check, exact
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


class Reference:
    """Repeats some steps of a training by the definition."""

    def __init__(
        self, model: Model, loss: str, features: Mapping[str, Tensor], target: Tensor, codes: Whole,
        most_rows: int, clip: float, steps: int, batch: float, generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self._model, self._loss, self._features, self._target = model, loss, features, target
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]
        self._names, sizes = np.unique(codes, return_counts=True)
        self._most_rows, self._clip = most_rows, clip
        size = sum(weight.numel() for weight in model.weights.values())
        self._at_once = max(
            1, min(_AT_ONCE // max(1, size), model.at_once, 256) // min(most_rows, int(sizes.max()))
        )
        many = int(np.clip(_WORK // max(1, int(size * batch)), 1, 3))
        self._chosen = {1 + int(s) for s in generator.choice(steps, min(many, steps), replace=False)}
        self._worst = 0.0
        self._longest = 0.0

    def note(self, step: Step) -> None:
        """Most steps are let pass."""
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
        low, high = np.searchsorted(self._sorted, [self._names[unit], self._names[unit] + 1])
        return self._order[low:high][: self._most_rows]
