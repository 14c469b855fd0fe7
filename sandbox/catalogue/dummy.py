"""What could a record look like? Dummy records from the card alone; no record is read to make them.

They are for trying out code outside, so they hold what breaks code: both bounds, every category,
missing values, empty and full-length text. They are marked dummy in file name, column and metadata.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.catalogue.card import EPOCH, Card, Column
from sandbox.catalogue.inspection import DUMMY_COLUMN, DUMMY_MARK

MISSING_SHARE = 0.1
_LETTERS = "abcdefghij klmnopqrstuvwxyz"
_TYPES = {
    "number": pa.float64(),
    "category": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "image": pa.list_(pa.float32()),
    "text": pa.string(),
    "sequence": pa.list_(pa.float64()),
    "identifier": pa.string(),
}


def dummy_table(card: Card, rows: int, seed: int = 0) -> pa.Table:
    """`rows` dummy records; the first ones hold the edge values of every column, side by side."""
    if rows < 1:
        raise ValueError("at least one row")
    random = np.random.default_rng(seed)
    columns = {
        name: pa.array(_values(card, name, rows, random), _TYPES[column.kind])
        for name, column in card.columns.items()
    }
    marks = {DUMMY_MARK: b"true", b"ndl:dataset": card.name.encode(), b"ndl:seed": str(seed).encode()}
    table = pa.table({**columns, DUMMY_COLUMN: pa.array([True] * rows)})
    return table.replace_schema_metadata(marks)


def write_dummy(card: Card, rows: int, folder: Path, seed: int = 0) -> Path:
    """Writes dummy records to `<folder>/<dataset>-dummy-<rows>.parquet`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{card.name}-dummy-{rows}.parquet"
    pq.write_table(dummy_table(card, rows, seed), file, compression="zstd")
    return file


def edges(column: Column) -> list[Any]:
    """The values at the edges of what the card allows, a missing one last where it may be."""
    found: list[Any] = []
    if column.kind in ("number", "date"):
        found = [column.minimum, column.maximum]
    elif column.kind == "category":
        found = list(column.categories)
    elif column.kind == "boolean":
        found = [False, True]
    elif column.kind == "text":
        found = ["", "x" * (column.length or 0)]
    elif column.kind in ("image", "sequence"):
        found = [[bound] * column.size for bound in column.bounds]
    return [*found, None] if column.missing else found


def _values(card: Card, name: str, rows: int, random: np.random.Generator) -> list[Any]:
    column = card.columns[name]
    if name == card.unit:
        return [f"dummy-{row // card.max_rows_per_unit:08d}" for row in range(rows)]
    if column.kind == "identifier":
        return [f"dummy-{row:08d}" for row in range(rows)]
    values = _anywhere(column, rows, random)
    if column.missing:
        absent = random.random(rows) < MISSING_SHARE
        values = [None if gone else value for gone, value in zip(absent, values, strict=True)]
    first = edges(column)[:rows]
    values[: len(first)] = first
    return values


def _anywhere(column: Column, rows: int, random: np.random.Generator) -> list[Any]:
    """Values spread evenly over what the card allows."""
    if column.kind == "boolean":
        return [bool(value) for value in random.integers(0, 2, rows)]
    if column.kind == "category":
        places = random.integers(0, len(column.categories), rows)
        return [column.categories[place] for place in places]
    if column.kind == "text":
        sizes = random.integers(0, (column.length or 0) + 1, rows)
        return ["".join(random.choice(list(_LETTERS), size)) for size in sizes]
    low, high = column.bounds
    if column.kind == "date":
        return [_day(day) for day in random.integers(int(low), int(high) + 1, rows)]
    if column.kind == "number":
        return [float(value) for value in random.uniform(low, high, rows)]
    return [list(line) for line in random.uniform(low, high, (rows, column.size))]


def _day(days: int) -> date:
    return EPOCH + timedelta(days=int(days))
