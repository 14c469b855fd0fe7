"""A submission becomes a checked record graph, kept by its digest; or it is refused, in words, and may try again."""

import hashlib
import stat
from pathlib import Path

import pytest

from sandbox.errors import Invalid, Problem, Refused, Unfit
from sandbox.lifecycle import SubmissionState
from sandbox.records import AdmittedGraph, Charge, Submission
from sandbox.submissions import admission
from sandbox.submissions.export import exporter
from sandbox.submissions.isolation.backend import End, Layer, Outcome
from sandbox.training import engines

MODEL = "def build(inputs): ...\n"


class Wall:
    """A wall behind which nothing runs: it hands out bytes that were made beforehand."""

    name = "pretended"

    def __init__(self, artifact=b"", end=End.FINISHED):
        self.outcome = Outcome(end, artifact, "last words\x1b", False, f"It {end}.", 1.0, 1.0)
        self.jobs = []

    def layers(self):
        return [Layer("stone", True, "held")]

    def run(self, job, limits):
        self.jobs.append((job, limits))
        return self.outcome


@pytest.fixture
def stand(monkeypatch):
    """Puts up a pretended wall and returns it."""

    def put_up(*how, **named):
        wall = Wall(*how, **named)
        monkeypatch.setattr(admission, "wall", lambda _: wall)
        return wall

    return put_up


@pytest.fixture
def graph_bytes(clinic):
    """What an honest model.py for the task gives: here, the graph of a recipe."""
    return Path(clinic.store.get(AdmittedGraph, clinic.submit(name="other").graph).path).read_bytes()


def test_a_recipe_is_admitted_as_a_graph_kept_read_only_by_its_digest(clinic):
    submission = clinic.submit(recipe="mlp", settings="[model]\nhidden = [8]\n")
    kept = clinic.store.get(AdmittedGraph, submission.graph)
    path = clinic.folder / "graphs" / f"{kept.id}.ndlgraph"
    assert Path(kept.path) == path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == kept.id
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert kept.made_by == {"recipe": "mlp", "settings": {"bins": 8, "hidden": [8]}}
    assert kept.summary["inputs_used"] == ["numbers", "categories"]
    graph = admission.graph_of(clinic.store, clinic.settings, submission)
    assert graph.digest == kept.id
    assert list((clinic.folder / "graphs").iterdir()) == [path]  # no draft is left


def test_the_same_recipe_gives_the_same_graph_and_one_record_of_it(clinic):
    one, other = clinic.submit(), clinic.submit(name="other")
    assert one.graph == other.graph
    assert len(clinic.store.all(AdmittedGraph)) == 1


def test_code_goes_behind_the_wall_and_its_bytes_are_checked(clinic, stand, graph_bytes):
    wall = stand(graph_bytes)
    submission = clinic.submit(code=MODEL)
    ((job, limits),) = wall.jobs
    assert job.files["model.py"] == MODEL.encode()
    assert set(job.request) == {"inputs", "seed", "module"}
    assert limits.memory_mb == clinic.settings.isolation.memory_mb
    assert submission.state is SubmissionState.ADMITTED
    admitted = [line for line in clinic.store.audit_lines() if line.action == "submission.admitted"][-1]
    assert admitted.details["made_by"] == {"backend": "pretended", "layers": ["stone"]}


def test_a_model_whose_quick_gradients_are_not_those_by_definition_is_refused_and_may_be_offered_again(
    clinic, monkeypatch
):
    right = engines.Tapped.sums
    with monkeypatch.context() as broken:
        broken.setattr(engines.Tapped, "sums", lambda *a: {k: 1.01 * v for k, v in right(*a).items()})
        with pytest.raises(
            Refused, match=r"quick gradients of this model are 1\.0e-02 from those by definition"
        ):
            clinic.submit()
    (refused,) = clinic.store.all(Submission)
    assert refused.state is SubmissionState.REFUSED
    assert "quick gradients" in refused.note
    assert clinic.store.all(AdmittedGraph) == []
    assert clinic.submit().state is SubmissionState.ADMITTED


