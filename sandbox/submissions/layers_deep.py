"""How do a picture and a table's columns become logits by more than one line? `cnn` and `tabular-transformer`.

Both add what they find to a linear answer on the record's vector, and start by adding nothing: noise
has less to spoil than in a network that must find everything by itself. The door to torch: import this
inside functions only.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sandbox.submissions.layers import Bins, RecordVector, silent

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

_GROUPS = 4
_HEADS = 2


class Cnn(nn.Module):
    """Each image through two convolutions with group norms, which see one record; other columns by a line."""

    def __init__(self, inputs: Inputs, channels: int) -> None:
        super().__init__()
        self.shapes = {name: as_image(shape) for name, shape in inputs.arrays.items() if len(shape) > 1}
        self.look = nn.ModuleDict({name: _look(shape[0], channels) for name, shape in self.shapes.items()})
        sizes = [channels * (high // 2) * (wide // 2) for _, high, wide in self.shapes.values()]
        self.head = silent(nn.Linear(sum(sizes), inputs.outputs))
        rest = {name: shape for name, shape in inputs.arrays.items() if name not in self.shapes}
        others = replace(inputs, arrays=rest)
        self.others = tuple(others.names)
        self.vector = RecordVector(others, Bins(4)) if self.others else None
        self.line = silent(nn.Linear(self.vector.width, inputs.outputs, bias=False)) if self.vector else None

    def forward(self, **batch: Tensor) -> Tensor:
        seen = [
            self.look[name](batch[name].view(-1, *shape) * 2 - 1).flatten(1)
            for name, shape in self.shapes.items()
        ]
        logits: Tensor = self.head(torch.cat(seen, 1))
        if self.vector is not None and self.line is not None:
            logits = logits + self.line(self.vector(**{name: batch[name] for name in self.others}))
        return logits


class TabularTransformer(nn.Module):
    """A token for each column, one layer of attention among them, and a line beside it.

    A number's token is a learned mix for its bin, a category's a learned one for its place.
    """

    starts: Tensor
    last: Tensor

    def __init__(self, inputs: Inputs, bins: int, width: int) -> None:
        super().__init__()
        self.bins, self.numbers = bins, inputs.numbers
        self.vector = RecordVector(inputs, Bins(bins))
        self.line = silent(nn.Linear(self.vector.width, inputs.outputs, bias=False))
        sizes = [bins] * inputs.numbers + list(inputs.categories)
        starts = torch.tensor([sum(sizes[:i]) for i in range(len(sizes))])
        self.register_buffer("starts", starts)
        self.register_buffer("last", torch.tensor(sizes) - 1)
        self.tokens = nn.Embedding(sum(sizes), width)
        self.before = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.between = nn.LayerNorm(width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.after = nn.LayerNorm(width)
        self.head = silent(nn.Linear(width, inputs.outputs, bias=False))

    def forward(self, **batch: Tensor) -> Tensor:
        places = []
        if self.numbers:
            places.append(((batch["numbers"] + 1) * (self.bins / 2)).long())
        if "categories" in batch:
            places.append(batch["categories"])
        at = torch.minimum(torch.cat(places, 1).clamp_min(0), self.last) + self.starts
        seen = self.tokens(at)
        asked = self.before(seen)
        seen = seen + self.attention(asked, asked, asked, need_weights=False)[0]
        seen = seen + self.think(self.between(seen))
        found = self.head(self.after(seen.mean(1)) / math.sqrt(seen.shape[2]))
        logits: Tensor = self.line(self.vector(**batch)) + found
        return logits


def as_image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width; an image of two sides has one channel."""
    channels, high, wide = (1, *shape)[-3:]
    return channels, high, wide


def _look(channels: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(_GROUPS, width), nn.Tanh(),
        nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(_GROUPS, width), nn.Tanh(), nn.AvgPool2d(2),
    )  # fmt: skip
