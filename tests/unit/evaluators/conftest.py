"""A small world to evaluate in: a card, waves of records with a planted relation, a store, models."""

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.lifecycle import Standing, WaveState
from sandbox.records import Dataset, Event, ModelVersion, Wave
from sandbox.registry import registry
from sandbox.settings import Settings
from sandbox.storage import Store

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOWNS = ("Leeds", "York", "Hull")


def card_document(**changes):
    section = {
        "name": "falls", "population": "falls_people", "unit": "person", "unit_means": "one person",
        "custodian": {"name": "Dana", "contact": "dana@example.org"}, "licence": "OGL-UK-3.0",
        "attribution": "Made up", "synthetic": True, "site": "town", "purposes": ["testing"],
        "columns": {
            "person": {"kind": "identifier", "feature": False},
            "age": {"kind": "number", "minimum": 0, "maximum": 100, "missing": True},
            "ward": {"kind": "category", "categories": ["a", "b", "c"], "open": True, "missing": True},
            "town": {"kind": "category", "categories": list(TOWNS)},
            "alone": {"kind": "boolean"},
            "seen": {"kind": "date", "minimum": "2010-01-01", "maximum": "2030-01-01"},
            "fell": {"kind": "boolean", "feature": False},
            "kind": {"kind": "category", "categories": ["x", "y", "z"], "feature": False},
            "cost": {"kind": "number", "minimum": 0, "maximum": 10, "feature": False},
        },
        "tasks": {
            "fell": {"kind": "binary", "target": "fell", "question": "Will this person fall?"},
            "kind": {"kind": "multiclass", "target": "kind", "question": "Which kind of fall?"},
            "cost": {"kind": "regression", "target": "cost", "question": "What will it cost?"},
        },
        "training": {"file": "t.parquet", "wave": "w1", "day": "2026-01-01", "held_out_share": 0.3},
        "budget": {"training": {"epsilon": 8, "delta": 1e-6}, "held_out": {"epsilon": 3, "delta": 1e-6}},
    }  # fmt: skip
    return {"name": "Falls", "ndl:dataset": {**section, **changes}}


@pytest.fixture(scope="session")
def card():
    return Card.from_json(card_document())


def records(n, seed=1, shift=0.0, lift=0.0):
    """n people whose chance of a fall rises with age; `shift` ages them, `lift` adds to the log odds."""
    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(60 + shift, 12, n), 0, 100)
    chance = 1 / (1 + np.exp(-((age - 65) / 8 + lift)))
    fell = rng.random(n) < chance
    return pa.table(
        {
            "person": [f"{seed}-{i}" for i in range(n)],
            "age": pa.array(age, mask=rng.random(n) < 0.03),
            "ward": pa.array(rng.choice(["a", "b", "c", "new"], n), mask=rng.random(n) < 0.02),
            "town": rng.choice(TOWNS, n, p=[0.5, 0.3, 0.2]),
            "alone": rng.random(n) < 0.4,
            "seen": pa.array(rng.integers(15000, 21000, n).astype("datetime64[D]")),
            "fell": fell,
            "kind": rng.choice(["x", "y", "z"], n),
            "cost": np.clip(rng.normal(5, 2, n), 0, 10),
        }
    )


class AgeScorer:
    """Knows the planted relation; counts how often it was asked."""

    def __init__(self, encoding):
        self.encoding, self.calls = encoding, 0

    def probabilities(self, features):
        self.calls += 1
        age = (features["numbers"][:, self.encoding.number_names.index("age")] + 1) * 50
        p = 1 / (1 + np.exp(-(age - 65) / 8))
        if self.encoding.task.kind == "binary":
            return p.astype(np.float32)
        if self.encoding.task.kind == "regression":
            return p * 2 - 1
        return np.stack([p, (1 - p) * 0.6, (1 - p) * 0.4], axis=1)


@pytest.fixture
def scorer(card):
    return AgeScorer(Encoding(card, "fell"))


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch):
    """The mirror is somebody else's test; here it would cost a second of MLflow's start for each."""
    monkeypatch.setattr(registry, "mirror", lambda *_: 0)


@pytest.fixture
def store(ready_url):
    store = Store(ready_url, clock=lambda: NOON)
    yield store
    store.close()


@pytest.fixture
def settings(tmp_path):
    return Settings.model_validate({"storage": {"folder": tmp_path}})


class World:
    """A store with the dataset `falls`, and verbs to bring in waves and models."""

    def __init__(self, store, folder):
        self.store, self.folder, self.event = store, folder, Event("dana", "test", "falls")
        document = card_document()
        card = Card.from_json(document)
        dataset = Dataset("falls", "Falls", "falls_people", document, card.digest, "", 0, 0, "", NOON, "dana")
        with store.transaction() as tx:
            tx.add(dataset, self.event)

    def wave(self, name, table, day=None, state=WaveState.ACCEPTED):
        file = Path(self.folder) / f"{name}.parquet"
        pq.write_table(table, file, row_group_size=500)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        wave = Wave(
            f"falls/{name}", "falls", name, day or date(2026, int(name[1:]), 1), table.num_rows,
            table.num_rows, digest, str(file), state, {}, NOON, "dana",
        )  # fmt: skip
        with self.store.transaction() as tx:
            tx.add(wave, self.event)
        return wave

    def model(self, name="age", standing=Standing.CANDIDATE, task="fell", digest="d1"):
        version = ModelVersion(
            f"{name}/1", name, 1, "falls", task, f"run-{name}", "amara", standing, "m-1", digest, NOON
        )
        with self.store.transaction() as tx:
            tx.add(version, self.event)
        return version


@pytest.fixture
def world(store, tmp_path):
    return World(store, tmp_path)


@pytest.fixture
def people():
    """Makes records; see `records`."""
    return records
