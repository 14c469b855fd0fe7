"""What does a model receive for each record, and how many numbers does it answer with?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Inputs:
    """What a model receives for each record, and how many numbers it answers with.

    `numbers`: width of the float32 tensor `numbers`: number, boolean and date columns on [-1, 1]
    (0 where missing) and missing indicators (0 or 1). `categories`: cardinality of each column of the
    int64 tensor `categories`; 0 is missing, 1 unknown, 2 onwards as the card lists them. `arrays`:
    shape of a float32 tensor for each image ([0, 1]) and sequence ([-1, 1]). `texts`: length of an
    int64 tensor for each text; 0 is padding, else a byte plus one. What is 0 or empty is absent.
    """

    kind: str
    outputs: int
    numbers: int = 0
    categories: tuple[int, ...] = ()
    arrays: dict[str, tuple[int, ...]] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> int:
        """How many numbers (missing indicators count), categories, arrays and texts there are."""
        return self.numbers + len(self.categories) + len(self.arrays) + len(self.texts)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, in order."""
        return tuple(self.tensors)

    @property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> dtype and shape of each tensor for one record, without the batch dimension; in order."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        if self.numbers:
            found["numbers"] = ("float32", (self.numbers,))
        if self.categories:
            found["categories"] = ("int64", (len(self.categories),))
        found |= {name: ("float32", tuple(shape)) for name, shape in self.arrays.items()}
        return found | {name: ("int64", (length,)) for name, length in self.texts.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists; `from_json` gives the same Inputs back."""
        shapes = {name: list(shape) for name, shape in self.arrays.items()}
        return {**asdict(self), "categories": list(self.categories), "arrays": shapes}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Inputs:
        """Trusts what it reads: only ever give it what `to_json` of our own process wrote."""
        return cls(
            kind=values["kind"],
            outputs=values["outputs"],
            numbers=values["numbers"],
            categories=tuple(values["categories"]),
            arrays={name: tuple(shape) for name, shape in values["arrays"].items()},
            texts=dict(values["texts"]),
        )
