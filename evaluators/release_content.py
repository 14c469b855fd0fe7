"""What does a release say, word by word? Its content, from noisy figures, written words and decisions.

A pure function of what it is given and of the records in the store; numbers are rounded and small counts
withheld afterwards, by sandbox.disclosure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from typing import TYPE_CHECKING

from evaluators import noisy_drift
from evaluators.policy import Policy
from evaluators.rules import Judgement
from sandbox.disclosure import sources
from sandbox.lifecycle import Standing, Verdict
from sandbox.privacy import ledger
from sandbox.records import (
    Decision,
    Json,
    Measurement,
    ModelVersion,
    Submission,
    TrainingRun,
    Wave,
)
from sandbox.settings import Settings
from sandbox.storage import Store

if TYPE_CHECKING:
    from sandbox.catalogue.card import Card
    from sandbox.disclosure.noisy import NoisyTally

_BECAME = {
    Standing.CHAMPION: "Version {} was approved for use.",
    Standing.CHALLENGER: "Version {} was approved to run beside the model in use, for comparison.",
    Standing.SUSPENDED: "Use of version {} was suspended.",
    Standing.RETIRED: "Version {} was retired.",
}


@dataclass(frozen=True)
class Shown:
    """One wave as the outside may know it; `noisy` and `inputs` are None when its budget is gone.

    `moved` is how far each input is from the first wave's; empty for that one.
    """

    wave: Wave
    evaluated: date
    noisy: NoisyTally | None = None
    measured: Sequence[Measurement] = ()
    judged: Sequence[Judgement] = ()
    inputs: NoisyTally | None = None
    moved: Sequence[Measurement] = ()


def content_of(
    store: Store, settings: Settings, policy: Policy, version: ModelVersion, shown: list[Shown], card: Card
) -> Json:
    """The content, in the format of sandbox.disclosure.content, before rounding and suppression."""
    run = store.get(TrainingRun, version.run)
    manifest = store.get(Submission, run.submission).manifest
    task = card.task(version.task)
    shown = sorted(shown, key=lambda s: (s.wave.day, s.wave.id))
    history = _history(store, version, shown)
    drawn = [s.noisy for s in shown if s.noisy]
    inputs = [s.inputs for s in shown if s.inputs]
    return {
        "format": "ndl-release/1",
        "model": version.model,
        "version": version.version,
        "standing": str(version.standing),
        "words": dict(manifest["public"]),
        "purpose": manifest["purpose"],
        "dataset": {
            "name": card.name,
            "title": card.title,
            "population": card.population,
            "unit_means": card.unit_means,
            "licence": card.licence,
            "attribution": card.attribution,
            "custodian": {"name": card.custodian.name, "contact": card.custodian.contact},
            "synthetic": card.synthetic,
        },
        "task": {"name": version.task, "kind": task.kind, "question": task.question},
        "privacy": _privacy(store, run.certificate, card),
        "publication": {
            "mechanism": "discrete Gaussian",
            "epsilon": drawn[-1].epsilon if drawn else settings.publication.epsilon,
            "delta": drawn[-1].delta if drawn else settings.publication.delta,
            "sigma": drawn[-1].sigma if drawn else None,
            "threshold": settings.publication.threshold,
            "round_to": settings.publication.round_to,
            **({"inputs": _noise(inputs[-1])} if inputs else {}),
        },
        "waves": [_wave(s, card) for s in shown],
        "findings": [_finding(s, j) for s in shown for j in s.judged],
        "history": history,
        "limits": policy.limits,
        "updated": max((change["day"] for change in history), default=""),
    }


def _privacy(store: Store, certificate: Json, card: Card) -> Json:
    budget = ledger.status(store, ledger.training_pool(card))
    audit = sources.audited(certificate)
    return {
        "epsilon": math.ceil(certificate["epsilon"] * 1000) / 1000,  # never less than was spent
        "delta": certificate["delta"],
        "noise_multiplier": round(certificate["noise_multiplier"], 3),
        "sampling_rate": certificate["sampling_rate"],
        "steps": certificate["steps"],
        "adjacency": certificate["adjacency"],
        "unit": card.unit_means,
        "budget": {
            "epsilon": budget.epsilon,
            "spent": round(budget.spent, 3),
            "share": round(min(budget.share, 1.0), 3),
        },
        **({"audit": audit} if audit else {}),
    }


def _wave(shown: Shown, card: Card) -> Json:
    wave = {"name": shown.wave.name, "day": shown.wave.day.isoformat()}
    if shown.noisy is None:
        return {**wave, "n": None, "measures": {}, "groups": []}
    base = next(iter(shown.noisy.tally.tables.values()))
    n = max(base.total, 0)
    measures = {m.name: _measure(m) for m in shown.measured if not m.group}
    for m in shown.measured:  # a gap: of the group column where it is widest
        if m.group and "=" not in m.group and m.value is not None:
            other = measures.get(m.name)
            if other is None or m.value > other["value"]:
                measures[m.name] = _measure(m)
    return {
        **wave,
        "n": n,
        "measures": measures,
        "groups": list(_groups(shown, card)),
        "inputs": [_input(m, n, card) for m in shown.moved if m.name == noisy_drift.DISTANCE],
    }


def _input(moved: Measurement, n: int, card: Card) -> Json:
    return {
        "column": moved.feature,
        "title": _title(card, moved.feature),
        "n": n,
        "status": "ok",
        "measures": {moved.name: _measure(moved)},
    }


def _noise(drawn: NoisyTally) -> Json:
    return {"epsilon": drawn.epsilon, "delta": drawn.delta, "sigma": drawn.sigma}


def _title(card: Card, column: str) -> str:
    return card.columns[column].title or column.replace("_", " ").capitalize()


def _groups(shown: Shown, card: Card) -> Iterator[Json]:
    for of in [m for m in shown.measured if m.name == "cases"]:
        attribute, _, label = of.group.partition("=")
        mine = [m for m in shown.measured if m.group == of.group and m.name != "cases"]
        yield {
            "attribute": attribute,
            "attribute_title": _title(card, attribute),
            "label": label,
            "n": of.n,
            "status": "ok",
            "measures": {m.name: _measure(m) for m in mine},
        }


def _measure(m: Measurement) -> Json:
    return {"value": m.value, "low": m.low, "high": m.high, "status": m.status, "n": m.n}


def _finding(shown: Shown, judgement: Judgement) -> Json:
    return {
        "day": shown.evaluated.isoformat(),
        "wave": shown.wave.name,
        "rule": judgement.rule,
        "verdict": str(judgement.verdict),
        "sentence": judgement.sentence,
        "value": judgement.value,
        "limit": judgement.limit,
    }


def _history(store: Store, version: ModelVersion, shown: list[Shown]) -> list[Json]:
    """Newest first: registration, decisions (without their reasons, which are internal), what went wrong."""
    registered = version.registered_at.astimezone(UTC).date().isoformat()
    changes = [(registered, f"Version {version.version} was trained and registered.")]
    for decision in sorted(store.all(Decision, model_version=version.id), key=lambda d: d.decided_at):
        day = decision.decided_at.astimezone(UTC).date().isoformat()
        words = next(
            (_BECAME[s] for s in _BECAME if str(s) in decision.action), "A decision was taken on version {}."
        )
        changes.append((day, words.format(version.version)))
    for s in shown:
        day = s.evaluated.isoformat()
        changes.append((day, f"Checked on wave {s.wave.name}: {_found(s.judged)}."))
    return [{"day": day, "what": what} for day, what in sorted(changes, key=lambda c: c[0])][::-1]


def _found(judged: Sequence[Judgement]) -> str:
    """What is beyond its limits; else whether that is because all is within them."""
    rules = {v: " and ".join(sorted({j.rule for j in judged if j.verdict is v})) for v in Verdict}
    if wrong := rules[Verdict.BEYOND]:
        return f"beyond its limits for {wrong}"
    if unsure := rules[Verdict.UNKNOWN]:
        return f"nothing found beyond its limits, with too little data to tell for {unsure}"
    return "nothing beyond its limits"
