"""A small convolutional network for one image per record. GroupNorm looks at one record; BatchNorm would not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs


class GroupNormCnn(nn.Module):
    def __init__(self, image: str, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        channels, high, wide = shape
        self.image = image
        self.look = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.GroupNorm(4, 16),
            nn.Tanh(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.GroupNorm(4, 16),
            nn.Tanh(),
            nn.AvgPool2d(2),
        )
        self.head = nn.Linear(16 * (high // 2) * (wide // 2), outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, **batch: Tensor) -> Tensor:
        seen = self.look(batch[self.image] * 2 - 1)
        logits: Tensor = self.head(torch.flatten(seen, 1))
        return logits


def build(inputs: Inputs) -> nn.Module:
    images = {name: shape for name, shape in inputs.arrays.items() if len(shape) == 3}
    if len(images) != 1 or len(inputs.names) != 1:
        raise ValueError("This model is for records that are one image and nothing else.")
    ((name, shape),) = images.items()
    return GroupNormCnn(name, shape, inputs.outputs)
