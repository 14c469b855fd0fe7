"""Do these records keep what the card promises? Names columns and counts, never a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sandbox.catalogue import vectors
from sandbox.catalogue.card import Card, Column

DUMMY_COLUMN = "ndl_dummy"
DUMMY_MARK = b"ndl:dummy"


@dataclass(frozen=True)
class Fault:
    """A broken promise: which column (empty: the whole file), what, and of how many records."""

    column: str
    what: str
    count: int | None = None

    def __str__(self) -> str:
        counted = "" if self.count is None else f" in {self.count:,} record{'' if self.count == 1 else 's'}"
        return f"{self.column or 'file'}: {self.what}{counted}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Inspection:
    """Faults put a wave aside; notes are allowed and counted."""

    rows: int
    units: int
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def is_dummy(schema: pa.Schema) -> bool:
    """Whether a file is marked as dummy data, by its metadata or by its column."""
    return DUMMY_MARK in (schema.metadata or {}) or DUMMY_COLUMN in schema.names


def inspect(card: Card, table: pa.Table) -> Inspection:
    """Checks schema, types, missing values, bounds, categories and how often a unit appears."""
    faults = list(_schema(card, table))
    notes: list[Fault] = []
    if table.num_rows == 0:
        faults.append(Fault("", "is empty"))
    bad = {fault.column for fault in faults}
    sound = [name for name in card.columns if name not in bad]
    for name in sound:
        for fault, allowed in _column(name, card.columns[name], table.column(name)):
            (notes if allowed else faults).append(fault)
    units = 0
    if card.unit in sound:
        rows_of_unit = np.bincount(vectors.unit_codes(table.column(card.unit)))
        units = len(rows_of_unit)
        beyond = int(np.maximum(rows_of_unit - card.max_rows_per_unit, 0).sum())
        if beyond:
            limit = card.max_rows_per_unit
            what = "a unit again" if limit == 1 else f"a unit again, beyond its {limit} records,"
            faults.append(Fault(card.unit, what, beyond))
    return Inspection(table.num_rows, units, tuple(faults), tuple(notes))


def _schema(card: Card, table: pa.Table) -> Iterator[Fault]:
    names = table.column_names
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(name, "column appears twice")
    for name in card.columns:
        if name not in names:
            yield Fault(name, "column is absent")
        elif names.count(name) == 1:
            kind = card.columns[name].kind
            if not vectors.reads_as(table.schema.field(name).type, kind):
                yield Fault(name, f"column has a type that cannot be read as a {kind}")
    for name in names:
        if name not in card.columns and name != DUMMY_COLUMN:
            yield Fault(name, "column is not in the card")


def _column(name: str, column: Column, values: pa.ChunkedArray) -> Iterator[tuple[Fault, bool]]:
    """Faults of one column, each with whether it is only a note."""
    if absent := _missing(column, values):
        yield Fault(name, "no value", absent), column.missing
    if column.kind in ("number", "date"):
        yield from _outside(name, column, vectors.numeric(values, column.kind))
    elif column.kind == "boolean":
        yield from _not_boolean(name, values)
    elif column.kind == "category":
        unknown = int((vectors.codes(values, column.categories) == 1).sum())
        if unknown:
            yield Fault(name, "a category that the card does not list", unknown), column.open
    elif column.kind == "text":
        longest = pc.binary_length(vectors.plain(values).cast(pa.large_binary()))
        cut = int((pc.fill_null(longest, 0).to_numpy(zero_copy_only=False) > (column.length or 0)).sum())
        if cut:
            yield Fault(name, f"longer than {column.length} bytes, so it is cut,", cut), True
    elif column.kind in ("image", "sequence"):
        yield from _lists(name, column, vectors.plain(values).drop_null())


def _missing(column: Column, values: pa.ChunkedArray) -> int:
    if column.kind in ("number", "date", "boolean"):
        return int(np.isnan(vectors.numeric(values, column.kind)).sum())
    return (
        int(values.null_count)
        if not pa.types.is_dictionary(values.type)
        else vectors.plain(values).null_count
    )


def _outside(name: str, column: Column, raw: vectors.Floats) -> Iterator[tuple[Fault, bool]]:
    low, high = column.bounds
    for side, count in (("below", int((raw < low).sum())), ("above", int((raw > high).sum()))):
        if count:
            yield (
                Fault(name, f"{side} the card's {'minimum' if side == 'below' else 'maximum'}", count),
                False,
            )


def _not_boolean(name: str, values: pa.ChunkedArray) -> Iterator[tuple[Fault, bool]]:
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return
    raw = vectors.numbers(values)
    if odd := int((~np.isnan(raw) & (raw != 0) & (raw != 1)).sum()):
        yield Fault(name, "neither 0 nor 1", odd), False


def _lists(name: str, column: Column, present: pa.Array) -> Iterator[tuple[Fault, bool]]:
    if not len(present):
        return
    if wrong := int((vectors.lengths(present) != column.size).sum()):
        yield Fault(name, f"not {column.size} values", wrong), False
        return
    raw = vectors.numbers(vectors.leaves(present)).reshape(len(present), column.size)
    if holes := int(np.isnan(raw).any(axis=1).sum()):
        yield Fault(name, "some of its values missing", holes), False
    low, high = column.bounds
    if outside := int(((raw < low) | (raw > high)).any(axis=1).sum()):
        yield Fault(name, "values outside the card's bounds", outside), False
