"""A small residual network for tables: categories become embeddings, blocks add to what they were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sandbox.errors import Refused

if TYPE_CHECKING:
    from sandbox.catalogue.encoding import Inputs

WIDTH = 48
BLOCKS = 2
BINS = 16


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(torch.tanh(self.first(x)))
        return x + 0.5 * change


class ResidualTabular(nn.Module):
    """Numbers arrive in [-1, 1]; sixteen bins each let a line bend wherever the public range allows."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.sizes = tuple(inputs.categories)
        self.stem = nn.Linear(inputs.numbers * BINS + sum(self.sizes), WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Linear(WIDTH, inputs.outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, **batch: Tensor) -> Tensor:
        parts = []
        if "numbers" in batch:
            at = ((batch["numbers"] + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
            parts.append(F.one_hot(at, BINS).flatten(1).float())
        for i, size in enumerate(self.sizes):
            parts.append(F.one_hot(batch["categories"][:, i].clamp(0, size - 1), size).float())
        x = torch.tanh(self.stem(torch.cat(parts, 1)))
        logits: Tensor = self.head(self.blocks(x))
        return logits


def build(inputs: Inputs) -> nn.Module:
    if inputs.arrays or inputs.texts or not (inputs.numbers or inputs.categories):
        raise Refused("The residual_tabular example is for tables of numbers and categories.")
    return ResidualTabular(inputs)
