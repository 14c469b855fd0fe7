"""What becomes of the weights after the noise? Adam by the noised mean gradient, and a mean over the last steps.

All of it is post-processing of what the Gaussian mechanism gave. A training has one (sandbox.training.loop), and the
release gate another beside it (sandbox.training.gate.replay) that is given the same noised sums: where they differ,
something else moved the training's weights. The door to torch: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sandbox.training.plan import Plan
from sandbox.training.resumable import State

_FIRST, _SECOND, _NOT_ZERO = 0.9, 0.999, 1e-8
"""What stays of each moment at a step, and what keeps from dividing by zero, as Adam's authors have them."""


class Descent:
    """Copies of the first `weights`, moved in place step by step; `means` of them are what is released.

    All of them lie in one row. Adam is written out (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1): for small
    models torch's own takes longer on its way there than there. The mean over the last `plan.averaged` of the steps
    takes most of the noise away, at no cost.
    """

    def __init__(self, weights: Mapping[str, Tensor], plan: Plan) -> None:
        self._row = torch.cat([weight.detach().reshape(-1) for weight in weights.values()])
        self._mean = self._row.clone()
        self._first, self._second = torch.zeros_like(self._row), torch.zeros_like(self._row)
        self.weights, self.means = (_named(row, weights) for row in (self._row, self._mean))
        self.done = 0
        self._rate = plan.learning_rate
        self._averaged, self._averaged_from = 0, plan.steps - int(plan.averaged * plan.steps)

    @torch.no_grad()
    def step(self, sums: Mapping[str, Tensor], batch: float) -> None:
        """Moves by these noised sums over `batch`; they are named as the weights, and others not looked at."""
        total = torch.cat([sums[name].reshape(-1) for name in self.weights])
        gradient = total.div_(batch).to(self._row.dtype)
        self.done += 1
        self._first.lerp_(gradient, 1 - _FIRST)
        self._second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        size = (self._second / (1 - _SECOND**self.done)).sqrt_().add_(_NOT_ZERO)
        self._row.addcdiv_(self._first, size, value=-self._rate / (1 - _FIRST**self.done))
        if self.done >= self._averaged_from:
            self._averaged += 1
            self._mean.lerp_(self._row, 1 / self._averaged)

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on but its sums; what `take_up` takes."""
        counts = {"done": torch.tensor(self.done), "averaged": torch.tensor(self._averaged)}
        return {**counts, **self._rows()}

    @torch.no_grad()
    def take_up(self, state: State) -> None:
        """Goes on where this state was taken."""
        self.done, self._averaged = int(state["done"]), int(state["averaged"])
        for name, row in self._rows().items():
            row.copy_(state[name])

    def _rows(self) -> dict[str, Tensor]:
        return {"weights": self._row, "means": self._mean, "first": self._first, "second": self._second}


def _named(row: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that lie one after the other in this row."""
    parts = torch.split(row, [weight.numel() for weight in weights.values()])
    return {
        name: part.view(weight.shape) for (name, weight), part in zip(weights.items(), parts, strict=True)
    }
