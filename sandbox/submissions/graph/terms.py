"""What is a record graph made of? Inputs, weights and nodes, and what a node's arguments can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DTYPES = {"float32": "F32", "int64": "I64", "bool": "BOOL"}
"""Our name of each kind of number, and the one that safetensors uses."""


@dataclass(frozen=True)
class Ref:
    """The value of an input or of an earlier node."""

    name: str


@dataclass(frozen=True)
class WeightRef:
    """A weight, by name."""

    name: str


@dataclass(frozen=True)
class Dtype:
    """A kind of number, given to an operator: one of `DTYPES`."""

    name: str


Argument = None | bool | int | float | str | Ref | WeightRef | Dtype | tuple["Argument", ...]


@dataclass(frozen=True)
class Spec:
    """An input of one record; the shape starts with 1, the batch of one."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """A parameter, buffer or constant. Only float32 ones can be trainable."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    trainable: bool


@dataclass(frozen=True)
class Node:
    """One operator applied once. `module`, `kind` and `line` are the developer's words: display only."""

    name: str
    op: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument] = field(default_factory=dict)
    module: str = ""
    kind: str = ""
    line: str = ""

    def references(self) -> Iterator[Ref | WeightRef]:
        """Every value and weight that the node reads, in order, repeated where it repeats."""
        for argument in (*self.args, *self.kwargs.values()):
            for item in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(item, Ref | WeightRef):
                    yield item
