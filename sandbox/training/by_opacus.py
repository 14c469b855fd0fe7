"""What does Opacus make of the same record graph? An engine by its GradSampleModule and its optimizer.

A peer to hold ours against, and for operators who want it: `[training] engine = "opacus"`. The graph becomes one
torch module with a layer for the whole of it, whose per-record gradients Opacus takes by functorch; its
DPOptimizer clips and sums. Noise, sampling and divisor stay the loop's, since Opacus draws noise from a
torch generator with 32 bits of seed; its accountant's figure is in every certificate. For units of one record:
Opacus knows no other.

The door to torch and Opacus: import this inside functions only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sandbox.submissions.graph.operators import DTYPES
from sandbox.training.gradients import loss_of_one, squared_norms

if TYPE_CHECKING:
    from sandbox.submissions.graph.lift import Model
    from sandbox.training.engines import Sums

_GRADIENT_FLOATS = 2**22
"""As in sandbox.training.engines."""


class Lifted(nn.Module):
    """The graph as a torch module. Opacus passes on one tensor alone, so all features of a record are one row."""

    def __init__(self, model: Model, training: bool) -> None:
        super().__init__()
        self._model, self._training = [model], training  # in a list: no part of the module
        self._names = {f"weight{i}": name for i, name in enumerate(model.trainable)}
        for own, name in self._names.items():
            self.register_parameter(own, nn.Parameter(model.weights[name].clone()))

    def forward(self, rows: Tensor) -> Tensor:
        (model,) = self._model
        weights = {name: getattr(self, own) for own, name in self._names.items()}

        def one(row: Tensor) -> Tensor:
            return model.one(weights, unpacked(model, row), training=self._training)

        answers: Tensor = torch.func.vmap(one, randomness="different")(rows)
        return answers

    def put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for own, name in self._names.items():
                getattr(self, own).copy_(weights[name])

    def named(self) -> dict[str, nn.Parameter]:
        return {name: getattr(self, own) for own, name in self._names.items()}


class ByOpacus:
    """An engine. A record whose gradient is not finite is left out, as zeros, before Opacus clips."""

    padded_to = 0

    def __init__(self, model: Model, loss: str, *, training: bool = True) -> None:
        from opacus.grad_sample import GradSampleModule
        from opacus.optimizers import DPOptimizer

        self._model, self._loss = model, loss
        self._lifted = Lifted(model, training)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Opacus always says
            self._private = GradSampleModule(self._lifted, loss_reduction="sum", force_functorch=True)
            self._private.train()
        self._make = DPOptimizer
        size = sum(weight.numel() for weight in model.weights.values())
        self.records_at_once = max(1, min(_GRADIENT_FLOATS // max(1, size), model.at_once))

    def sums(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        owners: Tensor,
        clip: float,
    ) -> Sums:
        if len(owners) != int(owners[-1]) + 1:
            raise NotImplementedError("Opacus knows units of one record only")
        self._lifted.put(weights)
        own: dict[str, Any] = {**self._lifted.named()}  # Opacus adds fields of its own to parameters
        for parameter in own.values():
            parameter.grad = parameter.grad_sample = parameter.summed_grad = None
        answers = self._private(packed(self._model, features))
        each = torch.func.vmap(lambda logits, answer: loss_of_one(logits, answer, self._loss))
        torch.autograd.backward(each(answers, target).sum())
        for parameter in own.values():
            if parameter.grad_sample is None:
                parameter.grad_sample = torch.zeros(len(target), *parameter.shape)
        finite = squared_norms({name: g.grad_sample for name, g in own.items()}).isfinite()
        for parameter in own.values():
            parameter.grad_sample = parameter.grad_sample.detach()
            parameter.grad_sample[~finite] = 0.0
        optimiser: Any = self._make(
            torch.optim.SGD(list(own.values()), lr=0.0), noise_multiplier=0.0, max_grad_norm=clip,
            expected_batch_size=1, loss_reduction="sum",
        )  # fmt: skip
        optimiser.clip_and_accumulate()
        return {name: parameter.summed_grad.detach() for name, parameter in own.items()}


def packed(model: Model, features: Mapping[str, Tensor]) -> Tensor:
    """[n, all features]: whole numbers are exact in float32 up to 2^24, far above any category or byte."""
    return torch.cat([features[s.name].flatten(1).float() for s in model.graph.inputs], 1)


def unpacked(model: Model, row: Tensor) -> dict[str, Tensor]:
    sizes = [math.prod(s.shape[1:]) for s in model.graph.inputs]
    parts = zip(model.graph.inputs, torch.split(row, sizes), strict=True)
    return {s.name: part.reshape(s.shape[1:]).to(DTYPES[s.dtype]) for s, part in parts}
