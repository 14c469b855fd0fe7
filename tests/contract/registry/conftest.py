"""A registered model without the cost of training one."""

import pytest
import torch

from sandbox.catalogue.encoding import Encoding
from sandbox.lifecycle import RunState, Standing
from sandbox.records import Event, ModelVersion, TrainingRun
from sandbox.registry import registry
from sandbox.submissions import admission, recipes
from sandbox.submissions.graph.lift import Model

CERTIFICATE = {
    "epsilon": 0.99, "delta": 1e-6, "adjacency": "add/remove", "unit": "patient", "population": "clinic_people",
    "charge": "c1", "graph_sha256": "ab" * 32, "code_version": "0.1.0", "noise_multiplier": 2.0,
    "sampling_rate": 0.1, "steps": 10, "clip": 1.0, "learning_rate": 0.1, "units": 240,
}  # fmt: skip


@pytest.fixture
def register(clinic, mlflow_settings):
    """Registers a graph with random weights; returns the same as a module, and its stored version."""

    def make(task="fell", name="falls", by="dev", recipe="mlp"):
        submission = clinic.submit(name=name, task=task, by=by, recipe=recipe)
        model = Model(admission.graph_of(clinic.store, clinic.settings, submission))
        weights = {name: torch.randn(weight.shape) for name, weight in model.weights.items()}
        made = registry.register(
            clinic.settings, run="run-1", submission=submission, dataset=clinic.dataset, card=clinic.card,
            graph=model.graph_with(weights), certificate=CERTIFICATE,
        )  # fmt: skip
        now = clinic.store.clock()
        version = ModelVersion(
            f"{name}/{made.version}", name, made.version, "clinic", task, f"run-{name}-{made.version}", by,
            Standing.CANDIDATE, made.logged_model, made.digest, now,
        )  # fmt: skip
        run = TrainingRun(version.run, submission.id, "c1", RunState.FINISHED, {}, CERTIFICATE, now, now)
        with clinic.store.transaction() as tx:
            tx.add(run, Event("operator", "test", run.id))
            tx.add(version, Event("operator", "test", version.id))
        architecture = submission.manifest["recipe"], recipes.complete(recipe, submission.manifest["model"])
        module = recipes.build(*architecture, Encoding(clinic.card, task).inputs)
        module.load_state_dict(weights)
        return module, version

    return make
