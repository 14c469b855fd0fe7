"""How is what is due done, exactly once? Tally, measure, judge; store everything of one evaluation together.

The key of an evaluation is its exactly-once guard: when two workers race, the second one's insert is
refused by the database and its work is dropped. A model or an evaluator that crashes is stored as a
failure code and the others go on; trouble with this machine (a missing file, no memory, no registry)
decides nothing, is written to the audit log, and stays due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from sqlalchemy.exc import IntegrityError, OperationalError

from evaluators.base import Context, Evaluator
from evaluators.catalogue import evaluators_for
from evaluators.policy import Policy, load_policy
from evaluators.rules import Judgement, Occasion, judge
from evaluators.schedule import Job, due, evaluation_id
from evaluators.tallies import Load, Tallies, Trouble, registered_scorer, tally_key
from sandbox.errors import NDLError
from sandbox.lifecycle import FindingState, Verdict
from sandbox.records import Evaluation, Event, Finding, Measurement, ModelVersion, Wave
from sandbox.settings import Settings
from sandbox.storage import Store, Transaction

Progress = Callable[[int, int, str], None]
"""Told (jobs done, jobs in all, what comes next)."""

HEADLINES = frozenset(
    {"auc", "accuracy", "macro_auc", "r2", "brier", "log_loss", "calibration_bias", "ece"}
    | {"score_distance", "outcome_distance", "outcome_rate"}
)
_log = logging.getLogger(__name__)
_OF_THE_MACHINE = (NDLError, OSError, MemoryError, OperationalError)


def evaluate_due(
    store: Store,
    settings: Settings,
    person_name: str,
    progress: Progress | None = None,
    load: Load = registered_scorer,
) -> list[Evaluation]:
    """Does every evaluation that is due and returns those done here; asking again does nothing."""
    policy = load_policy(settings.evaluation.policy)
    tallies = Tallies(store, settings, load)
    jobs = jobs_due(store, tallies)
    done: list[Evaluation] = []
    for number, job in enumerate(jobs):
        if progress:
            progress(number, len(jobs), f"{job.model_version.id} on {job.wave.id}")
        try:
            made, headline = _do(store, tallies, policy, job, person_name)
        except _OF_THE_MACHINE as error:
            _postpone(store, job, error, person_name)
            continue
        done += made
        _mirror(store, settings, job, headline)
    if progress:
        progress(len(jobs), len(jobs), "")
    return done


def jobs_due(store: Store, tallies: Tallies) -> list[Job]:
    """What has no result yet."""
    with store.reading() as view:
        versions, waves = view.all(ModelVersion), view.all(Wave)
        done = {evaluation.id for evaluation in view.all(Evaluation)}
    return due(versions, waves, done, lambda v: evaluators_for(tallies.encoding(v.dataset, v.task).task.kind))


def _do(
    store: Store, tallies: Tallies, policy: Policy, job: Job, by: str
) -> tuple[list[Evaluation], dict[str, float]]:
    contexts, failure = _contexts(tallies, job)
    is_reference = job.wave.id == job.reference.id
    done, headline = [], dict[str, float]()
    for evaluator in job.evaluators:
        measured: list[Measurement] = []
        judged: list[Judgement] = []
        failed = failure
        if contexts:
            now, reference = contexts
            try:
                measured = evaluator.measure(now)
                before = [] if is_reference else evaluator.measure(reference)
                against = "" if is_reference else job.reference.name
                titles = {name: column.title for name, column in now.card.columns.items()}
                occasion = Occasion(now.task.kind, job.wave.name, against, titles)
                judged = judge(policy, evaluator.name, measured, before, occasion)
            except _OF_THE_MACHINE:
                raise
            except Exception as error:  # a crash is a value, never a stop for the others
                failed, measured, judged = _code("evaluator", error), [], []
        evaluation = _keep(store, job, evaluator, failed, measured, judged, by)
        if evaluation:
            done.append(evaluation)
            headline |= _headline(measured)
    return done, headline


def _contexts(tallies: Tallies, job: Job) -> tuple[tuple[Context, Context] | None, str]:
    """This wave's context and the reference wave's own, or the code of what the model did wrong."""
    version = job.model_version
    encoding = tallies.encoding(version.dataset, version.task)
    part = "scoring"
    try:
        tally = tallies.of(version, job.wave)
        part = "reference"
        reference = tally if job.wave.id == job.reference.id else tallies.of(version, job.reference)
    except _OF_THE_MACHINE:
        raise
    except Exception as error:
        return None, _code(part, error)
    card, task = encoding.card, encoding.task
    of_reference = Context(reference, card, task, None, tally_key(version, job.reference, encoding))
    if job.wave.id == job.reference.id:
        return (of_reference, of_reference), ""
    return (Context(tally, card, task, reference, tally_key(version, job.wave, encoding)), of_reference), ""


def _keep(
    store: Store, job: Job, evaluator: Evaluator, failure: str,
    measured: Iterable[Measurement], judged: Iterable[Judgement], by: str,
) -> Evaluation | None:  # fmt: skip
    """Stores an evaluation, its measurements and findings at once; None when somebody else did."""
    version, wave = job.model_version, job.wave
    key = evaluation_id(version, wave, evaluator)
    made = Evaluation(key, version.id, wave.id, evaluator.name, evaluator.version, failure, store.clock())
    event = Event(by, "evaluation.finish", key, "no result yet", {"failure": failure})
    try:
        with store.transaction() as tx:
            tx.add_evaluation(made, measured, event)
            for judgement in judged:
                _put_finding(tx, made, judgement, by)
    except IntegrityError:
        return None
    return made


def _put_finding(tx: Transaction, evaluation: Evaluation, j: Judgement, by: str) -> None:
    """One finding for a version, wave, rule and subject; a later evaluator version may change its answer,
    which opens it again."""
    key = f"{evaluation.model_version}|{evaluation.wave}|{j.rule}|{j.subject}"
    state = FindingState.RESOLVED if j.verdict is Verdict.WITHIN else FindingState.OPEN
    finding = Finding(
        key, evaluation.model_version, evaluation.wave, j.rule, j.subject, j.verdict, j.level, j.sentence,
        j.value, j.limit, state, tx.clock(),
    )  # fmt: skip
    event = Event(by, "finding.judge", key, f"evaluation {evaluation.id}", {"verdict": str(j.verdict)})
    before = next(iter(tx.all(Finding, id=key)), None)
    if before is None:
        tx.add(finding, event)
        return
    if before.verdict is j.verdict:
        state = before.state
    tx.change(
        Finding, key, event, verdict=j.verdict, level=j.level, sentence=j.sentence, value=j.value,
        limit=j.limit, state=state, found_at=tx.clock(),
    )  # fmt: skip


def _postpone(store: Store, job: Job, error: BaseException, by: str) -> None:
    why = str(error) if isinstance(error, Trouble) else type(error).__name__
    subject = f"{job.model_version.id}|{job.wave.id}"
    _log.warning("%s stays due: %s", subject, why)
    with store.transaction() as tx:
        tx.log(Event(by, "evaluation.postpone", subject, why))


def _mirror(store: Store, settings: Settings, job: Job, headline: dict[str, float]) -> None:
    """Best effort, after our commit: MLflow's pages show each model's history."""
    if not headline:
        return
    waves = sorted(store.all(Wave, dataset=job.wave.dataset), key=lambda w: (w.day, w.id))
    step = [wave.id for wave in waves].index(job.wave.id)
    try:
        from sandbox.registry.registry import mirror

        mirror(settings, job.model_version, step, headline)
    except Exception as error:
        _log.warning("%s was not mirrored to MLflow: %s", job.model_version.id, type(error).__name__)


def _headline(measured: Iterable[Measurement]) -> dict[str, float]:
    return {
        m.name: m.value
        for m in measured
        if m.name in HEADLINES and not m.group and not m.feature and m.value is not None
    }


def _code(part: str, error: BaseException) -> str:
    return f"{part}:{type(error).__name__}"
