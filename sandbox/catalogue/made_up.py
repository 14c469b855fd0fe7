"""What could records look like? Random values in the shapes and ranges of `inputs`, from no data at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from sandbox.catalogue.inputs import Inputs

_BYTES = 257  # a byte plus one; 0 is padding


def records(inputs: Inputs, count: int, generator: Generator) -> dict[str, Tensor]:
    """Encoded records, each tensor [count, ...], as `Encoding.features` gives them."""
    import torch

    made = {}
    if inputs.numbers:
        made["numbers"] = torch.rand(count, inputs.numbers, generator=generator) * 2 - 1
    if inputs.categories:
        codes = [torch.randint(0, size, (count,), generator=generator) for size in inputs.categories]
        made["categories"] = torch.stack(codes, 1)
    for name, shape in inputs.arrays.items():
        made[name] = torch.rand(count, *shape, generator=generator)
    for name, length in inputs.texts.items():
        made[name] = torch.randint(0, _BYTES, (count, length), generator=generator)
    return made


def targets(inputs: Inputs, count: int) -> Tensor:
    """Answers for as many records, all 0; [count], whole numbers but for a regression."""
    import torch

    return torch.zeros(count, dtype=torch.float32 if inputs.kind == "regression" else torch.int64)
