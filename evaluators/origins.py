"""Where does a model version come from? Its training's certificate and cost, its graph, the version before it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.records import AdmittedGraph, Json, ModelVersion, Submission, TrainingRun
from sandbox.storage import Store, Transaction

TRAINED = "training.finish"
"""The event of the audit log that ends a training; its details say what it cost."""


@dataclass(frozen=True)
class Origin:
    """Empty where nothing is recorded: of a model that was not trained here.

    `seconds` is the CPU the training took; `before` the version before of the same model, dataset and task.
    """

    certificate: Json = field(default_factory=dict)
    graph: Json = field(default_factory=dict)
    seconds: float | None = None
    before: ModelVersion | None = None


def origin_of(store: Store, version: ModelVersion) -> Origin:
    """What the store knows of how this version came about."""
    with store.reading() as view:
        before = _before(view, version)
        for run in view.all(TrainingRun, id=version.run):
            ended = view.details(TRAINED, run.id)
            seconds = ended.get("cpu_seconds")
            return Origin(run.certificate, _graph(view, run), seconds, before)
    return Origin(before=before)


def version_before(store: Store, version: ModelVersion) -> ModelVersion | None:
    """The last earlier version of the same model, dataset and task; never another one later on."""
    with store.reading() as view:
        return _before(view, version)


def _before(view: Transaction, version: ModelVersion) -> ModelVersion | None:
    same = view.all(ModelVersion, model=version.model, dataset=version.dataset, task=version.task)
    earlier = [v for v in same if v.version < version.version]
    return max(earlier, key=lambda v: v.version, default=None)


def _graph(view: Transaction, run: TrainingRun) -> Json:
    for submission in view.all(Submission, id=run.submission):
        for graph in view.all(AdmittedGraph, id=submission.graph):
            return graph.summary
    return {}
