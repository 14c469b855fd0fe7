"""A small dataset whose records are dummy ones with real-looking units, and a sandbox to put it in."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.api import Sandbox
from sandbox.catalogue.card import Card
from sandbox.catalogue.document import document
from sandbox.catalogue.dummy import dummy_table
from sandbox.catalogue.inspection import DUMMY_COLUMN
from sandbox.roles import Person, Role
from sandbox.settings import Settings

HEAD = {
    "name": "Job seekers", "description": "A survey, for tests.", "url": "https://example.org/",
    "license": "https://example.org/licence", "datePublished": "2024-01-31", "version": "1.0.0",
    "creator": {"@type": "sc:Organization", "name": "An office"}, "citeAs": "None",
}  # fmt: skip
SECTION: dict[str, Any] = {
    "name": "jobs", "population": "adults", "unit": "person", "unit_means": "one adult",
    "custodian": {"name": "An office", "contact": "office@example.org"},
    "licence": "OGL-UK-3.0", "attribution": "Made up.", "site": "town", "purposes": ["employment research"],
    "forbidden": ["outcome"],
    "columns": {
        "person": {"kind": "identifier", "feature": False},
        "age": {"kind": "number", "minimum": 16, "maximum": 120, "missing": True},
        "town": {"kind": "category", "categories": ["Leeds", "York"]},
        "sex": {"kind": "category", "categories": ["f", "m"], "sensitive": True, "feature": False},
        "sector": {"kind": "category", "categories": ["care", "trade"], "open": True, "missing": True},
        "note": {"kind": "text", "length": 8},
        "outcome": {"kind": "category", "categories": ["hired", "not hired"], "feature": False},
        "hired": {"kind": "boolean"},
        "pay": {"kind": "number", "minimum": 0, "maximum": 100},
    },
    "tasks": {
        "hired": {"kind": "binary", "target": "hired", "question": "Will this person be hired?"},
        "where": {"kind": "multiclass", "target": "town", "question": "Where?", "classes": ["York", "Leeds"]},
        "pay": {"kind": "regression", "target": "pay", "question": "At what pay?", "features": ["sector", "age"]},
    },
    "training": {"file": "t.parquet", "wave": "first", "day": "2024-01-31", "held_out_share": 0.3},
    "waves": [{"name": "second", "day": "2024-02-29", "file": "w.parquet"}],
    "budget": {"training": {"epsilon": 8, "delta": 1e-6}, "held_out": {"epsilon": 3, "delta": 1e-6}},
}  # fmt: skip


@pytest.fixture
def section() -> dict[str, Any]:
    return copy.deepcopy(SECTION)


@pytest.fixture
def card(section: dict[str, Any]) -> Card:
    return Card.from_json({**HEAD, "ndl:dataset": section})


@pytest.fixture
def records() -> Callable[..., pa.Table]:
    """`rows` sound records of the units <prefix>0, <prefix>1, ..."""

    def make(card: Card, rows: int, prefix: str, seed: int = 0) -> pa.Table:
        table = dummy_table(card, rows, seed).drop_columns([DUMMY_COLUMN]).replace_schema_metadata(None)
        units = pa.array([f"{prefix}{row}" for row in range(rows)])
        return table.set_column(table.column_names.index(card.unit), card.unit, units)

    return make


@pytest.fixture
def folder(tmp_path: Path, records: Callable[..., pa.Table]) -> Callable[..., Path]:
    """Writes a dataset folder for a section: 200 training records and a wave of 50 others."""

    def make(section: dict[str, Any], where: str = "delivered", training: pa.Table | None = None) -> Path:
        place = tmp_path / where
        place.mkdir()
        card = Card.from_json({**HEAD, "ndl:dataset": section})
        pq.write_table(records(card, 200, "t") if training is None else training, place / "t.parquet")
        pq.write_table(records(card, 50, "w", 1), place / "w.parquet")
        (place / "card.json").write_text(json.dumps(document(HEAD, section, place)))
        return place

    return make


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    settings = Settings.model_validate({"storage": {"folder": tmp_path / "var"}})
    return Sandbox(
        settings, Person("dana", frozenset({Role.CUSTODIAN})), lambda: datetime(2024, 3, 1, tzinfo=UTC)
    )
