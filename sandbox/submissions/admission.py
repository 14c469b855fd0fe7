"""Which models may meet records? Those that are a record graph, made where there is no data, and checked.

A recipe is our own code and is exported here. A `model.py` runs behind a wall and only bytes come back.
From there on both go the same way: the checker reads the bytes, they are kept by their digest, and
everything later (training, scoring, MLflow) knows the model as those bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.catalogue import stored
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, NDLError, Refused
from sandbox.lifecycle import SubmissionState
from sandbox.records import AdmittedGraph, Dataset, Event, Json, Submission
from sandbox.settings import Isolation, Settings
from sandbox.storage import Store
from sandbox.submissions import files, recipes
from sandbox.submissions.export import result
from sandbox.submissions.graph import checker
from sandbox.submissions.graph.checker import Checked
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.isolation.backend import Backend, Job, Limits
from sandbox.submissions.isolation.choose import choose
from sandbox.submissions.isolation.escaping import escaped
from sandbox.submissions.manifest import CODE, Manifest
from sandbox.training.agreement import must_agree

SUFFIX = ".ndlgraph"
MAX_NOTE = 2_000
"""Characters kept of why a submission was refused."""


@dataclass(frozen=True)
class Made:
    """A graph that passed its checks: its bytes, what was found in them, and who made them (see AdmittedGraph)."""

    data: bytes
    checked: Checked
    made_by: Json


def admit(
    store: Store, settings: Settings, submission: Submission, by: str = "", behind: Backend | None = None
) -> AdmittedGraph:
    """Makes, checks and keeps the graph of a stored submission, which is then admitted.

    One that is admitted already keeps its graph. Raises Invalid or Refused when the model is at fault:
    then the submission is refused, with a note. Raises Unfit, and changes nothing, when this machine
    lacks a wall. `by` is who asked: the developer, unless said otherwise. `behind` is a wall that was
    chosen already.
    """
    submission, by = store.get(Submission, submission.id), by or submission.developer
    if submission.graph:
        return store.get(AdmittedGraph, submission.graph)
    inputs = inputs_of(store, submission)
    manifest = Manifest.model_validate(submission.manifest)
    contents = _contents(submission)
    try:
        made = make(settings.isolation, manifest, contents, inputs, behind)
    except (Invalid, Refused) as error:
        _refuse(store, submission, error, by)
        raise
    path = settings.storage.folder.absolute() / "graphs" / f"{made.checked.digest}{SUFFIX}"
    _keep(path, made.data)
    return _admitted(store, submission, made, path, by)


def make(
    isolation: Isolation,
    manifest: Manifest,
    contents: Mapping[str, bytes],
    inputs: Inputs,
    behind: Backend | None = None,
) -> Made:
    """The checked graph of a submission's files, whose quick gradients are those of the definition; keeps nothing.

    Raises Invalid, Refused or Unfit.
    """
    from sandbox.submissions.graph.lift import Model

    if manifest.recipe is not None:
        data, made_by = from_recipe(manifest.recipe, manifest.model, inputs)
    else:
        data, made_by = _from_code(behind or wall(isolation), Limits.of(isolation), contents, inputs)
    checked = checker.check(data, inputs, Limits.of(isolation))
    must_agree(Model(RecordGraph.from_bytes(data)), inputs, inputs.kind)
    return Made(data, checked, made_by)


def from_recipe(recipe: str, settings: Json, inputs: Inputs) -> tuple[bytes, Json]:
    """The graph of a recipe for these inputs as bytes, and how it was made; settings left out have their defaults.

    Raises Invalid when the recipe is not for them.
    """
    import torch

    from sandbox.submissions.export.exporter import export

    made_by: Json = {"recipe": recipe, "settings": recipes.complete(recipe, settings)}
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(digest))
        graph = export(recipes.build(recipe, made_by["settings"], inputs), inputs)
    return graph.to_bytes(), made_by


def needs_wall(manifest: Manifest) -> bool:
    """Whether code of the developer's own would have to run."""
    return manifest.recipe is None


def wall(isolation: Isolation) -> Backend:
    """The wall behind which such code would run; raises Unfit, layer by layer, where there is none."""
    return choose(isolation)


def graph_of(store: Store, settings: Settings, submission: Submission) -> RecordGraph:
    """The admitted graph of a submission; raises Refused unless it is there and is the one that was checked."""
    if not submission.graph:
        raise Refused(f"{submission.id} has not been admitted, so there is nothing to train.")
    kept = store.get(AdmittedGraph, submission.graph)
    try:
        data = Path(kept.path).read_bytes()
    except OSError:
        raise Refused(f"The graph of {submission.id} is not at {kept.path}.\n{_RESTORE}") from None
    if hashlib.sha256(data).hexdigest() != kept.id:
        raise Refused(f"{kept.path} is not the graph that was checked for {submission.id}.\n{_RESTORE}")
    return RecordGraph.from_bytes(data)


def inputs_of(store: Store, submission: Submission) -> Inputs:
    """What the model of a submission receives for each record."""
    return Encoding(stored.card_of(store.get(Dataset, submission.dataset)), submission.task).inputs


def seed_of(digest: str) -> int:
    """The seed under which weights are first drawn: the same submission gives the same graph."""
    return int(digest[:12], 16)


_RESTORE = "Restore it from a backup, or submit the model under another name."


def _from_code(
    behind: Backend, limits: Limits, contents: Mapping[str, bytes], inputs: Inputs
) -> tuple[bytes, Json]:
    digest = files.digest(files.digests(contents))
    request = {"inputs": inputs.to_json(), "seed": seed_of(digest), "module": CODE}
    data = result.read(behind.run(Job(contents, request), limits))
    return data, {"backend": behind.name, "layers": [layer.name for layer in behind.layers()]}


def _contents(submission: Submission) -> dict[str, bytes]:
    """The stored files, which must still be those that were received."""
    contents = {name: (Path(submission.path) / name).read_bytes() for name in submission.files}
    if files.digests(contents) != submission.files:
        raise Refused(f"The files in {submission.path} are not those that were received.\n{_RESTORE}")
    return contents


def _keep(path: Path, data: bytes) -> None:
    """Writes the bytes beside `path` and moves them there at once; the same digest is the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _admitted(store: Store, submission: Submission, made: Made, path: Path, by: str) -> AdmittedGraph:
    digest = made.checked.digest
    with store.transaction() as tx:
        if earlier := tx.get(Submission, submission.id).graph:
            return tx.get(AdmittedGraph, earlier)  # somebody else was quicker
        known = tx.all(AdmittedGraph, id=digest)
        if not known:
            summary = made.checked.summary.to_json()
            known = [AdmittedGraph(digest, str(path), summary, made.made_by, store.clock())]
            tx.add(known[0], Event(by, "graph.admit", digest, details={"submission": submission.id}))
        details = {"graph": digest, "made_by": made.made_by}
        event = Event(by, "submission.admitted", submission.id, details=details)
        tx.change(Submission, submission.id, event, graph=digest, state=SubmissionState.ADMITTED, note="")
    return known[0]


def _refuse(store: Store, submission: Submission, error: NDLError, by: str) -> None:
    note = escaped(str(error))[:MAX_NOTE]
    with store.transaction() as tx:
        if tx.get(Submission, submission.id).graph:
            return  # somebody else was quicker, and theirs was admitted
        event = Event(by, "submission.refused", submission.id, note.partition("\n")[0])
        tx.change(Submission, submission.id, event, state=SubmissionState.REFUSED, note=note)
