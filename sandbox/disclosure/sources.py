"""Did somebody write these words for the public? Texts of a release come from a card or a manifest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sandbox.errors import Problem
from sandbox.lifecycle import WaveState
from sandbox.records import Dataset, Json, ModelVersion, Submission, TrainingRun, Wave

if TYPE_CHECKING:
    from sandbox.storage import Transaction

HOUSE_WORDS = frozenset(
    {"unknown", "missing", "Unknown", "Missing", "Not recorded", "true", "false", "Yes", "No"}
)
"""Labels of groups that no card lists."""


def problems(view: Transaction, model: ModelVersion, content: Json) -> list[Problem]:
    """Every text, identity or wave in the content that the records of this installation do not bear out.

    Raises NotFound when the model's run, submission or dataset is not known.
    """
    run = view.get(TrainingRun, model.run)
    dataset = view.get(Dataset, model.dataset)
    written = set(_texts(dataset.card)) | set(_texts(view.get(Submission, run.submission).manifest))
    waves = {w.name: w for w in view.all(Wave, dataset=dataset.name) if w.state is WaveState.ACCEPTED}
    return [
        *_identity(model, content),
        *_certified(run.certificate, content),
        *_wording(content, _with_titles(written)),
        *_known_waves(content, waves),
    ]


def _identity(model: ModelVersion, content: Json) -> Iterator[Problem]:
    said = (content["model"], content["version"], content["standing"], content["task"]["name"])
    if said != (model.model, model.version, str(model.standing), model.task):
        yield Problem("content", "is not about this model version as it stands now")
    if content["dataset"]["name"] != model.dataset:
        yield Problem("dataset.name", "is not the dataset of this model")


def _certified(certificate: Json, content: Json) -> Iterator[Problem]:
    """What is released about privacy is what the run's certificate says, rounded at most."""
    said = content["privacy"]
    for name in ("epsilon", "delta", "noise_multiplier", "steps", "adjacency"):
        known = certificate.get(name)
        rounded = round(known, 3) if isinstance(known, float) else known
        if known is None or said[name] not in (known, rounded):
            yield Problem(f"privacy.{name}", "is not what the training run's certificate says")
    if said.get("audit") != audited(certificate):
        yield Problem("privacy.audit", "is not what the training run's certificate says")


def audited(certificate: Json) -> Json | None:
    """The lower bound as it may leave, rounded down: it claims no more than was proved."""
    bound = certificate.get("epsilon_audited")
    if bound is None:
        return None
    return {
        "lower_bound": math.floor(bound * 1000) / 1000,
        "confidence": certificate["audit_confidence"],
        "canaries": certificate["audit_canaries"],
    }


def _wording(content: Json, written: set[str]) -> Iterator[Problem]:
    todo = "Use the words of the dataset's card or of the submission's manifest."
    for where, text in _quoted(content):
        if text not in written:
            yield Problem(where, "says what neither the card nor the manifest says", todo)


def _quoted(content: Json) -> Iterator[tuple[str, str]]:
    for section, skipped in (("words", ()), ("dataset", ("synthetic", "custodian")), ("task", ("kind",))):
        yield from ((f"{section}.{k}", v) for k, v in content[section].items() if k not in skipped)
    yield from ((f"dataset.custodian.{k}", v) for k, v in content["dataset"]["custodian"].items())
    yield "purpose", content["purpose"]
    yield "privacy.unit", content["privacy"]["unit"]
    for at, wave in enumerate(content["waves"]):
        for place, group in enumerate(wave["groups"]):
            for name in ("attribute", "attribute_title", "label"):
                yield f"waves.{at}.groups.{place}.{name}", group[name]
        for place, one in enumerate(wave.get("inputs", ())):
            for name in ("column", "title"):
                yield f"waves.{at}.inputs.{place}.{name}", one[name]


def _known_waves(content: Json, waves: dict[str, Wave]) -> Iterator[Problem]:
    for at, wave in enumerate(content["waves"]):
        known = waves.get(wave["name"])
        if known is None or wave["day"] != known.day.isoformat():
            yield Problem(f"waves.{at}", "is not an accepted wave of this dataset with this day")
    for at, finding in enumerate(content["findings"]):
        if finding["wave"] not in waves:
            yield Problem(f"findings.{at}.wave", "is not an accepted wave of this dataset")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _with_titles(written: set[str]) -> set[str]:
    """Also a column's name written as a title, empty text, and the words for a group no card lists."""
    return written | {w.replace("_", " ").capitalize() for w in written} | HOUSE_WORDS | {""}
