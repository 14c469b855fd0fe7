"""A submission is checked against the card, kept byte for byte, and named by its digest."""

from pathlib import Path

import pytest

from sandbox.errors import Invalid, Refused
from sandbox.lifecycle import SubmissionState
from sandbox.records import Submission
from sandbox.roles import Role
from sandbox.submissions.intake import submit


def test_a_submission_is_kept_as_it_was_handed_over(clinic):
    received = clinic.submit()
    assert received == clinic.store.get(Submission, received.id)
    assert received.state is SubmissionState.ADMITTED
    kept = Path(received.path) / "submission.toml"
    assert kept.read_bytes() == (clinic.write() / "submission.toml").read_bytes()


def test_the_same_submission_again_is_the_same_one(clinic):
    assert clinic.submit() == clinic.submit()
    assert len(clinic.store.all(Submission)) == 1


def test_submitting_is_audited(clinic):
    received = clinic.submit()
    lines = [(line.by, line.action, line.subject) for line in clinic.store.audit_lines()[-3:]]
    assert lines == [
        ("dev", "submission.received", received.id),
        ("dev", "graph.admit", received.graph),
        ("dev", "submission.admitted", received.id),
    ]


def test_only_a_developer_may_submit(clinic):
    with pytest.raises(Refused, match="Only a developer may submit a model"):
        submit(clinic.store, clinic.settings, clinic.write(), clinic.person("omar", Role.OVERSEER))


def test_a_name_belongs_to_its_first_developer(clinic):
    clinic.submit()
    with pytest.raises(Refused, match="belongs to another developer's model"):
        clinic.submit(by="mallory", recipe="mlp")


def test_versions_of_one_model_answer_one_question(clinic):
    clinic.submit()
    with pytest.raises(Refused, match="already answers fell on clinic"):
        clinic.submit(task="kind")


def test_a_recipe_that_is_not_for_the_task_is_refused_at_intake(clinic):
    with pytest.raises(
        Invalid, match="recipe: logistic answers binary and multiclass tasks, and this one is regr"
    ):
        clinic.submit(task="cost")


@pytest.mark.parametrize(
    ("found", "put", "message"),
    [
        ('"clinic"', '"hospital"', r"dataset: there is no dataset called 'hospital'. Known: clinic"),
        ('"fell"', '"rose"', r"task: there is no task of clinic called 'rose'. Known: cost, fell, kind"),
        ('"testing"', '"marketing"', r"purpose: not permitted for clinic. Its custodian permits: testing."),
        (
            "epsilon = 1.0",
            "epsilon = 9.0",
            r"privacy.epsilon: more than the whole budget of clinic. .* at most 8",
        ),
    ],
)
def test_what_the_card_does_not_allow_is_refused(clinic, found, put, message):
    folder = clinic.write()
    file = folder / "submission.toml"
    file.write_text(file.read_text().replace(found, put))
    with pytest.raises(Invalid, match=message):
        submit(clinic.store, clinic.settings, folder, clinic.person("dev"))
    assert clinic.store.all(Submission) == []
