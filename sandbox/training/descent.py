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

    Kingma and Ba 2015, arXiv 1412.6980. The mean over the last `plan.averaged` of the steps takes most of the noise
    away, at no cost.
    """

    def __init__(self, weights: Mapping[str, Tensor], plan: Plan) -> None:
        self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        self.means = {name: weight.clone() for name, weight in self.weights.items()}
        self.done = 0
        self._averaged, self._first = 0, plan.steps - int(plan.averaged * plan.steps)
        self._adam = torch.optim.Adam(list(self.weights.values()), lr=plan.learning_rate, fused=True)

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Moves by these noised mean gradients, named as the weights; others are not looked at."""
        for name, weight in self.weights.items():
            weight.grad = gradients[name].to(weight.dtype)
        self._adam.step()
        self.done += 1
        if self.done >= self._first:
            self._averaged += 1
            for name, mean in self.means.items():
                mean += (self.weights[name] - mean) / self._averaged

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on but its gradients; what `take_up` takes."""
        kept = {"done": torch.tensor(self.done), "averaged": torch.tensor(self._averaged)}
        for name, weight in self.weights.items():
            kept |= {f"weight/{name}": weight.detach(), f"mean/{name}": self.means[name]}
            kept |= {f"adam.{key}/{name}": value for key, value in self._adam.state[weight].items()}
        return kept

    @torch.no_grad()
    def take_up(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where this state was taken."""
        self.done, self._averaged = int(state["done"]), int(state["averaged"])
        for name, weight in self.weights.items():
            weight.copy_(state[f"weight/{name}"])
            self.means[name].copy_(state[f"mean/{name}"])
            self._adam.state[weight] = {key: state[f"adam.{key}/{name}"].clone() for key in _OF_ADAM}
