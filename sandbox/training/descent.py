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

_OF_ADAM = ("step", "exp_avg", "exp_avg_sq")


class Descent:
    """Copies of the first `weights`, moved in place step by step; `means` of them are what is released.

    All of them lie in one row, which is one step for Adam however many they are. Kingma and Ba 2015, arXiv 1412.6980. The mean over the last `plan.averaged` of the steps takes most of the noise
    away, at no cost.
    """

    def __init__(self, weights: Mapping[str, Tensor], plan: Plan) -> None:
        self._all = torch.cat([weight.detach().reshape(-1) for weight in weights.values()])
        self._mean = self._all.clone()
        self.weights, self.means = (_named(values, weights) for values in (self._all, self._mean))
        self.done = 0
        self._averaged, self._first = 0, plan.steps - int(plan.averaged * plan.steps)
        self._adam = torch.optim.Adam([self._all], lr=plan.learning_rate, fused=True)

    @torch.no_grad()
    def step(self, sums: Mapping[str, Tensor], batch: float) -> None:
        """Moves by these noised sums over `batch`; they are named as the weights, and others not looked at."""
        whole = torch.cat([sums[name].reshape(-1) for name in self.weights])
        self._all.grad = whole.div_(batch).to(self._all.dtype)
        self._adam.step()
        self.done += 1
        if self.done >= self._first:
            self._averaged += 1
            self._mean.lerp_(self._all, 1 / self._averaged)

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on but its gradients; what `take_up` takes."""
        counts = {"done": torch.tensor(self.done), "averaged": torch.tensor(self._averaged)}
        return {**counts, "weights": self._all, "means": self._mean, **self._adam.state[self._all]}

    @torch.no_grad()
    def take_up(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where this state was taken."""
        self.done, self._averaged = int(state["done"]), int(state["averaged"])
        self._all.copy_(state["weights"])
        self._mean.copy_(state["means"])
        self._adam.state[self._all] = {key: state[key].clone() for key in _OF_ADAM}


def _named(values: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """These values, which lie one after the other, as the tensors that they are."""
    parts = values.split([weight.numel() for weight in weights.values()])
    return {name: part.view(weight.shape) for (name, weight), part in zip(weights.items(), parts, strict=True)}
