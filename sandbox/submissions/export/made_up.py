"""What could a record look like? Random values in the shapes and ranges of `inputs`, from no data at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

_BYTES = 257  # a byte plus one; 0 is padding


def record(inputs: Inputs, generator: torch.Generator) -> dict[str, Tensor]:
    """One record as a model receives it: each tensor has a leading 1."""
    made = {}
    if inputs.numbers:
        made["numbers"] = torch.rand(1, inputs.numbers, generator=generator) * 2 - 1
    if inputs.categories:
        codes = [torch.randint(0, size, (1,), generator=generator) for size in inputs.categories]
        made["categories"] = torch.stack(codes, 1)
    for name, shape in inputs.arrays.items():
        made[name] = torch.rand(1, *shape, generator=generator)
    for name, length in inputs.texts.items():
        made[name] = torch.randint(0, _BYTES, (1, length), generator=generator)
    return made
