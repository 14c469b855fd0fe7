"""Which models exist? Registers, names and loads them, in MLflow; evaluations live in our own tables."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NotFound
from sandbox.records import Dataset, Json, ModelVersion, Submission
from sandbox.registry import artifact, mlflow_door
from sandbox.registry.artifact import Scorer
from sandbox.registry.pyfunc import LOADER
from sandbox.settings import Settings
from sandbox.submissions.graph.document import RecordGraph

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

CANDIDATE = "candidate"
HEADLINES = 200
"""Values mirrored for one model version: MLflow loads every one it has whenever it lists models."""

_DATA = "data"


@dataclass(frozen=True)
class Registered:
    """What MLflow calls it, and the sha256 of its trained graph."""

    version: int
    logged_model: str
    digest: str


def register(
    settings: Settings,
    *,
    run: str,
    submission: Submission,
    dataset: Dataset,
    card: Card,
    graph: RecordGraph,
    certificate: Json,
) -> Registered:
    """Registers a trained graph as the next version of its model, with the alias `candidate`."""
    client = mlflow_door.client(settings)
    experiment = _experiment(client, settings, card)
    tags = _tags(submission, run, certificate)
    tracked = client.create_run(experiment, run_name=run, tags={**tags, "ndl.kind": "training"})
    run_id = tracked.info.run_id
    try:
        _log_inputs(client, run_id, dataset, certificate)
        logged = client.create_logged_model(
            experiment, name=submission.model, source_run_id=run_id, tags=tags, model_type="ndl"
        )
        with tempfile.TemporaryDirectory() as folder:
            digest = artifact.write(Path(folder) / _DATA, graph, card, submission.task, certificate)
            _write_mlmodel(Path(folder), logged.model_id, run_id, Encoding(card, submission.task), tags)
            client.log_model_artifacts(logged.model_id, folder)
        client.finalize_logged_model(logged.model_id, "READY")
        _log_output(client, run_id, logged.model_id)
        version = _new_version(client, submission.model, logged, run_id, tags)
        client.set_terminated(run_id)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    return Registered(version, logged.model_id, digest)


def find(settings: Settings, model: str, run: str) -> tuple[Registered, Json] | None:
    """What a training run registered, with its certificate; None when it registered nothing whole."""
    client = mlflow_door.client(settings)
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.tags.get("ndl.run") == run:
            (made,) = client.get_run(version.run_id).outputs.model_outputs
            with _files(client, made.model_id) as folder:
                digest, certificate = (
                    artifact.read(folder / _DATA).digest,
                    artifact.certificate(folder / _DATA),
                )
            client.set_registered_model_alias(model, CANDIDATE, version.version)
            return Registered(int(version.version), made.model_id, digest), certificate
    return None


def set_alias(settings: Settings, model: str, alias: str, version: int | None) -> None:
    """Gives `alias` to this version of the model; None takes it from whichever has it."""
    client = mlflow_door.client(settings)
    if version is None:
        client.delete_registered_model_alias(model, alias)
    else:
        client.set_registered_model_alias(model, alias, str(version))


def load_scorer(settings: Settings, model_version: ModelVersion) -> Scorer:
    """The model of this version; raises Refused unless it is the one that was registered."""
    with _files(mlflow_door.client(settings), model_version.logged_model) as folder:
        if not (folder / _DATA / artifact.MODEL).is_file():
            raise NotFound("file", str(folder / _DATA / artifact.MODEL))
        return artifact.read(folder / _DATA, model_version.digest)


@dataclass(frozen=True)
class Headline:
    """One value to show in MLflow: of which measure, on which wave (`step`), and when it was measured."""

    name: str
    value: float
    step: int
    at: datetime


def mirror(settings: Settings, model_version: ModelVersion, wanted: Iterable[Headline]) -> int:
    """Makes MLflow's own pages show each of these values once; returns how many were not there yet.

    Our tables stay the truth: this is best effort, holds at most `HEADLINES` values a model version, and leaves
    out what is not finite (MLflow reads NaN back as 0). A measure that is there at a step stays as it is. Asking
    again after an interruption adds what is missing: what was written already has the same time and so is not doubled.
    """
    client = mlflow_door.client(settings)
    from mlflow.entities import Metric

    run = _evaluation_run(client, settings, model_version)
    there = {
        (metric.key, metric.step)
        for key in run.data.metrics
        for metric in client.get_metric_history(run.info.run_id, key)
    }
    missing = {
        (name, one.step): Metric(
            name, one.value, int(one.at.timestamp() * 1000), one.step, model_id=model_version.logged_model
        )
        for one in wanted
        if math.isfinite(one.value) and ((name := _metric_name(one.name)), one.step) not in there
    }
    taken = list(missing.values())[: max(0, HEADLINES - len(there))]
    if taken:
        client.log_batch(run.info.run_id, metrics=taken)
    return len(taken)


@contextmanager
def _files(client: MlflowClient, logged_model: str) -> Iterator[Path]:
    """The folder with a logged model's files, fetched for as long as it is wanted where they lie elsewhere."""
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    location = client.get_logged_model(logged_model).artifact_location
    parsed = urlparse(location)
    if parsed.scheme in ("", "file"):
        yield Path(url2pathname(parsed.path))
        return
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as folder:
        yield Path(download_artifacts(artifact_uri=location, dst_path=folder))


