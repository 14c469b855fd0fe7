"""Do the weights follow from the noised sums alone? Everything after the noise is done again, beside the training.

If so, the weights are post-processing of what the Gaussian mechanism gave, whatever else the training
looked at: no actual batch size, no un-noised sum is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sandbox.training.gate.check import Check, exact
from sandbox.training.resumable import State, Sums

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.training.loop import Step
    from sandbox.training.plan import Plan

_APART = 1e-3
"""Of a learning rate, for each step so far: the most that float32 is allowed to add up to."""


class Replay(Sums):
    """Moves a copy of the first weights as the plan says (sandbox.training.descent)."""

    _KEPT = ("_worst",)

    def __init__(self, weights: Mapping[str, Tensor], plan: Plan) -> None:
        from sandbox.training.descent import Descent

        self._plan, self._worst = plan, 0.0
        self._descent = Descent(weights, plan)

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **self._descent.state()}

    def take_up(self, state: State) -> None:
        super().take_up(state)
        self._descent.take_up(state)

    def note(self, step: Step) -> None:
        self._compare(step.weights, self._descent.weights)
        self._descent.step(step.noised, self._plan.units * self._plan.sampling_rate)

    def released(self, weights: Mapping[str, Tensor]) -> None:
        """What came of the training, to be compared too."""
        self._compare(weights, self._descent.means)

    def checks(self) -> list[Check]:
        return [
            exact(
                "weights by replay", self._worst <= 1, "the weights do not follow from the noised sums alone"
            )
        ]

    def _compare(self, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        allowed = self._plan.learning_rate * _APART * (1 + self._descent.done)
        if found.keys() != expected.keys():
            self._worst = float("inf")
            return
        for name, weight in expected.items():
            apart = float((found[name] - weight).abs().max())
            self._worst = max(self._worst, apart / (allowed + 1e-5 * float(weight.abs().max())))
