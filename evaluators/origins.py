"""Where does a model version come from, and beside whom does it stand? Its training's certificate and cost, its graph;
the version before it, and the champion."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.lifecycle import Standing
from sandbox.records import AdmittedGraph, Json, ModelVersion, Submission, TrainingRun
from sandbox.storage import Store, Transaction

TRAINED = "training.finish"
"""The event of the audit log that ends a training; its details say what it cost."""


@dataclass(frozen=True)
class Origin:
    """Empty where nothing is recorded: of a model that was not trained here. `seconds` is the CPU the training took."""

    certificate: Json = field(default_factory=dict)
    graph: Json = field(default_factory=dict)
    seconds: float | None = None


def origin_of(store: Store, version: ModelVersion) -> Origin:
    """What the store knows of how this version came about."""
    with store.reading() as view:
        for run in view.all(TrainingRun, id=version.run):
            ended = view.details(TRAINED, run.id)
            seconds = ended.get("cpu_seconds")
            return Origin(run.certificate, _graph(view, run), seconds)
    return Origin()


def versions_beside(store: Store, version: ModelVersion) -> dict[str, ModelVersion]:
    """Other versions of the same model, dataset and task, where there are any: `before` is the last earlier one, which
    never is another later on; `champion` the one in use today."""
    with store.reading() as view:
        same = view.all(ModelVersion, model=version.model, dataset=version.dataset, task=version.task)
    earlier = [v for v in same if v.version < version.version]
    champions = [v for v in same if v.standing is Standing.CHAMPION and v.id != version.id]
    last = {
        "before": max(earlier, key=lambda v: v.version, default=None),
        "champion": next(iter(champions), None),
    }
    return {name: other for name, other in last.items() if other is not None}


def _graph(view: Transaction, run: TrainingRun) -> Json:
    for submission in view.all(Submission, id=run.submission):
        for graph in view.all(AdmittedGraph, id=submission.graph):
            return graph.summary
    return {}
