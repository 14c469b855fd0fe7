"""How does a record become tensors? From the card alone, never from statistics of the records.

Everything a model could learn about the data from its encoding is public: bounds and categories are
the card's. Values out of bounds are clipped; a missing value has an indicator of its own; a category
the card does not list is `unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.catalogue import vectors
from sandbox.catalogue.card import Card, Column
from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, Problem

if TYPE_CHECKING:
    import pandas

Arrays = dict[str, NDArray[Any]]
MISSING, UNKNOWN, FIRST_LISTED = 0, 1, 2


class Encoding:
    """The encoding of one task's records."""

    def __init__(self, card: Card, task: str) -> None:
        self.card = card
        self.task = card.task(task)
        self.feature_columns = card.features(task)
        self.classes = card.classes(task)
        self._columns = {name: card.columns[name] for name in self.feature_columns}
        self.number_names = tuple(self._number_names())
        self.category_names = tuple(n for n, c in self._columns.items() if c.kind == "category")
        self.inputs = Inputs(
            kind=self.task.kind,
            outputs=len(self.classes) if self.task.kind == "multiclass" else 1,
            numbers=len(self.number_names),
            categories=tuple(len(self._columns[n].categories) + FIRST_LISTED for n in self.category_names),
            arrays={n: _shape(c) for n, c in self._columns.items() if c.kind in ("image", "sequence")},
            texts={n: c.length or 0 for n, c in self._columns.items() if c.kind == "text"},
        )

    def features(self, table: pa.Table | pandas.DataFrame) -> Arrays:
        """The tensors of these records, batch first. Columns that are no feature are ignored.

        Raises Invalid when a feature column is absent or cannot be read as its kind.
        """
        table = self._table(table, self.feature_columns)
        return {name: made for name, made in self._tensors(table).items() if name in self.inputs.names}

    def target(self, table: pa.Table | pandas.DataFrame) -> NDArray[Any]:
        """int64 class of each record (binary 0 or 1), or float32 on [-1, 1] for regression.

        Raises Invalid when a record has no target or one that is not among the classes.
        """
        name = self.task.target
        column = self.card.columns[name]
        values = self._table(table, (name,)).column(name)
        if self.task.kind == "regression":
            numbers = vectors.numbers(values)
            self._complete(np.isnan(numbers))
            return vectors.scaled(numbers, *column.bounds).astype(np.float32)
        if column.kind == "boolean":
            truths = vectors.truths(values)
            self._complete(np.isnan(truths))
            return truths.astype(np.int64)
        codes = vectors.codes(values, self.classes)
        self._complete(codes < FIRST_LISTED)
        return codes - FIRST_LISTED

    def target_values(self, scaled: NDArray[Any]) -> NDArray[np.float64]:
        """Regression targets or predictions on the card's own scale."""
        return vectors.unscaled(scaled, *self.card.columns[self.task.target].bounds)

    def units(self, table: pa.Table | pandas.DataFrame) -> NDArray[np.int64]:
        """One code a row: the same code, the same unit. Codes mean nothing in another table."""
        return vectors.unit_codes(self._table(table, (self.card.unit,)).column(self.card.unit))

    def decode(self, features: Arrays) -> pa.Table:
        """The feature columns of encoded records: the inverse of `features` up to clipping.

        An unknown category comes back as the word unknown, which encodes as unknown again.
        """
        numbers = dict(zip(self.number_names, features.get("numbers", np.empty((0, 0))).T, strict=True))
        rows = len(next(iter(features.values())))
        columns = {
            name: self._decoded(name, column, features, numbers, rows)
            for name, column in self._columns.items()
        }
        return pa.table(columns)

    def _number_names(self) -> list[str]:
        names = []
        for name, column in self._columns.items():
            if column.kind in ("number", "boolean", "date"):
                names.append(name)
            if column.missing and column.kind != "category":
                names.append(f"{name} is missing")
        return names

    def _tensors(self, table: pa.Table) -> Arrays:
        rows, made = table.num_rows, Arrays()
        numbers = np.empty((rows, self.inputs.numbers), np.float32)
        categories = np.empty((rows, len(self.category_names)), np.int64)
        at = 0
        for name, column in self._columns.items():
            values = table.column(name)
            if column.kind == "category":
                categories[:, self.category_names.index(name)] = vectors.codes(values, column.categories)
                continue
            if column.kind in ("number", "boolean", "date"):
                raw = vectors.numeric(values, column.kind)
                absent = np.isnan(raw)
                low, high = (0.0, 1.0) if column.kind == "boolean" else column.bounds
                numbers[:, at] = np.where(absent, 0.0, vectors.scaled(raw, low, high, column.scale))
                at += 1
            elif column.kind == "text":
                made[name], absent = vectors.text_bytes(values, column.length or 0)
            else:
                made[name], absent = self._array(values, column)
            if column.missing:
                numbers[:, at] = absent
                at += 1
        return {"numbers": numbers, "categories": categories, **made}

    def _array(self, values: pa.ChunkedArray, column: Column) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        raw, absent = vectors.rectangles(values, column.size)
        scaled = vectors.scaled(raw, *column.bounds)
        if column.kind == "image":
            scaled = (scaled + 1) / 2
        scaled[np.isnan(scaled)] = 0.0  # a missing record, or a hole that intake would have put aside
        return scaled.astype(np.float32).reshape(len(raw), *_shape(column)), absent

    def _decoded(
        self, name: str, column: Column, features: Arrays, numbers: Arrays, rows: int
    ) -> pa.Array | pa.ChunkedArray:
        absent = numbers.get(f"{name} is missing", np.zeros(rows)) > 0.5
        if column.kind == "category":
            codes = features["categories"][:, self.category_names.index(name)]
            words = np.array([None, "unknown", *column.categories], dtype=object)
            return pa.array(words[codes], pa.string())
        if column.kind == "boolean":
            return pa.array(numbers[name] > 0, mask=absent)
        if column.kind in ("number", "date"):
            values = vectors.unscaled(numbers[name], *column.bounds, column.scale)
            if column.kind == "number":
                return pa.array(values, mask=absent)
            return pa.array(np.rint(values).astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
        flat = features[name].reshape(rows, -1)
        if column.kind == "text":
            texts = [bytes((line[line > 0] - 1).astype(np.uint8)).decode(errors="ignore") for line in flat]
            return pa.array(texts, pa.string(), mask=absent)
        values = vectors.unscaled(flat * 2 - 1 if column.kind == "image" else flat, *column.bounds)
        return pa.array(list(values), pa.list_(pa.float64()), mask=absent)

    def _table(self, table: Any, names: tuple[str, ...]) -> pa.Table:
        if not isinstance(table, pa.Table):
            absent = [name for name in names if name not in table.columns]
            table = table if absent else pa.Table.from_pandas(table[list(names)], preserve_index=False)
        else:
            absent = [name for name in names if name not in table.column_names]
        if absent:
            todo = f"The card of {self.card.name} says which columns a record has."
            raise Invalid("This table", [Problem(name, "column is absent", todo) for name in absent])
        problems = []
        for name in names:
            wanted = self.card.columns[name]
            if not vectors.reads_as(table.column(name).type, wanted.kind):
                what = f"its type cannot be read as a {wanted.kind}"
                problems.append(Problem(name, what, "Give it the type that the card's kind needs."))
        if problems:
            raise Invalid("This table", problems)
        return table

    def _complete(self, absent: NDArray[np.bool_]) -> None:
        if absent.any():
            what = f"{int(absent.sum())} records have none of the values that the card allows"
            raise Invalid("This table", [Problem(self.task.target, what, "Leave such records out.")])


def _shape(column: Column) -> tuple[int, ...]:
    return column.shape if column.kind == "image" else (column.length or 0,)
