"""How is what is due done, exactly once? Tally, measure, judge; store everything of one evaluation together.

The key of an evaluation is its exactly-once guard: when two workers race, the second one's insert is
refused by the database and its work is dropped. That they do not race is a courtesy: a model and wave is
one job (sandbox.jobs), which one process holds at a time. A model or an evaluator that crashes is stored as
a failure code and the others go on; trouble with this machine (a missing file, no memory, no registry)
decides nothing, is written to the audit log, and stays due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

from sqlalchemy.exc import IntegrityError, OperationalError

from evaluators.base import Context, Evaluator
from evaluators.catalogue import evaluators_for
from evaluators.challenger import run_first
from evaluators.counting import EVERYDAY, OF_THE_MACHINE, builder_of
from evaluators.mirror import mirror
from evaluators.monitor import keep_watch
from evaluators.origins import origin_of
from evaluators.policy import Policy, load_policy
from evaluators.rules import Judgement, Occasion, judge
from evaluators.schedule import Pair, due, evaluation_id
from evaluators.tallies import Load, Tallies, Trouble, registered_scorer, tally_key
from sandbox.errors import Refused
from sandbox.jobs import claims
from sandbox.jobs.kinds import Later
from sandbox.jobs.presence import Presence
from sandbox.lifecycle import FindingState, Verdict
from sandbox.records import Evaluation, Event, Finding, Json, Measurement, ModelVersion, Wave
from sandbox.settings import Settings
from sandbox.storage import Store, Transaction
from sandbox.tally import Tally

Progress = Callable[[int, int, str], None]
"""Told (how much is done, of how much, what comes next)."""

_log = logging.getLogger(__name__)


def evaluate_due(
    store: Store,
    settings: Settings,
    person_name: str,
    progress: Progress | None = None,
    load: Load = registered_scorer,
) -> list[Evaluation]:
    """Does every evaluation that is due and that no other process is doing, and returns those done here;
    asking again does nothing."""
    policy = load_policy(settings.evaluation.policy)
    tallies = Tallies(store, settings, load)
    pairs = pairs_due(store, tallies)
    done: list[Evaluation] = []
    with Presence(store) if pairs else nullcontext() as presence:
        for number, pair in enumerate(pairs):
            if progress:
                progress(number, len(pairs), f"{pair.model_version.id} on {pair.wave.id}")
            assert presence is not None
            with suppress(Later, Refused):
                arguments = arguments_of(pair)
                with claims.holding(presence, job_key(arguments), JOB, arguments, person_name) as hand:
                    done += evaluate_pair(store, settings, tallies, policy, pair, person_name, hand.progress)
    if progress:
        progress(len(pairs), len(pairs), "")
    return done


def evaluate_pair(
    store: Store, settings: Settings, tallies: Tallies, policy: Policy, pair: Pair, by: str, progress: Progress,
) -> list[Evaluation]:  # fmt: skip
    """Does what is left of one model version on one wave; raises Later for trouble with this machine."""
    try:
        run_first(store, tallies, pair.wave, by)
        made = _do(store, settings, tallies, policy, pair, by, progress)
    except OF_THE_MACHINE as error:
        raise Later(_postpone(store, pair, error, by)) from None
    mirror(store, settings, pair.model_version)
    _watch(store, policy, tallies, pair.model_version, by)
    return made


def _watch(store: Store, policy: Policy, tallies: Tallies, version: ModelVersion, by: str) -> None:
    """Judges whether the version has changed; what is interrupted here is made up for by the next wave."""
    try:
        kind = tallies.encoding(version.dataset, version.task).task.kind
        keep_watch(store, policy.monitoring, version, kind, by)
    except OperationalError as error:
        _log.warning("%s was not watched: %s", version.id, type(error).__name__)


def pairs_due(store: Store, tallies: Tallies, only: Json | None = None) -> list[Pair]:
    """What has no result yet: everything, or the one pair that these arguments of a job name."""
    one = {} if only is None else {"id": only["model_version"]}
    of = {} if only is None else {"model_version": only["model_version"]}
    with store.reading() as view:
        versions, waves = view.all(ModelVersion, **one), view.all(Wave)
        done = {evaluation.id for evaluation in view.all(Evaluation, **of)}
    pairs = due(
        versions, waves, done, lambda v: evaluators_for(tallies.encoding(v.dataset, v.task).task.kind)
    )
    return [pair for pair in pairs if only is None or pair.wave.id == only["wave"]]


JOB = "evaluation"


def arguments_of(pair: Pair) -> Json:
    return {"model_version": pair.model_version.id, "wave": pair.wave.id}


def job_key(arguments: Json) -> str:
    return f"{JOB}|{arguments['model_version']}|{arguments['wave']}"


def _do(
    store: Store,
    settings: Settings,
    tallies: Tallies,
    policy: Policy,
    pair: Pair,
    by: str,
    progress: Progress,
) -> list[Evaluation]:
    progress(0, len(pair.evaluators), "counting")
    seen, failure = _seen(store, settings, tallies, pair)
    is_reference = pair.wave.id == pair.reference.id
    done = []
    for number, evaluator in enumerate(pair.evaluators):
        progress(number, len(pair.evaluators), evaluator.name)
        measured: list[Measurement] = []
        judged: list[Judgement] = []
        failed = failure
        if seen:
            try:
                now, reference = seen.by(evaluator)
                measured = evaluator.measure(now)
                before = [] if is_reference else evaluator.measure(reference)
                against = "" if is_reference else pair.reference.name
                titles = {name: column.title for name, column in now.card.columns.items()}
                occasion = Occasion(now.task.kind, pair.wave.name, against, titles)
                judged = judge(policy, evaluator.name, measured, before, occasion)
            except OF_THE_MACHINE:
                raise
            except Exception as error:  # a crash is a value, never a stop for the others
                failed, measured, judged = _code("evaluator", error), [], []
        evaluation = _keep(store, pair, evaluator, failed, measured, judged, by)
        if evaluation:
            done.append(evaluation)
    return done


@dataclass(frozen=True)
class _Seen:
    """This wave and the reference wave as every evaluator sees them, and each one's own tables."""

    now: Context
    reference: Context
    own: Mapping[str, tuple[Tally | Exception, Tally | Exception]]

    def by(self, evaluator: Evaluator) -> tuple[Context, Context]:
        """The contexts with the evaluator's own tables; raises what went wrong when they were counted."""
        if evaluator.name not in self.own:
            return self.now, self.reference
        of_now, of_reference = self.own[evaluator.name]
        reference = replace(self.reference, tally=_both(self.reference.tally, of_reference))
        if self.now.reference is None:
            return reference, reference
        tally = _both(self.now.tally, of_now)
        return replace(self.now, tally=tally, reference=reference.tally), reference


