"""A registered model without the cost of training one."""

import pytest
import torch

from sandbox.catalogue.encoding import Encoding
from sandbox.lifecycle import RunState, Standing
from sandbox.records import Event, ModelVersion, TrainingRun
from sandbox.registry import registry
from sandbox.submissions import admission

CERTIFICATE = {
    "epsilon": 0.99, "delta": 1e-6, "adjacency": "add/remove", "unit": "patient", "population": "clinic_people",
    "charge": "c1", "code_version": "0.1.0", "noise_multiplier": 2.0, "sampling_rate": 0.1, "steps": 10,
    "clip": 1.0, "learning_rate": 0.1, "units": 240,
}  # fmt: skip


@pytest.fixture
def register(clinic, mlflow_settings):
    """Registers an untrained module with random weights; returns the module and its stored version."""

    def make(task="fell", name="falls", by="dev", recipe="mlp"):
        submission = clinic.submit(name=name, task=task, by=by, recipe=recipe)
        architecture = admission.admit(submission)
        module = admission.build(architecture, Encoding(clinic.card, task).inputs)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        made = registry.register(
            clinic.settings, run="run-1", submission=submission, dataset=clinic.dataset, card=clinic.card,
            module=module, architecture=architecture, certificate=CERTIFICATE,
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
        return module, version

    return make
