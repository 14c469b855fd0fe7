"""MLflow's pages show each headline once, whoever was killed when and however often it is asked."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from evaluators.harness import evaluate_due
from sandbox.records import Evaluation
from sandbox.registry import mlflow_door, registry
from sandbox.registry.registry import Headline


def headline(name, value, step, day=1):
    return Headline(name, value, step, datetime(2026, 11, day, tzinfo=UTC))


def shown(clinic, version):
    """What MLflow has, with repetitions: measure, step and value."""
    client = mlflow_door.client(clinic.settings)
    experiment = client.get_logged_model(version.logged_model).experiment_id
    runs = client.search_runs([experiment], f"tags.`ndl.model_version` = '{version.id}'")
    return sorted(
        (m.key, m.step, m.value)
        for run in runs
        for key in run.data.metrics
        for m in client.get_metric_history(run.info.run_id, key)
    )


def test_headline_values_are_mirrored_but_never_nan_and_never_too_many(clinic, register, monkeypatch):
    _, version = register()
    monkeypatch.setattr(registry, "HEADLINES", 5)
    first = [headline("auc", 0.8, 0), headline("brier", float("nan"), 0), headline("gap|a=b", 0.1, 0)]
    assert registry.mirror(clinic.settings, version, first) == 2
    assert registry.mirror(clinic.settings, version, [headline(f"m{i}", 0.5, 1) for i in range(10)]) == 3
    assert registry.mirror(clinic.settings, version, [headline("auc", 0.9, 2)]) == 0
    client = mlflow_door.client(clinic.settings)
    metrics = client.get_logged_model(version.logged_model).metrics
    assert {m.key: m.value for m in metrics} == {"auc": 0.8, "gap_a_b": 0.1, "m0": 0.5, "m1": 0.5, "m2": 0.5}


def test_asked_twice_or_after_a_part_the_mirror_has_each_step_once(clinic, register):
    _, version = register()
    history = [headline(name, 0.1 * step, step, 1 + step) for step in range(3) for name in ("auc", "ece")]
    assert registry.mirror(clinic.settings, version, history[:3]) == 3
    assert registry.mirror(clinic.settings, version, history) == 3
    assert registry.mirror(clinic.settings, version, history) == 0
    assert shown(clinic, version) == sorted((h.name, h.step, h.value) for h in history)


def test_two_workers_who_mirror_the_same_at_once_leave_each_step_once(clinic, register, monkeypatch):
    _, version = register()
    history = [headline("auc", 0.7, 0), headline("auc", 0.6, 1, 2)]
    registry.mirror(clinic.settings, version, history[:1])
    client = mlflow_door.client(clinic.settings)
    before = client.search_runs([client.get_logged_model(version.logged_model).experiment_id])
    registry.mirror(clinic.settings, version, history)
    # the other looked before the first one wrote
    stale = next(run for run in before if run.data.tags.get("ndl.kind") == "evaluation")
    monkeypatch.setattr(registry, "_evaluation_run", lambda *_: stale)
    monkeypatch.setattr(type(client), "get_metric_history", lambda *_: [])
    registry.mirror(clinic.settings, version, history)
    monkeypatch.undo()
    assert shown(clinic, version) == [("auc", 0, 0.7), ("auc", 1, 0.6)]


KILLED = """
import os, sys
from pathlib import Path
from evaluators import harness
from sandbox.settings import Settings, Storage
from sandbox.storage import Store

settings = Settings(storage=Storage(folder=Path(sys.argv[1])))
harness.mirror = lambda *_: os._exit(9)
harness.evaluate_due(Store(settings.database_url), settings, "operator")
"""


def test_a_kill_between_our_commit_and_the_mirror_or_just_after_it_leaves_each_step_once(
    clinic, register, monkeypatch
):
    _, version = register()
    clinic.bring_in("w1", 1)
    assert subprocess.run([sys.executable, "-c", KILLED, str(clinic.folder)], timeout=120).returncode == 9
    assert clinic.store.all(Evaluation, model_version=version.id)  # committed before the kill
    assert shown(clinic, version) == []

    class Killed(BaseException):
        pass

    def written_and_killed(*given):
        whole(*given)
        raise Killed

    whole = registry.mirror
    monkeypatch.setattr(registry, "mirror", written_and_killed)
    clinic.bring_in("w2", 2)
    with pytest.raises(Killed):
        evaluate_due(clinic.store, clinic.settings, "operator")
    monkeypatch.undo()
    clinic.bring_in("w3", 3)
    evaluate_due(clinic.store, clinic.settings, "operator")
    found = shown(clinic, version)
    assert len(found) == len({(key, step) for key, step, _ in found})
    assert {step for key, step, _ in found if key == "auc"} == {0, 1, 2}