@pytest.mark.parametrize(
    ("artifact", "end", "kind", "words"),
    [
        (b"not a graph", End.FINISHED, Invalid, "record graph"),
        (b"", End.MEMORY, Refused, "used all of its memory"),
        (b"", End.FAILED, Refused, "last words"),
    ],
)
def test_code_that_gives_no_graph_is_refused_in_words_and_may_be_offered_again(
    clinic, stand, graph_bytes, artifact, end, kind, words
):
    stand(artifact, end)
    with pytest.raises(kind, match=words):
        clinic.submit(code=MODEL)
    (refused,) = clinic.store.all(Submission, model="falls")
    assert (refused.state, refused.graph) == (SubmissionState.REFUSED, "")
    assert words in refused.note
    assert refused.note.replace("\n", "").isprintable()
    assert clinic.store.audit_lines()[-1].action == "submission.refused"
    assert clinic.store.all(Charge) == []
    stand(graph_bytes)
    again = clinic.submit(code=MODEL)
    assert (again.id, again.state, again.note) == (refused.id, SubmissionState.ADMITTED, "")


def test_without_a_wall_code_is_not_even_kept(clinic, monkeypatch):
    def lacking(_):
        raise Unfit("The wall lacks stones.")

    monkeypatch.setattr(admission, "wall", lacking)
    with pytest.raises(Unfit):
        clinic.submit(code=MODEL)
    assert clinic.store.all(Submission) == []
    assert not (clinic.folder / "submissions").exists()
    assert clinic.submit(name="other").state is SubmissionState.ADMITTED  # a recipe needs none


def test_a_long_refusal_is_kept_short_and_with_nothing_in_it_that_acts(clinic, monkeypatch):
    problems = [Problem("forward\u202e\x1b[2J", "x" * 300)] * 20
    monkeypatch.setattr(exporter, "export", lambda *_: (_ for _ in ()).throw(Invalid("The model", problems)))
    with pytest.raises(Invalid):
        clinic.submit()
    (refused,) = clinic.store.all(Submission)
    assert len(refused.note) == admission.MAX_NOTE
    assert refused.note.replace("\n", "").isascii()
    assert refused.note.replace("\n", "").isprintable()


def test_stored_files_that_were_changed_are_not_run(clinic, stand, monkeypatch):
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(admission, "wall", lambda _: Wall())
        cut.setattr(admission, "make", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        clinic.submit(code=MODEL)
    (received,) = clinic.store.all(Submission)
    file = Path(received.path) / "model.py"
    file.chmod(0o640)
    file.write_text("import os\n")
    wall = stand()
    with pytest.raises(Refused, match="not those that were received"):
        admission.admit(clinic.store, clinic.settings, received)
    assert wall.jobs == []
    assert clinic.store.get(Submission, received.id).state is SubmissionState.RECEIVED


def test_a_graph_that_is_gone_or_never_was_is_refused(clinic):
    submission = clinic.submit()
    Path(clinic.store.get(AdmittedGraph, submission.graph).path).unlink()
    with pytest.raises(Refused, match="Restore it from a backup"):
        admission.graph_of(clinic.store, clinic.settings, submission)
    with pytest.raises(Refused, match="has not been admitted"):
        from dataclasses import replace

        admission.graph_of(clinic.store, clinic.settings, replace(submission, graph=""))


def test_a_submission_that_is_admitted_already_keeps_its_graph(clinic, monkeypatch):
    submission = clinic.submit()
    before = clinic.store.change_number()
    monkeypatch.setattr(admission, "make", lambda *_: pytest.fail("it was made again"))
    kept = admission.admit(clinic.store, clinic.settings, submission)
    assert (kept.id, clinic.store.change_number()) == (submission.graph, before)
