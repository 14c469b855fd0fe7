"""`ndl submit`, `ndl train` and `ndl model`, as people type them."""

import pytest
from click.testing import CliRunner

from sandbox.api import Sandbox
from sandbox.errors import Refused
from sandbox.records import Submission
from sandbox.registry.cli import model
from sandbox.submissions.cli import submit
from sandbox.training.cli import train


@pytest.fixture
def ndl(clinic, mlflow_settings, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def run(command, *arguments, by="dev"):
        box = Sandbox(clinic.settings, clinic.person(by))
        done = CliRunner().invoke(command, list(arguments), obj=box)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return run


def test_a_model_is_submitted_trained_listed_and_decided(clinic, ndl):
    receipt = ndl(submit, str(clinic.write()))
    (submission,) = clinic.store.all(Submission)
    assert submission.id in receipt
    assert submission.digest in receipt
    assert f"ndl train {submission.id}" in receipt
    certificate = ndl(train, "--all", by="operator")
    for said in (
        "Certificate of falls/1",
        "ε of this training alone, by PLD",
        "the same, by Opacus",
        "add or remove one patient",
    ):
        assert said in certificate
    assert "No submission waits for training." in ndl(train, "--all", by="operator")
    listed = ndl(model, "list")
    assert "candidate" in listed
    assert "ε of this training alone" in listed
    assert "add or remove one patient" in listed
    assert "is now champion" in ndl(
        model, "decide", "falls/1", "champion", "--reason", "Good [enough].", by="omar"
    )
    shown = ndl(model, "show", "falls/1")
    assert "champion, by omar: Good [enough]." in shown
    assert submission.developer in shown
    with pytest.raises(Refused):
        ndl(model, "decide", "falls/1", "retired", "--reason", "Mine.", by="dev")


def test_train_wants_one_submission_or_all_of_them(ndl):
    assert "Name one submission, or give --all." in ndl(train)
    assert "Name one submission, or give --all." in ndl(train, "x", "--all")


def test_an_empty_registry_says_what_to_do(ndl):
    assert "ndl train --all" in ndl(model, "list")
