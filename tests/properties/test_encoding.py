"""Encoding comes from the card alone: round trip, out of bounds, unknown, missing, no neighbours."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding

COLUMNS: dict[str, Any] = {
    "person": {"kind": "identifier", "feature": False},
    "age": {"kind": "number", "minimum": -5, "maximum": 120, "missing": True},
    "rent": {"kind": "number", "minimum": 0, "maximum": 1e6},
    "savings": {"kind": "number", "minimum": -50, "maximum": 1e6, "scale": "log"},
    "town": {"kind": "category", "categories": ["Leeds", "York", "Hull"], "missing": True, "open": True},
    "asked": {"kind": "date", "minimum": "1950-01-01", "maximum": "2050-12-31", "missing": True},
    "owner": {"kind": "boolean", "missing": True},
    "pulse": {"kind": "sequence", "length": 3, "minimum": -1, "maximum": 3, "missing": True},
    "photo": {"kind": "image", "shape": [1, 2, 2], "minimum": 0, "maximum": 255},
    "note": {"kind": "text", "length": 12, "missing": True},
    "hired": {"kind": "boolean"},
}
CARD = Card.from_json(
    {
        "name": "Jobs",
        "ndl:dataset": {
            "name": "jobs", "population": "adults", "unit": "person", "unit_means": "one adult",
            "custodian": {"name": "An office", "contact": "-"}, "licence": "-", "attribution": "-",
            "purposes": ["research"], "columns": COLUMNS,
            "tasks": {"hired": {"kind": "binary", "target": "hired", "question": "Hired?"}},
            "training": {"file": "t.parquet", "wave": "first", "day": "2024-01-31", "held_out_share": 0.3},
            "budget": {"training": {"epsilon": 1, "delta": 1e-6}, "held_out": {"epsilon": 1, "delta": 1e-6}},
        },
    }
)  # fmt: skip
ENCODING = Encoding(CARD, "hired")
TYPES = {
    "age": pa.float64(), "rent": pa.float64(), "savings": pa.float64(), "town": pa.string(),
    "asked": pa.date32(), "owner": pa.bool_(),
    "pulse": pa.list_(pa.float64()), "photo": pa.list_(pa.float64()), "note": pa.string(),
}  # fmt: skip


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=32)


ALLOWED: dict[str, st.SearchStrategy[Any]] = {
    "age": st.none() | numbers(-5, 120),
    "rent": numbers(0, 1e6),
    "savings": numbers(-50, 1e6),
    "town": st.sampled_from(["Leeds", "York", "Hull", None]),
    "asked": st.none() | st.dates(date(1950, 1, 1), date(2050, 12, 31)),
    "owner": st.sampled_from([True, False, None]),
    "pulse": st.none() | st.lists(numbers(-1, 3), min_size=3, max_size=3),
    "photo": st.lists(st.integers(0, 255).map(float), min_size=4, max_size=4),
    "note": st.none() | st.text(st.characters(codec="utf-8"), max_size=3),
}
ANYTHING: dict[str, st.SearchStrategy[Any]] = {
    "age": st.none() | st.floats(),
    "rent": st.floats(),
    "savings": st.floats(),
    "town": st.none() | st.text(max_size=8),
    "asked": st.none() | st.dates(),
    "owner": st.sampled_from([True, False, None]),
    "pulse": st.none() | st.lists(st.floats(), min_size=3, max_size=3),
    "photo": st.lists(st.floats(), min_size=4, max_size=4),
    "note": st.none() | st.text(st.characters(codec="utf-8"), max_size=30),
}


def tables(of: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[pa.Table]:
    records = st.lists(st.fixed_dictionaries(of), min_size=1, max_size=12)
    return records.map(
        lambda rows: pa.table({n: pa.array([row[n] for row in rows], kind) for n, kind in TYPES.items()})
    )


@settings(max_examples=60, deadline=None)
@given(tables(ALLOWED))
def test_what_the_card_allows_comes_back(table: pa.Table) -> None:
    back = ENCODING.decode(ENCODING.features(table))
    assert back.column_names == list(ENCODING.feature_columns)
    for name in ("town", "asked", "owner", "note"):
        assert back.column(name).to_pylist() == table.column(name).to_pylist()
    for name, width in (("age", 125), ("rent", 1e6), ("pulse", 4), ("photo", 255)):
        for was, now in zip(table.column(name).to_pylist(), back.column(name).to_pylist(), strict=True):
            assert (was is None) == (now is None)
            assert was is None or np.allclose(was, now, atol=width * 1e-6)
    saved = table.column("savings").to_pylist()
    assert np.allclose(back.column("savings").to_pylist(), saved, rtol=2e-5, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(tables(ANYTHING))
def test_whatever_comes_in_the_tensors_keep_their_ranges(table: pa.Table) -> None:
    made = ENCODING.features(table)
    n = table.num_rows
    assert {name: (array.shape, str(array.dtype)) for name, array in made.items()} == {
        "numbers": ((n, ENCODING.inputs.numbers), "float32"), "categories": ((n, 1), "int64"),
        "pulse": ((n, 3), "float32"), "photo": ((n, 1, 2, 2), "float32"), "note": ((n, 12), "int64"),
    }  # fmt: skip
    assert np.abs(made["numbers"]).max() <= 1
    assert np.abs(made["pulse"]).max() <= 1
    assert 0 <= made["photo"].min() <= made["photo"].max() <= 1
    assert 0 <= made["note"].min() <= made["note"].max() <= 256
    assert 0 <= made["categories"].min() <= made["categories"].max() < ENCODING.inputs.categories[0]


@settings(max_examples=60, deadline=None)
@given(tables(ANYTHING), st.randoms())
def test_a_record_is_encoded_alike_whoever_its_neighbours_are(table: pa.Table, random: Any) -> None:
    order = list(range(table.num_rows))
    random.shuffle(order)
    together, shuffled = ENCODING.features(table), ENCODING.features(table.take(order))
    for name, array in together.items():
        assert np.array_equal(array[order], shuffled[name])
    alone = ENCODING.features(table.slice(order[0], 1))
    assert all(np.array_equal(array[order[:1]], alone[name]) for name, array in together.items())


@settings(max_examples=40, deadline=None)
@given(tables(ANYTHING))
def test_arrow_and_pandas_records_are_encoded_alike(table: pa.Table) -> None:
    from_arrow = ENCODING.features(table)
    from_pandas = ENCODING.features(table.to_pandas(date_as_object=True))
    assert all(np.array_equal(array, from_pandas[name]) for name, array in from_arrow.items())


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=10), st.floats(120, allow_nan=False, exclude_min=True))
def test_unknown_missing_and_out_of_bounds_are_told_apart(word: str, above: float) -> None:
    row: dict[str, Any] = {
        "age": 50.0, "rent": 1.0, "savings": 2.0, "town": "York", "asked": date(2000, 1, 1),
        "owner": True, "pulse": [0.0, 0.0, 0.0], "photo": [0.0] * 4, "note": "",
    }  # fmt: skip
    rows = [row, {**row, "town": word, "age": above}, {**row, "town": None, "age": None, "note": None}]
    made = ENCODING.features(pa.table({n: pa.array([r[n] for r in rows], t) for n, t in TYPES.items()}))
    listed = {"Leeds": 2, "York": 3, "Hull": 4}
    assert made["categories"][:, 0].tolist() == [3, listed.get(word, 1), 0]
    at = {name: made["numbers"][:, i].tolist() for i, name in enumerate(ENCODING.number_names)}
    assert at["age"][1:] == [1.0, 0.0]
    assert at["age is missing"] == [0.0, 0.0, 1.0]
    assert at["note is missing"] == [0.0, 0.0, 1.0]
