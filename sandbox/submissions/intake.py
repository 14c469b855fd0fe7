"""How does a submission come in? Bytes are copied, checked and named by their digest; then admitted or refused."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import Invalid, NotFound, Problem, Refused
from sandbox.lifecycle import SubmissionState
from sandbox.records import Dataset, Event, Submission
from sandbox.roles import Person, Role
from sandbox.settings import Settings
from sandbox.storage import Store, Transaction
from sandbox.submissions import admission, files, recipes
from sandbox.submissions.manifest import Manifest, parse_manifest


def submit(store: Store, settings: Settings, folder: Path, person: Person) -> Submission:
    """Takes in a submission, has it admitted, and returns it; the same one again returns what is stored.

    One that was refused is tried again. Raises Invalid with every problem of the manifest, Refused when
    a name is taken or a purpose not permitted, Unfit when its code needs a wall that this machine lacks:
    then nothing is kept. Raises what `admission.admit` does when the model is at fault: then the
    submission is kept, as refused.
    """
    person.must_be(Role.DEVELOPER, to="submit a model")
    contents = files.read(folder)
    manifest = parse_manifest(contents, str(folder))
    _check_against_card(store, manifest, str(folder))
    of_files = files.digests(contents)
    digest = files.digest(of_files)
    submission = Submission(
        id=f"{manifest.name}-{digest[:12]}",
        model=manifest.name,
        dataset=manifest.dataset,
        task=manifest.task,
        developer=person.name,
        manifest=manifest.model_dump(mode="json"),
        files=of_files,
        digest=digest,
        path=str(settings.storage.folder.absolute() / "submissions" / f"{manifest.name}-{digest[:12]}"),
        state=SubmissionState.RECEIVED,
        note="",
        received_at=store.clock(),
    )
    behind = admission.wall(settings.isolation) if admission.needs_wall(manifest) else None
    kept = _received(store, submission, contents)
    if kept.state in (SubmissionState.RECEIVED, SubmissionState.REFUSED):
        admission.admit(store, settings, kept, person.name, behind)
    return store.get(Submission, submission.id)


def _received(store: Store, submission: Submission, contents: Mapping[str, bytes]) -> Submission:
    with store.transaction() as tx:
        _check_name(tx, submission)
        stored = tx.all(Submission, id=submission.id)
        if stored:
            return stored[0]
        _keep(Path(submission.path), contents)
        event = Event(
            submission.developer, "submission.received", submission.id, details={"sha256": submission.digest}
        )
        tx.add(submission, event)
    return submission


def _check_against_card(store: Store, manifest: Manifest, subject: str) -> None:
    try:
        card = Card.from_json(store.get(Dataset, manifest.dataset).card)
    except NotFound as error:
        raise Invalid(subject, [Problem("dataset", _sentence(error), "Name one of those.")]) from None
    if problems := problems_with_card(manifest, card):
        raise Invalid(subject, problems)


def problems_with_card(manifest: Manifest, card: Card) -> list[Problem]:
    """What this card does not allow of what the manifest asks for; also for checks without a store."""
    problems = []
    try:
        card.task(manifest.task)
    except NotFound as error:
        problems.append(Problem("task", _sentence(error), "Name one of those."))
    else:
        if manifest.recipe is not None:
            problems += recipes.problems_with_task(manifest.recipe, Encoding(card, manifest.task).inputs)
    if manifest.purpose not in card.purposes:
        allowed = "; ".join(card.purposes)
        problems.append(
            Problem("purpose", f"not permitted for {card.name}", f"Its custodian permits: {allowed}.")
        )
    if manifest.privacy.epsilon > card.budget.training.epsilon:
        whole = card.budget.training.epsilon
        problems.append(
            Problem(
                "privacy.epsilon", f"more than the whole budget of {card.name}", f"Ask for at most {whole:g}."
            )
        )
    return problems


def _sentence(error: NotFound) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]


def _check_name(tx: Transaction, new: Submission) -> None:
    for earlier in tx.all(Submission, model=new.model):
        if earlier.developer != new.developer:
            raise Refused(
                f"The name {new.model!r} belongs to another developer's model. Choose another name."
            )
        if (earlier.dataset, earlier.task) != (new.dataset, new.task):
            raise Refused(
                f"{new.model!r} already answers {earlier.task} on {earlier.dataset}, and versions of one model "
                "are compared with each other. Choose another name."
            )


def _keep(path: Path, contents: Mapping[str, bytes]) -> None:
    """Writes the files beside `path` and moves them there at once, so that half a submission never shows."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        for name, content in contents.items():
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o440)
        if path.exists():  # left by a crash before its record was stored
            shutil.rmtree(path)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
