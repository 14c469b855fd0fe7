"""A submission is checked against the card, kept byte for byte, and named by its digest."""

from pathlib import Path

import pytest

from sandbox.errors import Invalid, Refused
from sandbox.lifecycle import SubmissionState
from sandbox.records import Submission
from sandbox.roles import Role
from sandbox.submissions import admission
from sandbox.submissions.intake import submit

EXAMPLE = (Path(admission.__file__).parent / "examples" / "residual_tabular.py").read_text()


def test_a_submission_is_kept_as_it_was_handed_over(clinic):
    received = clinic.submit()
    assert received == clinic.store.get(Submission, received.id)
    assert received.state is SubmissionState.RECEIVED
    kept = Path(received.path) / "submission.toml"
    assert kept.read_bytes() == (clinic.write() / "submission.toml").read_bytes()


def test_the_same_submission_again_is_the_same_one(clinic):
    assert clinic.submit() == clinic.submit()
    assert len(clinic.store.all(Submission)) == 1


def test_submitting_is_audited(clinic):
    received = clinic.submit()
    line = clinic.store.audit_lines()[-1]
    assert (line.by, line.action, line.subject) == ("dev", "submission.received", received.id)


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


def test_code_of_the_developers_own_is_refused_and_nothing_is_kept(clinic):
    with pytest.raises(Refused, match="cannot isolate it yet, so it will not run"):
        clinic.submit(code=EXAMPLE + "\n# just a comment\n")
    assert clinic.store.all(Submission) == []
    assert not (clinic.folder / "submissions").exists()


def test_a_bundled_example_is_admitted_by_its_digest(clinic):
    admitted = admission.admit(clinic.submit(code=EXAMPLE))
    assert admitted["example"] == "residual_tabular"
    assert admitted["sha256"] == admission.examples()["residual_tabular"]


def test_an_admitted_recipe_has_every_setting_written_out(clinic):
    admitted = admission.admit(clinic.submit(recipe="mlp", settings="[model]\nhidden = [8]\n"))
    assert admitted == {"recipe": "mlp", "settings": {"bins": 8, "hidden": [8]}}


def test_an_example_that_has_changed_since_is_not_built():
    with pytest.raises(Refused, match="not the one this model was made with"):
        admission.build({"example": "residual_tabular", "sha256": "0" * 64}, None)


def test_the_demo_submissions_are_admissible():
    folders = sorted(Path("configs/submissions").iterdir())
    assert len(folders) >= 4
    from sandbox.submissions import files
    from sandbox.submissions.manifest import load_manifest

    for folder in folders:
        manifest = load_manifest(folder)
        of_files = files.digests(files.read(folder))
        assert manifest.recipe or of_files["model.py"] in admission.examples().values(), folder
