"""A tally: tables of counts for one model version and wave, from which every metric is computed.

Tallies add, and addition is associative and commutative, so batches, workers and custodians merge
by `+`. Every record lands in exactly one cell of each table: the sensitivity of a table to one
record is 1, which is what a differentially private release relies on. Weights are whole numbers of a
step that the card fixes, so that they add without rounding; a weighted table is never released.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

EXACT = 2.0**53
"""Below this, whole numbers add exactly as doubles too."""


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
    def count(
        cls, axes: Sequence[Axis], *positions: NDArray[np.integer[Any]], weights: Counts | None = None
    ) -> Table:
        """Counts records; `positions` holds one integer array (one entry a record) for each axis.

        With `weights`, whole numbers of at least 0, each record counts that much. Raises ValueError when a
        position lies outside its axis, so that no record can be counted twice or lost in silence.
        """
        shape, flat = tuple(len(axis) for axis in axes), None
        for axis, position in zip(axes, positions, strict=True):
            place = np.ascontiguousarray(position, np.int64)
            # below 0 is a very large number without its sign: one look finds both
            if place.size and int(place.view(np.uint64).max()) >= len(axis):
                raise ValueError(f"a record lies outside the axis {axis.name!r}")
            flat = place if flat is None else flat * len(axis) + place
        if flat is None:
            raise ValueError("a table has at least one axis")
        size = math.prod(shape)
        if weights is None:
            return cls(
                tuple(axes), np.bincount(flat, minlength=size).reshape(shape).astype(np.int64, copy=False)
            )
        if weights.dtype.kind != "i" or (weights.size and weights.min() < 0):
            raise ValueError("weights are whole numbers of at least 0")
        if float(weights.sum(dtype=np.float64)) >= EXACT:
            raise ValueError("weights of one batch pass what adds exactly; count it in smaller batches")
        sums = np.bincount(flat, weights=weights, minlength=size)  # in doubles, exact below EXACT
        return cls(tuple(axes), sums.reshape(shape).astype(np.int64))

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def axis(self, name: str) -> int:
        """The position of the axis called `name`; raises KeyError."""
        for position, axis in enumerate(self.axes):
            if axis.name == name:
                return position
        raise KeyError(name)

    def margin(self, *kept: int) -> Table:
        """The table over these axes alone, by their positions: counts are added over the others."""
        others = tuple(at for at in range(len(self.axes)) if at not in kept)
        return Table(tuple(self.axes[at] for at in kept), self.counts.sum(axis=others))

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
        total = self.counts + other.counts
        if ((self.counts ^ total) & (other.counts ^ total)).min(initial=0) < 0:
            raise ValueError("the sum of these tables passes what 64 bits hold")
        return Table(self.axes, total)


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
