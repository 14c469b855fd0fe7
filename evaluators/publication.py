"""What is the public told about a model? A release, made from noisy tallies and written words alone.

Every figure, finding and sentence is a function of the noisy tallies, the policy, the dataset's card,
the submission's words and the decisions taken: never of an exact count. The same state of things gives
the same content, so publishing again returns what is stored. A wave whose privacy budget is gone
appears without figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date

from evaluators import noisy
from evaluators.policy import Policy, load_policy
from evaluators.rules import Judgement, Occasion, judge
from evaluators.schedule import reference_of
from evaluators.tallies import Load, Tallies, registered_scorer
from sandbox.catalogue.card import Card
from sandbox.disclosure import gate
from sandbox.disclosure.noisy import NoisyTally, noisy_tally
from sandbox.errors import BudgetExhausted
from sandbox.lifecycle import Standing, Verdict, WaveState
from sandbox.privacy import ledger
from sandbox.records import (
    Decision,
    Evaluation,
    Json,
    Measurement,
    ModelVersion,
    Release,
    Submission,
    TrainingRun,
    Wave,
)
from sandbox.roles import Person, Role, must_not_be_own
from sandbox.settings import Settings
from sandbox.storage import Store

_ORDER = (Standing.CHAMPION, Standing.SUSPENDED, Standing.CHALLENGER, Standing.CANDIDATE)
_JUDGED = ("discrimination", "calibration", "groups", "outcome_drift")
_BECAME = {
    Standing.CHAMPION: "Version {} was approved for use.",
    Standing.CHALLENGER: "Version {} was approved to run beside the model in use, for comparison.",
    Standing.SUSPENDED: "Use of version {} was suspended.",
    Standing.RETIRED: "Version {} was retired.",
}


def publish(
    store: Store, settings: Settings, model_version_id: str, person: Person, load: Load = registered_scorer
) -> Release:
    """Releases what may be said about a model version, on every wave it has been evaluated on.

    Raises Refused for a person who may not, before anything is spent; gate.Blocked when the exit gate
    does not clear it.
    """
    version = store.get(ModelVersion, model_version_id)
    person.must_be(Role.OVERSEER, Role.OPERATOR, to="release figures about a model")
    must_not_be_own(person, [version.developer], to="release figures about it")
    policy = load_policy(settings.evaluation.policy)
    tallies = Tallies(store, settings, load)
    shown = list(_waves(store, settings, policy, tallies, version, person))
    card = tallies.encoding(version.dataset, version.task).card
    content = _content(store, settings, policy, version, shown, card)
    return gate.release(store, settings, version, gate.suppress(content), person)


def publish_all(
    store: Store, settings: Settings, person: Person, load: Load = registered_scorer
) -> list[Release]:
    """One release for each model: of the version in use, else of the one nearest to it."""
    return [publish(store, settings, v.id, person, load) for v in public_versions(store.all(ModelVersion))]


def public_versions(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """For each model the version that its public page is about; none when all are retired."""
    hosted = [v for v in versions if v.standing is not Standing.RETIRED]
    best: dict[str, ModelVersion] = {}
    for version in sorted(hosted, key=lambda v: (-_ORDER.index(v.standing), v.version)):
        best[version.model] = version
    return [best[model] for model in sorted(best)]


@dataclass(frozen=True)
class Shown:
    """One wave as the outside may know it; `noisy` is None when its budget is gone."""

    wave: Wave
    evaluated: date
    noisy: NoisyTally | None
    measured: list[Measurement]
    judged: list[Judgement]


def _waves(
    store: Store, settings: Settings, policy: Policy, tallies: Tallies, version: ModelVersion, person: Person
) -> Iterator[Shown]:
    """The evaluated waves by day, the reference first asked so that the others can be held against it."""
    encoding = tallies.encoding(version.dataset, version.task)
    card, kind = encoding.card, encoding.task.kind
    days: dict[str, date] = {}
    for evaluation in store.all(Evaluation, model_version=version.id):
        day = evaluation.finished_at.astimezone(UTC).date()
        if not evaluation.failure:
            days[evaluation.wave] = min(day, days.get(evaluation.wave, day))
    accepted = [w for w in store.all(Wave, dataset=version.dataset) if w.state is WaveState.ACCEPTED]
    if not accepted:
        return
    reference = reference_of(accepted)
    titles = {name: column.title for name, column in card.columns.items() if column.title}
    before: list[Measurement] = []
    evaluated = [w for w in accepted if w.id in days]
    for wave in sorted(evaluated, key=lambda w: (w.id != reference.id, w.day, w.id)):
        try:
            tally = tallies.of(version, wave)
            drawn = noisy_tally(store, settings, card, version, wave, tally, person.name)
        except BudgetExhausted:
            yield Shown(wave, days[wave.id], None, [], [])
            continue
        measured = noisy.measurements(drawn, kind, settings.publication.threshold)
        first = wave.id == reference.id
        occasion = Occasion(kind, wave.name, "" if first or not before else reference.name, titles)
        judged = list(_judge(policy, measured, before, occasion))
        yield Shown(wave, days[wave.id], drawn, measured, judged)
        if first:
            before = measured


def _judge(
    policy: Policy, measured: list[Measurement], before: list[Measurement], occasion: Occasion
) -> Iterator[Judgement]:
    for evaluator in _JUDGED:
        now = measured
        if evaluator == "outcome_drift":
            now = noisy.outcome_drift(measured, before)
        yield from judge(policy, evaluator, now, before, occasion)


def _content(
    store: Store, settings: Settings, policy: Policy, version: ModelVersion, shown: list[Shown], card: Card
) -> Json:
    run = store.get(TrainingRun, version.run)
    manifest = store.get(Submission, run.submission).manifest
    task = card.task(version.task)
    shown = sorted(shown, key=lambda s: (s.wave.day, s.wave.id))
    history = _history(store, version, shown)
    drawn = [s.noisy for s in shown if s.noisy]
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
        },
        "waves": [_wave(s, card) for s in shown],
        "findings": [_finding(s, j) for s in shown for j in s.judged],
        "history": history,
        "limits": policy.limits,
        "updated": max((change["day"] for change in history), default=""),
    }


def _privacy(store: Store, certificate: Json, card: Card) -> Json:
    budget = ledger.status(store, ledger.training_pool(card))
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
    }


def _wave(shown: Shown, card: Card) -> Json:
    wave = {"name": shown.wave.name, "day": shown.wave.day.isoformat()}
    if shown.noisy is None:
        return {**wave, "n": None, "measures": {}, "groups": []}
    base = next(iter(shown.noisy.tally.tables.values()))
    measures = {m.name: _measure(m) for m in shown.measured if not m.group}
    for m in shown.measured:  # a gap: of the group column where it is widest
        if m.group and "=" not in m.group and m.value is not None:
            other = measures.get(m.name)
            if other is None or m.value > other["value"]:
                measures[m.name] = _measure(m)
    return {**wave, "n": max(base.total, 0), "measures": measures, "groups": list(_groups(shown, card))}


def _groups(shown: Shown, card: Card) -> Iterator[Json]:
    for of in [m for m in shown.measured if m.name == "cases"]:
        attribute, _, label = of.group.partition("=")
        mine = [m for m in shown.measured if m.group == of.group and m.name != "cases"]
        yield {
            "attribute": attribute,
            "attribute_title": card.columns[attribute].title or attribute.replace("_", " ").capitalize(),
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
        wrong = sorted({j.rule for j in s.judged if j.verdict is Verdict.BEYOND})
        found = f"beyond its limits for {' and '.join(wrong)}" if wrong else "nothing beyond its limits"
        changes.append((day, f"Checked on wave {s.wave.name}: {found}."))
    return [{"day": day, "what": what} for day, what in sorted(changes, key=lambda c: c[0])][::-1]
