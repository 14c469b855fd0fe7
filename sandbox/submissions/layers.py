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

    A constant, and for each feature a part of norm at most 1 (a number: see `Numbers`; a category: its
    place; an array: its values, an image's on [-1, 1]; a text: how often each byte occurs), all divided by the
    root of how many parts there are. A linear model on this vector has gradients of norm at most 1 for a
    yes-or-no question or a number, and of at most the root of 2 for several classes: clipping takes little.
    `sizes` says how many places each part has, in order.
    """

    def __init__(self, inputs: Inputs, numbers: Numbers) -> None:
        super().__init__()
        self.numbers = numbers
        self.categories = tuple(inputs.categories)
        self.arrays = {name: math.prod(shape) for name, shape in inputs.arrays.items()}
        self.images = tuple(name for name, shape in inputs.arrays.items() if len(shape) > 1)
        self.texts = tuple(inputs.texts)
        self.sizes = (1, *(numbers.width,) * inputs.numbers, *self.categories, *self.arrays.values(),
                      *(_BYTES,) * len(self.texts))  # fmt: skip
        self.scale = 1 / math.sqrt(len(self.sizes))
        self.width = sum(self.sizes)

    def forward(self, **batch: Tensor) -> Tensor:
        parts = [torch.ones(len(next(iter(batch.values()))), 1)]
        if "numbers" in batch:
            parts.append(self.numbers(batch["numbers"]))
        if self.categories:
            columns = zip(batch["categories"].unbind(1), self.categories, strict=True)
            parts += [F.one_hot(column.clamp(0, size - 1), size).float() for column, size in columns]
        arrays = {name: batch[name].flatten(1) for name in self.arrays}
        for name in self.images:  # dark ones would hardly be heard
            arrays[name] = arrays[name] * 2 - 1
        parts += [values / math.sqrt(self.arrays[name]) for name, values in arrays.items()]
        parts += [_byte_shares(batch[name]) for name in self.texts]
        return torch.cat(parts, 1) * self.scale


class Numbers(nn.Module):
    """[records, numbers] on [-1, 1] as [records, numbers * width]; each number's part has norm at most 1."""

    width: int


class Bins(Numbers):
    """Which of so many equal parts of its range a number lies in; with one part, the number itself."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.width = bins

    def forward(self, numbers: Tensor) -> Tensor:
        if self.width == 1:
            return numbers
        at = ((numbers + 1) * (self.width / 2)).long().clamp(0, self.width - 1)
        return F.one_hot(at, self.width).flatten(1).float()


class Tabular(nn.Module):
    """A linear answer, plus what layers of `hidden` widths add to it; without layers, logistic regression.

    Layers start wide (so that they bend at all) and their outputs are divided by the root of their
    width, which keeps gradients near those of the linear part: little is lost to clipping.
    """

    def __init__(self, inputs: Inputs, numbers: Numbers, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.vector = RecordVector(inputs, numbers)
        self.line = silent(nn.Linear(self.vector.width, inputs.outputs, bias=False))
        widths = [self.vector.width, *hidden]
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=_SPREAD)
        self.hidden = nn.ModuleList(layers)
        self.bend = silent(nn.Linear(widths[-1], inputs.outputs, bias=False)) if hidden else None

    def forward(self, **batch: Tensor) -> Tensor:
        seen = self.vector(**batch)
        logits: Tensor = self.line(seen)
        for layer in self.hidden:
            seen = torch.tanh(layer(seen))
            seen = seen / math.sqrt(seen.shape[1])
        return logits if self.bend is None else logits + self.bend(seen)


def silent(layer: nn.Linear) -> nn.Linear:
    """Starts by answering 0, whatever it is asked."""
    nn.init.zeros_(layer.weight)
    return layer


def _byte_shares(text: Tensor) -> Tensor:
    counts = torch.zeros(len(text), _BYTES)
    counts.scatter_add_(1, text.clamp(0, _BYTES - 1), (text > 0).float())
    return counts / counts.sum(1, keepdim=True).clamp_min(1)
