"""How does a recipe turn one record into logits? The door to torch: import this inside functions only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

_BYTES = 257  # 0 is padding
_SPREAD = 2.0


class RecordVector(nn.Module):
    """A record as one vector of norm at most 1, using public bounds only; it has no weights.

    A constant, and for each feature a part of norm at most 1 (a number: itself, or with several bins
    its bin; a category: its place; an array: its values; a text: how often each byte occurs), all
    divided by the root of how many parts there are. A linear model on this vector has gradients of
    norm at most 1 for a yes-or-no question, so clipping at 1 never bites.
    """

    def __init__(self, inputs: Inputs, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.categories = tuple(inputs.categories)
        self.arrays = {name: math.prod(shape) for name, shape in inputs.arrays.items()}
        self.texts = tuple(inputs.texts)
        self.numbers = inputs.numbers
        parts = 1 + inputs.numbers + len(self.categories) + len(self.arrays) + len(self.texts)
        self.scale = 1 / math.sqrt(parts)
        places = inputs.numbers * bins + sum(self.categories) + _BYTES * len(self.texts)
        self.width = 1 + places + sum(self.arrays.values())

    def forward(self, **batch: Tensor) -> Tensor:
        parts = [torch.ones(len(next(iter(batch.values()))), 1)]
        if self.numbers and self.bins == 1:
            parts.append(batch["numbers"])
        elif self.numbers:
            at = ((batch["numbers"] + 1) * (self.bins / 2)).long().clamp(0, self.bins - 1)
            parts.append(F.one_hot(at, self.bins).flatten(1).float())
        if self.categories:
            columns = zip(batch["categories"].unbind(1), self.categories, strict=True)
            parts += [F.one_hot(column.clamp(0, size - 1), size).float() for column, size in columns]
        parts += [batch[name].flatten(1) / math.sqrt(size) for name, size in self.arrays.items()]
        parts += [_byte_shares(batch[name]) for name in self.texts]
        return torch.cat(parts, 1) * self.scale


class Tabular(nn.Module):
    """A linear answer, plus what layers of `hidden` widths add to it; without layers, logistic regression.

    Layers start wide (so that they bend at all) and their outputs are divided by the root of their
    width, which keeps gradients near those of the linear part: little is lost to clipping.
    """

    def __init__(self, inputs: Inputs, bins: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.vector = RecordVector(inputs, bins)
        self.line = _silent(nn.Linear(self.vector.width, inputs.outputs, bias=False))
        widths = [self.vector.width, *hidden]
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=_SPREAD)
        self.hidden = nn.ModuleList(layers)
        self.bend = _silent(nn.Linear(widths[-1], inputs.outputs, bias=False)) if hidden else None

    def forward(self, **batch: Tensor) -> Tensor:
        seen = self.vector(**batch)
        logits: Tensor = self.line(seen)
        for layer in self.hidden:
            seen = torch.tanh(layer(seen))
            seen = seen / math.sqrt(seen.shape[1])
        return logits if self.bend is None else logits + self.bend(seen)


def _silent(layer: nn.Linear) -> nn.Linear:
    """Starts by answering 0, whatever it is asked."""
    nn.init.zeros_(layer.weight)
    return layer


def _byte_shares(text: Tensor) -> Tensor:
    counts = torch.zeros(len(text), _BYTES)
    counts.scatter_add_(1, text.clamp(0, _BYTES - 1), (text > 0).float())
    return counts / counts.sum(1, keepdim=True).clamp_min(1)
