"""Shared by tests of several packages: an empty MLflow store, made once, and a clinic to train on."""

import shutil
from datetime import UTC, date, datetime

import pytest

from sandbox.lifecycle import WaveState
from sandbox.records import Dataset, Event, Wave
from sandbox.roles import Person, Role
from sandbox.settings import Settings, Storage


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    """The file of a fresh MLflow store; making one costs 3 CPU seconds, copying it nearly nothing."""
    from sandbox.registry import mlflow_door

    folder = tmp_path_factory.mktemp("empty_mlflow")
    mlflow_door.client(Settings(storage=Storage(folder=folder)))
    return folder / "mlflow.db"


@pytest.fixture
def mlflow_settings(tmp_path, empty_mlflow):
    """Settings whose folder already holds an empty MLflow store."""
    folder = tmp_path / "var"
    folder.mkdir(exist_ok=True)
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    return Settings(storage=Storage(folder=folder))


@pytest.fixture(scope="session")
def ready_file(tmp_path_factory):
    """A SQLite database with its tables and nothing in them; making one costs 50 ms, copying it nearly nothing."""
    from sandbox.storage import Store

    file = tmp_path_factory.mktemp("ready") / "ndl.db"
    Store(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def ready_url(tmp_path, ready_file):
    """The address of such a database of the test's own."""
    return f"sqlite:///{shutil.copy(ready_file, tmp_path / 'ndl.db')}"


class Clinic:
    """A dataset of made-up patients with up to five visits each, in a store of its own."""

    def __init__(self, settings):
        from sandbox.catalogue.card import Card
        from sandbox.catalogue.files import write_parquet
        from sandbox.privacy.ledger import open_budgets
        from sandbox.storage import Store

        self.settings, self.folder = settings, settings.storage.folder
        self.store = Store(settings.database_url, clock=lambda: NOON)
        self.card = Card.from_json(CLINIC)
        self.table = patients(240)
        path = self.folder / "data" / "clinic" / "training.parquet"
        units = len(set(self.table["patient"].to_pylist()))
        digest = write_parquet(self.table, path)
        self.dataset = Dataset(
            "clinic", "Clinic", "clinic_people", CLINIC, self.card.digest, str(path), self.table.num_rows,
            units, digest, NOON, "dana",
        )  # fmt: skip
        with self.store.transaction() as tx:
            tx.add(self.dataset, Event("dana", "test", "clinic"))
            open_budgets(tx, self.card, "dana")

    @staticmethod
    def person(name, *roles):
        return Person(name, frozenset(roles or Role))

    def write(self, name="falls", recipe="logistic", task="fell", code=None, settings=""):
        """A submission folder."""
        folder = self.folder / "offered" / name
        folder.mkdir(parents=True, exist_ok=True)
        chosen = "" if code else f'recipe = "{recipe}"'
        (folder / "submission.toml").write_text(
            MANIFEST.format(name=name, chosen=chosen, task=task) + settings
        )
        if code:
            (folder / "model.py").write_text(code)
        return folder

    def bring_in(self, name, month, seed=4):
        """A wave of 200 other patients."""
        from sandbox.catalogue.files import write_parquet
        from sandbox.privacy.ledger import open_wave_budget

        path = self.folder / "data" / "clinic" / "waves" / f"{name}.parquet"
        table = patients(200, seed=seed)
        wave = Wave(
            f"clinic/{name}", "clinic", name, date(2026, month, 1), table.num_rows, 200, write_parquet(table, path),
            str(path), WaveState.ACCEPTED, {}, NOON, "dana",
        )  # fmt: skip
        with self.store.transaction() as tx:
            tx.add(wave, Event("dana", "test", wave.id))
            open_wave_budget(tx, self.card, name, "dana")
        return wave

    def submit(self, by="dev", **what):
        from sandbox.submissions.intake import submit

        return submit(self.store, self.settings, self.write(**what), self.person(by))

    def train(self, submission, **more):
        from sandbox.training.service import train

        return train(self.store, self.settings, submission.id, self.person("operator"), **more)


def patients(n, seed=3):
    """Rows of n patients whose chance of a fall rises with age; later patients visit more often."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), 1 + np.arange(n) % 5)
    age = np.clip(rng.normal(60, 15, len(who)), 0, 100)
    fell = rng.random(len(who)) < 1 / (1 + np.exp(-(age - 60) / 6))
    scans = rng.random((len(who), 16))
    return pa.table(
        {
            "patient": [f"p{i}" for i in who],
            "weight": pa.array(rng.uniform(40, 120, len(who)), mask=rng.random(len(who)) < 0.1),
            "age": age,
            "ward": pa.array(rng.choice(["a", "b"], len(who)), mask=rng.random(len(who)) < 0.1),
            "alone": rng.random(len(who)) < 0.5,
            "note": ["quiet" if f else "" for f in fell],
            "scan": list(scans),
            "fell": fell,
            "kind": np.where(scans.mean(1) > 0.5, "dark", "light"),
            "cost": np.clip(age / 10, 0, 10),
        }
    )


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLINIC = {
    "name": "Clinic",
    "ndl:dataset": {
        "name": "clinic", "population": "clinic_people", "unit": "patient", "unit_means": "one patient",
        "recurs": True, "max_rows_per_unit": 3, "custodian": {"name": "Dana", "contact": "d@example.org"},
        "licence": "OGL-UK-3.0", "attribution": "Made up", "synthetic": True, "purposes": ["testing"],
        "columns": {
            "patient": {"kind": "identifier", "feature": False},
            "weight": {"kind": "number", "minimum": 0, "maximum": 200, "missing": True},
            "age": {"kind": "number", "minimum": 0, "maximum": 100},
            "ward": {"kind": "category", "categories": ["a", "b"], "missing": True},
            "alone": {"kind": "boolean"},
            "note": {"kind": "text", "length": 6},
            "scan": {"kind": "image", "shape": [1, 4, 4], "minimum": 0, "maximum": 1},
            "fell": {"kind": "boolean", "feature": False},
            "kind": {"kind": "category", "categories": ["dark", "light"], "feature": False},
            "cost": {"kind": "number", "minimum": 0, "maximum": 10, "feature": False},
        },
        "tasks": {
            "fell": {"kind": "binary", "target": "fell", "question": "Will this patient fall?",
                     "features": ["weight", "age", "ward", "alone"]},
            "kind": {"kind": "multiclass", "target": "kind", "question": "Which kind?", "features": ["scan"]},
            "cost": {"kind": "regression", "target": "cost", "question": "At what cost?"},
        },
        "training": {"file": "t.parquet", "wave": "w1", "day": "2026-01-01", "held_out_share": 0.3},
        "budget": {"training": {"epsilon": 8, "delta": 1e-6}, "held_out": {"epsilon": 3, "delta": 1e-6}},
    },
}  # fmt: skip
MANIFEST = """\
name = "{name}"
dataset = "clinic"
task = "{task}"
purpose = "testing"
{chosen}
[privacy]
epsilon = 1.0
[public]
title = "Falls risk"
summary = "Says who may fall."
used_for = "Nothing yet."
human_decides = "A nurse decides."
organisation = "A hospital"
responsible = "Director of Nursing"
contact = "register@example.org"
question_a_decision = "Ask the ward sister."
"""


@pytest.fixture
def clinic(tmp_path, ready_file):
    """No MLflow store yet: a test that trains asks for `mlflow_settings` too."""
    (tmp_path / "var").mkdir(exist_ok=True)
    shutil.copy(ready_file, tmp_path / "var" / "ndl.db")
    made = Clinic(Settings(storage=Storage(folder=tmp_path / "var")))
    yield made
    made.store.close()


@pytest.fixture(params=["bubblewrap", "landlock", "gvisor"], scope="session")
def backends(request):
    """Each wall that is complete on this machine, in turn; the others are skipped with what they lack."""
    from sandbox.settings import Isolation
    from sandbox.submissions.isolation import choose, complete

    wall = choose.backend(request.param, Isolation())
    lacking = complete.missing(wall)
    if lacking:
        pytest.skip(complete.words(wall.name, lacking))
    return wall


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server; called, it makes an empty database and returns its URL (tests/postgres.py)."""
    from tests.postgres import binaries, server

    if binaries() is None:
        pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
    yield from server()
