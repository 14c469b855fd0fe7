"""A tally: tables of counts for one model version and wave, from which every metric is computed.

Tallies add, and addition is associative and commutative, so batches, workers and custodians merge
by `+`. Every record lands in exactly one cell of each table: the sensitivity of a table to one
record is 1, which is what a differentially private release relies on.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """A named axis with one label per position."""

    name: str
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Table:
    """Counts over named axes; `counts.shape` is the axes' sizes in order."""

    axes: tuple[Axis, ...]
    counts: Counts

    def __post_init__(self) -> None:
        if self.counts.shape != tuple(len(axis) for axis in self.axes):
            raise ValueError("a table's counts have the shape of its axes")

    @classmethod
    def count(cls, axes: Sequence[Axis], *positions: NDArray[np.integer[Any]]) -> Table:
        """Counts records; `positions` holds one integer array (one entry a record) for each axis.

        Raises ValueError when a position lies outside its axis, so that no record can be counted
        twice or lost in silence.
        """
        for axis, position in zip(axes, positions, strict=True):
            if position.size and (position.min() < 0 or position.max() >= len(axis)):
                raise ValueError(f"a record lies outside the axis {axis.name!r}")
        shape = tuple(len(axis) for axis in axes)
        flat = np.ravel_multi_index(tuple(np.asarray(p, np.int64) for p in positions), shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)
        return cls(tuple(axes), counts)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def axis(self, name: str) -> int:
        """The position of the axis called `name`; raises KeyError."""
        for position, axis in enumerate(self.axes):
            if axis.name == name:
                return position
        raise KeyError(name)

    def merged(self, name: str, groups: Sequence[Sequence[int]], labels: Sequence[str]) -> Table:
        """The same table with positions of one axis added together, e.g. 1,024 score bins into 16."""
        at = self.axis(name)
        parts = [self.counts.take(list(g), axis=at).sum(axis=at) for g in groups]
        axes = list(self.axes)
        axes[at] = Axis(name, tuple(labels))
        return Table(tuple(axes), np.stack(parts, axis=at))

    def __add__(self, other: Table) -> Table:
        if self.axes != other.axes:
            raise ValueError("only tables with the same axes add")
        return Table(self.axes, self.counts + other.counts)


@dataclass(frozen=True)
class Tally:
    """Named tables counted over the same records."""

    tables: Mapping[str, Table]

    def __add__(self, other: Tally) -> Tally:
        if self.tables.keys() != other.tables.keys():
            raise ValueError("only tallies with the same tables add")
        return Tally({name: table + other.tables[name] for name, table in self.tables.items()})

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    def to_bytes(self) -> bytes:
        """A compressed, pickle-free encoding; the same tally gives the same numbers back."""
        axes = {n: [[a.name, list(a.labels)] for a in t.axes] for n, t in self.tables.items()}
        buffer = io.BytesIO()
        arrays = {f"t{i}": table.counts for i, table in enumerate(self.tables.values())}
        head = np.frombuffer(json.dumps(axes).encode(), np.uint8)
        np.savez_compressed(buffer, allow_pickle=False, axes=head, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Tally:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            axes = json.loads(arrays["axes"].tobytes())
            return cls(
                {
                    name: Table(tuple(Axis(a, tuple(labels)) for a, labels in spec), arrays[f"t{i}"])
                    for i, (name, spec) in enumerate(axes.items())
                }
            )
