"""Tensors worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding, Inputs
from sandbox.errors import Invalid

ROWS: dict[str, Any] = {
    "person": ["a", "b", "a"],
    "age": [16.0, 120.0, None],
    "town": ["Leeds", "York", "York"],
    "sector": ["trade", "fishing", None],
    "note": ["", "hi", "é"],
    "hired": [True, False, True],
    "pay": [0.0, 25.0, 1000.0],
    "ndl_dummy": [True, True, True],
}


def test_each_kind_of_column_becomes_the_numbers_one_expects(card: Card) -> None:
    encoding = Encoding(card, "hired")
    assert encoding.inputs == Inputs("binary", 1, numbers=2, categories=(4,), arrays={}, texts={"note": 8})
    assert encoding.inputs.names == ("numbers", "categories", "note")
    made = encoding.features(pa.table(ROWS))
    assert made["numbers"].tolist() == [[-1, 0], [1, 0], [0, 1]]
    assert made["categories"].tolist() == [[3], [1], [0]]
    assert made["note"][:, :3].tolist() == [
        [0, 0, 0],
        [ord("h") + 1, ord("i") + 1, 0],
        [0xC3 + 1, 0xA9 + 1, 0],
    ]


def test_targets_follow_the_task(card: Card) -> None:
    table = pa.table(ROWS)
    assert Encoding(card, "hired").target(table).tolist() == [1, 0, 1]
    assert Encoding(card, "where").target(table).tolist() == [1, 0, 0]  # the task lists York first
    pay = Encoding(card, "pay")
    assert pay.target(table).tolist() == [-1, -0.5, 1]
    assert pay.target_values(np.array([-1, -0.5, 1])).tolist() == [0, 25, 100]
    assert pay.target(table).dtype == np.float32
    assert Encoding(card, "where").inputs.outputs == 2


def test_rows_of_one_unit_share_a_code(card: Card) -> None:
    codes = Encoding(card, "hired").units(pa.table(ROWS))
    assert codes[0] == codes[2] != codes[1]
    assert codes.dtype == np.int64


def test_a_number_that_stands_for_a_category_is_read_as_its_name(section: dict[str, Any]) -> None:
    section["columns"]["sector"]["categories"] = ["1", "2"]
    encoding = Encoding(Card.from_json({"name": "x", "ndl:dataset": section}), "hired")
    table = pa.table({**ROWS, "sector": [2, 1, None]})
    assert encoding.features(table)["categories"].tolist() == [[3], [2], [0]]
    assert encoding.features(table.to_pandas())["categories"].tolist() == [[3], [2], [0]]
    halves = pa.table({**ROWS, "sector": [2.0, 1.5, float("nan")]})
    assert encoding.features(halves)["categories"].tolist() == [[3], [1], [0]]


def test_a_slice_and_a_chunked_table_are_read_in_place(card: Card) -> None:
    encoding, table = Encoding(card, "hired"), pa.table(ROWS)
    whole = encoding.features(table)
    pieces = encoding.features(pa.concat_tables([table.slice(1, 2), table.slice(0, 1)]))
    assert all(np.array_equal(array[[1, 2, 0]], pieces[name]) for name, array in whole.items())


def test_no_records_make_empty_tensors(card: Card) -> None:
    made = Encoding(card, "hired").features(pa.table(ROWS).slice(0, 0))
    assert {name: array.shape for name, array in made.items()} == {
        "numbers": (0, 2), "categories": (0, 1), "note": (0, 8),
    }  # fmt: skip


def test_every_absent_column_is_named(card: Card) -> None:
    with pytest.raises(Invalid) as refusal:
        Encoding(card, "hired").features(pa.table({"age": [1.0]}))
    assert [problem.where for problem in refusal.value.problems] == ["sector", "note"]
    with pytest.raises(Invalid, match="sector: its type cannot be read as a category"):
        Encoding(card, "hired").features(pa.table({**ROWS, "sector": [[1], [2], [3]]}))


@pytest.mark.parametrize(("task", "column", "values"), [
    ("hired", "hired", [True, None, None]), ("where", "town", ["Hull", "", "York"]), ("pay", "pay", [None, None, 1.0]),
])  # fmt: skip
def test_records_without_a_target_are_counted_and_refused(
    card: Card, task: str, column: str, values: list[Any]
) -> None:
    with pytest.raises(Invalid, match=f"{column}: 2 records have none of the values"):
        Encoding(card, task).target(pa.table({**ROWS, column: values}))
