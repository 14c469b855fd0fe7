"""An installation with one dataset, one model and one wave, and a content that may be released."""

import copy
import json
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sandbox.catalogue.card import Guarantee
from sandbox.lifecycle import RunState, Standing, SubmissionState, WaveState
from sandbox.privacy import ledger
from sandbox.records import Dataset, Event, ModelVersion, Submission, TrainingRun, Wave
from sandbox.settings import Publication, Settings
from sandbox.storage import Store
from sandbox.tally import Axis, Table, Tally

NOON = datetime(2016, 8, 2, 12, tzinfo=UTC)
CONTENT = json.loads((Path(__file__).parents[2] / "spec" / "release_content.json").read_text())
CERTIFIED = ("epsilon", "delta", "noise_multiplier", "steps", "adjacency")


@pytest.fixture
def content():
    return copy.deepcopy(CONTENT)


@pytest.fixture
def settings():
    return Settings(publication=Publication(epsilon=0.5, delta=1e-6, threshold=10, round_to=5))


@pytest.fixture
def card():
    guarantee = Guarantee(epsilon=3.0, delta=1e-6)
    return SimpleNamespace(
        population="crimes", unit="crime_id", recurs=False, max_rows_per_unit=1, groups=("district",),
        task=lambda name: SimpleNamespace(kind="binary"),
        budget=SimpleNamespace(training=guarantee, held_out=guarantee),
    )  # fmt: skip


@pytest.fixture
def wave():
    return Wave(
        "crime/2016", "crime", "2016", date(2016, 7, 31), 2000, 2000, "ab" * 32, "waves/x",
        WaveState.ACCEPTED, {}, NOON, "dana",
    )  # fmt: skip


@pytest.fixture
def model():
    return ModelVersion(
        "outcome/1",
        "outcome",
        1,
        "crime",
        "solved",
        "run-1",
        "amara",
        Standing.CANDIDATE,
        "m-1",
        "cd" * 32,
        NOON,
    )


@pytest.fixture
def store(ready_url, card, wave, model):
    store = Store(ready_url, clock=lambda: NOON)
    words = {
        "ndl:dataset": {
            **CONTENT["dataset"], "unit": "crime_id", "tasks": {"solved": CONTENT["task"]},
            "columns": {"district": {"title": "District", "categories": ["North", "South", "East", "West"]}},
        }
    }  # fmt: skip
    manifest = {"name": "outcome", "purpose": "research", "public": CONTENT["words"]}
    certificate = {name: CONTENT["privacy"][name] for name in CERTIFIED} | {"epsilon": 0.99817}
    records = [
        Dataset("crime", "Recorded crime", "crimes", words, "0", "x", 1, 1, "0", NOON, "dana"),
        Submission(
            "s-1",
            "outcome",
            "crime",
            "solved",
            "amara",
            manifest,
            {},
            "0",
            "x",
            SubmissionState.TRAINED,
            "",
            NOON,
        ),
        TrainingRun("run-1", "s-1", "c-1", RunState.FINISHED, {}, certificate, NOON, NOON),
        wave,
        model,
    ]
    with store.transaction() as tx:
        for record in records:
            tx.add(record, Event("test", "set up", "x"))
        ledger.open_wave_budget(tx, card, wave.name, "dana")
    yield store
    store.close()


@pytest.fixture
def tally():
    rng = np.random.default_rng(1)
    outcome, group = rng.integers(0, 2, 2000), rng.choice(4, 2000, p=[0.7, 0.29, 0.005, 0.005])
    score = rng.integers(0, 1024, 2000)
    outcomes, fine, coarse = Axis("outcome", ("false", "true")), axis("score", 1024), axis("score", 256)
    groups = Axis("district", ("North", "South", "East", "West"))
    return Tally(
        {
            "scores": Table.count([outcomes, fine], outcome, score),
            "scores:district": Table.count([groups, outcomes, coarse], group, outcome, score // 4),
            "input:age": Table.count([axis("age", 4)], group),
        }
    )


def axis(name, size):
    return Axis(name, tuple(f"{i / size:.6f}" for i in range(size)))
