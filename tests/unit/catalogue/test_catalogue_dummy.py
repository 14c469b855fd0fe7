"""Dummy records: from the card alone, marked as such, and holding what breaks code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.catalogue.card import Card
from sandbox.catalogue.dummy import dummy_table, edges, write_dummy
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.inspection import inspect, is_dummy


def test_dummy_records_keep_what_the_card_promises(card: Card) -> None:
    found = inspect(card, dummy_table(card, 300))
    assert found.faults == ()
    assert found.units == 300


def test_dummy_records_hold_every_edge_of_every_column(card: Card) -> None:
    table = dummy_table(card, 50)
    for name, column in card.columns.items():
        assert set(edges(column)) <= set(table.column(name).to_pylist())
    assert "" in table.column("note").to_pylist()
    assert None in table.column("sector").to_pylist()
    assert table.column("hired").null_count == 0


def test_one_row_is_possible(card: Card) -> None:
    assert dummy_table(card, 1).num_rows == 1


def test_the_same_seed_makes_the_same_records(card: Card) -> None:
    assert dummy_table(card, 40, 7).equals(dummy_table(card, 40, 7))
    assert not dummy_table(card, 40, 7).equals(dummy_table(card, 40, 8))


def test_units_repeat_no_more_than_the_card_allows(section: dict[str, Any]) -> None:
    section["max_rows_per_unit"] = 3
    card = Card.from_json({"name": "x", "ndl:dataset": section})
    found = inspect(card, dummy_table(card, 30))
    assert (found.units, found.faults) == (10, ())


def test_a_dummy_file_is_marked_three_times(card: Card, tmp_path: Path) -> None:
    file = write_dummy(card, 20, tmp_path / "new")
    assert file.name == "jobs-dummy-20.parquet"
    assert pq.read_schema(file).metadata[b"ndl:dummy"] == b"true"
    assert pq.read_table(file).column("ndl_dummy").to_pylist() == [True] * 20
    assert is_dummy(pq.read_schema(file))


def test_dummy_records_encode_like_real_ones(card: Card, records: Callable[..., pa.Table]) -> None:
    dummy, real = (Encoding(card, "hired").features(t) for t in (dummy_table(card, 9), records(card, 9, "r")))
    assert {n: a.shape for n, a in dummy.items()} == {n: a.shape for n, a in real.items()}
    assert Encoding(card, "hired").target(dummy_table(card, 9)).shape == (9,)
