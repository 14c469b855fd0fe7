"""A model trained by the service is attacked once, from inside, and what was found is for overseers only."""

import json
from dataclasses import replace
from datetime import date

import pytest

from evaluators import membership
from evaluators.harness import evaluate_due
from evaluators.inside import Inside
from evaluators.publication import publish
from evaluators.tallies import registered_scorer
from sandbox.catalogue.files import write_parquet
from sandbox.lifecycle import WaveState
from sandbox.privacy.ledger import open_wave_budget
from sandbox.records import Event, Finding, Wave
from sandbox.roles import Role
from tests.conftest import NOON, patients


@pytest.fixture
def held_out(clinic):
    """Brings in a wave of other patients."""

    def bring(name, month, seed):
        path = clinic.folder / "data" / "clinic" / "waves" / f"{name}.parquet"
        digest = write_parquet(table := patients(200, seed=seed), path)
        wave = Wave(
            f"clinic/{name}", "clinic", name, date(2026, month, 1), table.num_rows, 200, digest, str(path),
            WaveState.ACCEPTED, {}, NOON, "dana",
        )  # fmt: skip
        with clinic.store.transaction() as tx:
            tx.add(wave, Event("dana", "test", wave.id))
            open_wave_budget(tx, clinic.card, name, "dana")
        return wave

    return bring


def figures(clinic, version, wave):
    with clinic.store.reading() as view:
        rows = view.measurements(version.id)
    return {
        (m.name, m.group): m for e, m in rows if (e.evaluator, e.wave) == ("membership", f"clinic/{wave}")
    }


def test_a_model_is_attacked_on_the_first_wave_judged_by_its_certificate_and_never_again(
    clinic, mlflow_settings, held_out
):
    version = clinic.train(clinic.submit())
    held_out("w1", 1, seed=4)
    assert not any(e.failure for e in evaluate_due(clinic.store, clinic.settings, "operator"))
    found = figures(clinic, version, "w1")
    for attack in ("RMIA", "LiRA", "loss threshold"):
        m = found["membership_auc", f"attack={attack}"]
        assert (m.status, m.n) == ("ok", 80 + 200)  # a third of the 240 patients, and all of those held out
        assert m.low < found["membership_auc_allowed", ""].value
    assert 0.7 < found["membership_auc_allowed", ""].value < 0.735  # epsilon 1
    (finding,) = clinic.store.all(Finding, rule="membership")
    assert finding.wave == "clinic/w1"

    held_out("w2", 2, seed=5)
    evaluate_due(clinic.store, clinic.settings, "operator")
    assert {m.status for m in figures(clinic, version, "w2").values()} == {"reference"}
    assert figures(clinic, version, "w1") == found
    released = publish(clinic.store, clinic.settings, version.id, clinic.person("omar", Role.OVERSEER))
    for word in ("membership", "RMIA", "LiRA", "loss threshold"):
        assert word not in json.dumps(released.content, ensure_ascii=False)


def test_the_same_model_and_wave_give_the_same_tables(clinic, mlflow_settings, held_out):
    version, wave = clinic.train(clinic.submit(task="cost", recipe="linear")), held_out("w1", 1, seed=4)
    scorer = registered_scorer(clinic.settings, version)
    inside = Inside(clinic.store, clinic.settings, version, wave, scorer, "key")
    once = membership.attack(inside).to_bytes()
    assert membership.attack(inside).to_bytes() == once
    assert membership.attack(replace(inside, key="another")).to_bytes() != once
