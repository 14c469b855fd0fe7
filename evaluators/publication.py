"""What is the public told about a model? A release, made from noisy tallies and written words alone.

Every figure, finding and sentence is a function of the noisy tallies, the policy, the dataset's card,
the submission's words and the decisions taken: never of an exact count. The same state of things gives
the same content, so publishing again returns what is stored. A wave whose privacy budget is gone
appears without figures, and so do its inputs, which are paid for once by all models that read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date

from evaluators import noisy, noisy_drift
from evaluators.policy import Policy, load_policy
from evaluators.release_content import Shown, content_of
from evaluators.rules import Judgement, Occasion, judge
from evaluators.schedule import reference_of
from evaluators.tallies import Load, Tallies, registered_scorer
from sandbox.catalogue.card import Card
from sandbox.disclosure import gate
from sandbox.disclosure.noisy import NoisyTally, noisy_inputs, noisy_tally
from sandbox.errors import BudgetExhausted
from sandbox.lifecycle import Standing, WaveState
from sandbox.records import (
    Evaluation,
    Measurement,
    ModelVersion,
    Release,
    Wave,
)
from sandbox.roles import Person, Role, must_not_be_own
from sandbox.settings import Settings
from sandbox.storage import Store
from sandbox.tally import Tally

_ORDER = (Standing.CHAMPION, Standing.SUSPENDED, Standing.CHALLENGER, Standing.CANDIDATE)
_JUDGED = ("discrimination", "calibration", "groups", "outcome_drift")


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
    content = content_of(store, settings, policy, version, shown, card)
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
    reference, threshold = reference_of(accepted), settings.publication.threshold
    titles = {name: column.title for name, column in card.columns.items() if column.title}
    before: list[Measurement] = []
    inputs_before: NoisyTally | None = None
    evaluated = [w for w in accepted if w.id in days]
    for wave in sorted(evaluated, key=lambda w: (w.id != reference.id, w.day, w.id)):
        try:
            tally = tallies.of(version, wave)
            drawn = noisy_tally(store, settings, card, version, wave, tally, person.name)
        except BudgetExhausted:
            yield Shown(wave, days[wave.id])
            continue
        measured = noisy.measurements(drawn, kind, threshold, card.max_rows_per_unit)
        first = wave.id == reference.id
        occasion = Occasion(kind, wave.name, "" if first or not before else reference.name, titles)
        judged = list(_judge(policy, measured, before, occasion))
        inputs, moved = None, list[Measurement]()
        if first or inputs_before is not None:
            inputs = _inputs(store, settings, card, wave, tally, person)
        if inputs is not None and inputs_before is not None:
            moved = list(noisy_drift.inputs(inputs, inputs_before, threshold, card.max_rows_per_unit))
            judged += judge(policy, "input_drift", moved, [], occasion)
        yield Shown(wave, days[wave.id], drawn, measured, judged, inputs, moved)
        if first:
            before, inputs_before = measured, inputs


def _inputs(
    store: Store, settings: Settings, card: Card, wave: Wave, tally: Tally, person: Person
) -> NoisyTally | None:
    """The wave's noisy inputs; None where none are published or its budget is gone."""
    if not settings.publication.input_epsilon:
        return None
    try:
        return noisy_inputs(store, settings, card, wave, tally, person.name)
    except BudgetExhausted:
        return None


def _judge(
    policy: Policy, measured: list[Measurement], before: list[Measurement], occasion: Occasion
) -> Iterator[Judgement]:
    for evaluator in _JUDGED:
        now = measured
        if evaluator == "outcome_drift":
            now = noisy.outcome_drift(measured, before)
        yield from judge(policy, evaluator, now, before, occasion)