def _experiment(client: MlflowClient, settings: Settings, card: Card) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(card.name)
    if found is None:
        try:
            where = f"{mlflow_door.artifacts(settings)}/{card.name}"
            return str(client.create_experiment(card.name, artifact_location=where))
        except MlflowException:  # somebody else was quicker
            found = client.get_experiment_by_name(card.name)
            if found is None:
                raise
    return str(found.experiment_id)


def _tags(submission: Submission, run: str, certificate: Json) -> dict[str, str]:
    named = (
        "epsilon", "delta", "adjacency", "unit", "population", "charge", "graph_sha256", "code_version",
    )  # fmt: skip
    return {
        "ndl.submission": submission.id,
        "ndl.developer": submission.developer,
        "ndl.task": submission.task,
        "ndl.run": run,
        **{f"ndl.{name}": str(certificate[name]) for name in named},
    }


def _log_inputs(client: MlflowClient, run_id: str, dataset: Dataset, certificate: Json) -> None:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag, Param

    source = CodeDatasetSource({"ndl": f"{dataset.name}, training side"})
    data = MetaDataset(source, name=dataset.name, digest=dataset.training_digest[:36])
    client.log_inputs(
        run_id, [DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])]
    )
    named = ("noise_multiplier", "sampling_rate", "steps", "clip", "learning_rate", "units")
    client.log_batch(run_id, params=[Param(name, str(certificate[name])) for name in named])


def _write_mlmodel(
    folder: Path, model_id: str, run_id: str, encoding: Encoding, tags: dict[str, str]
) -> None:
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model

    from sandbox.registry.signature import signature_of

    described = Model(model_id=model_id, run_id=run_id, signature=signature_of(encoding), metadata=tags)
    add_to_model(described, loader_module=LOADER, data=_DATA)
    described.save(str(folder / "MLmodel"))


def _log_output(client: MlflowClient, run_id: str, model_id: str) -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def _new_version(
    client: MlflowClient, model: str, logged: LoggedModel, run_id: str, tags: dict[str, str]
) -> int:
    """The source is the logged model's location: `models:/<id>` would be looked up in MLflow's global store."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    where, model_id = logged.artifact_location, logged.model_id
    made = client.create_model_version(
        model, where, run_id=run_id, tags=tags, await_creation_for=0, model_id=model_id
    )
    link = json.dumps([{"name": model, "version": made.version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
    client.set_registered_model_alias(model, CANDIDATE, made.version)
    return int(made.version)


def _evaluation_run(client: MlflowClient, settings: Settings, model_version: ModelVersion) -> Run:
    experiment = client.get_logged_model(model_version.logged_model).experiment_id
    wanted = f"tags.`ndl.kind` = 'evaluation' and tags.`ndl.model_version` = '{model_version.id}'"
    found = client.search_runs([experiment], wanted, max_results=1)
    if found:
        run: Run = found[0]
        return run
    tags: dict[str, Any] = {"ndl.kind": "evaluation", "ndl.model_version": model_version.id}
    made: Run = client.create_run(experiment, run_name=f"{model_version.id} evaluated", tags=tags)
    client.set_terminated(made.info.run_id)
    return made


def _metric_name(name: str) -> str:
    allowed = set("_-./ ")
    return "".join(c if c.isalnum() or c in allowed else "_" for c in name)[:250]
