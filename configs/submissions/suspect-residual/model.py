"""A small residual network for tables: every block adds a correction to what it was given.

Written for differentially private training: each feature counts the same, a record's vector has norm
at most 1, and layers divide by the root of their width. Gradients stay small, so clipping takes little.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

WIDTH = 32
BLOCKS = 1
BINS = 4


class Block(nn.Module):
    """x + correction(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(self.layer.weight, std=2.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.layer(x)) / math.sqrt(WIDTH)


class ResidualTabular(nn.Module):
    """Numbers arrive in [-1, 1] and are put in bins, so that a line can bend."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.sizes = tuple(inputs.categories)
        self.features = inputs.numbers + len(self.sizes)
        self.stem = nn.Linear(inputs.numbers * BINS + sum(self.sizes), WIDTH)
        nn.init.normal_(self.stem.weight, std=2.0)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.line = nn.Linear(self.stem.in_features, inputs.outputs)
        self.head = nn.Linear(WIDTH, inputs.outputs, bias=False)
        for parameter in (*self.line.parameters(), *self.head.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, **batch: Tensor) -> Tensor:
        parts = []
        if "numbers" in batch:
            at = ((batch["numbers"] + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
            parts.append(F.one_hot(at, BINS).flatten(1).float())
        for i, size in enumerate(self.sizes):
            parts.append(F.one_hot(batch["categories"][:, i].clamp(0, size - 1), size).float())
        seen = torch.cat(parts, 1) / math.sqrt(self.features)
        logits: Tensor = self.line(seen) + self.head(
            self.blocks(torch.tanh(self.stem(seen)) / math.sqrt(WIDTH))
        )
        return logits


def build(inputs: Inputs) -> nn.Module:
    if inputs.arrays or inputs.texts or not (inputs.numbers or inputs.categories):
        raise ValueError("This model is for tables of numbers and categories.")
    return ResidualTabular(inputs)