def _both(everyday: Tally, own: Tally | Exception) -> Tally:
    if isinstance(own, Exception):
        raise own
    if taken := everyday.tables.keys() & own.tables.keys():
        raise ValueError(f"everyday tables are called {sorted(taken)}")
    return Tally({**everyday.tables, **own.tables})


def _seen(store: Store, settings: Settings, tallies: Tallies, pair: Pair) -> tuple[_Seen | None, str]:
    """What the evaluators see, or the code of what the model did wrong."""
    version = pair.model_version
    encoding = tallies.encoding(version.dataset, version.task)
    own = {e.name: made for e in pair.evaluators if (made := builder_of(e))}
    part = "scoring"
    try:
        tally, *counted = tallies.count(version, pair.wave, (EVERYDAY, *own.values()))
        part = "reference"
        first = (tally, *counted)
        if pair.wave.id != pair.reference.id:
            first = tuple(tallies.count(version, pair.reference, (EVERYDAY, *own.values())))
    except OF_THE_MACHINE:
        raise
    except Exception as error:
        return None, _code(part, error)
    reference, *of_reference = first
    assert isinstance(tally, Tally)  # a failure of the everyday tables was raised
    assert isinstance(reference, Tally)
    card, task, origin = encoding.card, encoding.task, origin_of(store, version)
    set_here = settings.evaluation
    at_first = Context(
        reference,
        card,
        task,
        None,
        tally_key(version, pair.reference, encoding),
        origin=origin,
        settings=set_here,
    )
    tables = dict(zip(own, zip(counted, of_reference, strict=True), strict=True))
    at_reference = pair.wave.id == pair.reference.id
    for e in pair.evaluators:
        if e.inside:
            found = tallies.examined(version, pair.wave, e, e.inside) if at_reference else Tally({})
            tables[e.name] = (Tally({}), found)
    if at_reference:
        return _Seen(at_first, at_first, tables), ""
    key, earlier = tally_key(version, pair.wave, encoding), tuple(_earlier(tallies, pair))
    now = Context(tally, card, task, reference, key, earlier=earlier, origin=origin, settings=set_here)
    return _Seen(now, at_first, tables), ""


def _earlier(tallies: Tallies, pair: Pair) -> Iterable[Tally]:
    """Of the waves before; without those on which the model itself fails, which have said so themselves."""
    for wave in pair.earlier:
        try:
            yield tallies.of(pair.model_version, wave)
        except OF_THE_MACHINE:
            raise
        except Exception:
            _log.warning("%s has no counts on %s", pair.model_version.id, wave.id)


def _keep(
    store: Store, pair: Pair, evaluator: Evaluator, failure: str,
    measured: Iterable[Measurement], judged: Iterable[Judgement], by: str,
) -> Evaluation | None:  # fmt: skip
    """Stores an evaluation, its measurements and findings at once; None when somebody else did."""
    version, wave = pair.model_version, pair.wave
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


def _postpone(store: Store, pair: Pair, error: BaseException, by: str) -> str:
    why = str(error) if isinstance(error, Trouble) else type(error).__name__
    subject = f"{pair.model_version.id}|{pair.wave.id}"
    _log.warning("%s stays due: %s", subject, why)
    with store.transaction() as tx:
        tx.log(Event(by, "evaluation.postpone", subject, why))
    return why


def _code(part: str, error: BaseException) -> str:
    return f"{part}:{type(error).__name__}"
