"""How does a recipe turn one record into logits? The door to torch: import this inside functions only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from sandbox.catalogue.encoding import Inputs

_BYTES = 257  # 0 is padding


class RecordVector(nn.Module):
    """A record as one vector of norm at most 1, using public bounds only; it has no weights.

    Each feature gives a part of norm at most 1 (a number: its bin; a category: its place; an array:
    its values; a text: how often each byte occurs), and the whole is divided by the root of how many
    there are. With norm at most 1, clipping a linear model's gradients never bites.
    """

    def __init__(self, inputs: Inputs, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.categories = tuple(inputs.categories)
        self.arrays = {name: math.prod(shape) for name, shape in inputs.arrays.items()}
        self.texts = tuple(inputs.texts)
        self.numbers = inputs.numbers
        parts = inputs.numbers + len(self.categories) + len(self.arrays) + len(self.texts)
        self.scale = 1 / math.sqrt(max(1, parts))
        self.width = (
            inputs.numbers * bins
            + sum(self.categories)
            + sum(self.arrays.values())
            + _BYTES * len(self.texts)
        )

    def forward(self, **batch: Tensor) -> Tensor:
        parts = []
        if self.numbers:
            at = ((batch["numbers"] + 1) * (self.bins / 2)).long().clamp(0, self.bins - 1)
            parts.append(F.one_hot(at, self.bins).flatten(1).float())
        if self.categories:
            columns = batch["categories"].unbind(1)
            parts += [
                F.one_hot(column.clamp(0, size - 1), size).float()
                for column, size in zip(columns, self.categories, strict=True)
            ]
        parts += [batch[name].flatten(1) / math.sqrt(size) for name, size in self.arrays.items()]
        parts += [_byte_shares(batch[name]) for name in self.texts]
        return torch.cat(parts, 1) * self.scale


class Tabular(nn.Module):
    """Layers of `hidden` widths above a RecordVector; none makes a logistic (or linear) model."""

    def __init__(self, inputs: Inputs, bins: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.vector = RecordVector(inputs, bins)
        # Undo the vector's scale before layers, where unit-sized inputs train better.
        self.gain = 1 / self.vector.scale if hidden else 1.0
        layers: list[nn.Module] = []
        width = self.vector.width
        for wide in hidden:
            layers += [nn.Linear(width, wide), nn.Tanh()]
            width = wide
        head = nn.Linear(width, inputs.outputs)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.layers = nn.Sequential(*layers, head)

    def forward(self, **batch: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.vector(**batch) * self.gain)
        return logits


def _byte_shares(text: Tensor) -> Tensor:
    counts = torch.zeros(len(text), _BYTES)
    counts.scatter_add_(1, text.clamp(0, _BYTES - 1), (text > 0).float())
    return counts / counts.sum(1, keepdim=True).clamp_min(1)
