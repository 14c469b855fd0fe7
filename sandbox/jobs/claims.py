"""Who may do a job, and how does it end? Every change is one transaction on its row in `jobs`.

What a person does to a job is audited. That the schedule asked, that a worker took it and that it ended are
not: whatever the job then changes is audited as that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from sandbox.errors import NDLError, Refused
from sandbox.jobs.kinds import Kind, Later
from sandbox.jobs.presence import Hand, Presence, is_alive
from sandbox.lifecycle import JobState
from sandbox.records import Event, Job, Json, Worker
from sandbox.roles import Person, Role
from sandbox.storage import Store, Transaction, tables

KEPT = timedelta(days=30)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
OVER = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
_JOBS, _WORKERS = tables.OF_RECORD[Job], tables.OF_RECORD[Worker]
_AT_ONCE = 500
_holding: ContextVar[Hand | None] = ContextVar("ndl_holding", default=None)


@dataclass(frozen=True)
class Outcome:
    """How a job went. One that waits again does so for a while where the machine was `troubled`."""

    state: JobState
    note: str = ""
    troubled: bool = False


DONE = Outcome(JobState.DONE)


def ask(store: Store, wanted: Iterable[tuple[str, str, Json]], by: str) -> int:
    """Asks for jobs (key, kind, arguments) and returns how many are new.

    One that is open stays as it is, and one that failed or was cancelled waits for a person; one that is
    done, and yet due, is asked for anew.
    """
    asked = {key: (kind, arguments) for key, kind, arguments in wanted}
    if not asked:
        return 0
    with store.reading() as view:
        rows = view.connection.execute(
            sa.select(_JOBS.c.key, _JOBS.c.state).where(_JOBS.c.key.in_(list(asked)))
            if len(asked) < _AT_ONCE
            else sa.select(_JOBS.c.key, _JOBS.c.state)
        )
        there = {row.key: row.state for row in rows}
    new = [key for key in asked if there.get(key, JobState.DONE) is JobState.DONE]
    for start in range(0, len(new), _AT_ONCE):
        with store.transaction() as tx:
            for key in new[start : start + _AT_ONCE]:
                _put(tx, key, *asked[key], by, queued=True)
    return len(new)


def take(presence: Presence, key: str, attempt: int) -> Hand | None:
    """The hand that may do this attempt; None when it is over, replaced by another, or somebody else's."""
    with presence.store.transaction() as tx:
        job = _find(tx, key)
        if job is None or job.attempt != attempt or job.state is not JobState.WAITING:
            return None
        return _run(tx, presence, job)


@contextmanager
def holding(presence: Presence, key: str, kind: str, arguments: Json, by: str) -> Iterator[Hand]:
    """Does a job here and now, without a worker; inside, nobody else does it.

    Raises Refused while another process does. Inside a job of the same key this changes nothing.
    """
    outer = _holding.get()
    if outer is not None and outer.key == key:
        yield outer
        return
    hand = _take_here(presence, key, kind, arguments, by)
    token = _holding.set(hand)
    try:
        yield hand
    except BaseException as error:
        end(presence, hand, outcome_of(error))
        raise
    else:
        end(presence, hand, DONE)
    finally:
        _holding.reset(token)


@contextmanager
def alone(store: Store, key: str, kind: str, arguments: Json, by: str) -> Iterator[Hand]:
    """As `holding`, by a process that has no presence yet."""
    outer = _holding.get()
    if outer is not None and outer.key == key:
        yield outer
        return
    with Presence(store) as presence, holding(presence, key, kind, arguments, by) as hand:
        yield hand


@contextmanager
def in_hand(hand: Hand) -> Iterator[None]:
    """Inside, `holding` this job's key is no second claim."""
    token = _holding.set(hand)
    try:
        yield
    finally:
        _holding.reset(token)


def end(presence: Presence, hand: Hand, outcome: Outcome) -> None:
    """How it went. Somebody who lost the job in between changes nothing."""
    presence.let_go(hand)
    with presence.store.transaction() as tx:
        job = _find(tx, hand.key)
        if job is None or job.worker != presence.id or job.state is not JobState.RUNNING:
            return
        now = tx.clock()
        if outcome.state is JobState.WAITING:
            waits = min(_FIRST_WAIT * 2 ** min(job.attempt - 1, 10), _LONGEST_WAIT)
            again_at = now + waits if outcome.troubled else None
            _free(tx, job, note=outcome.note, attempt=job.attempt + 1, again_at=again_at)
        else:
            _set(tx, job, state=outcome.state, note=outcome.note, worker="", ended_at=now, done=hand.done,
                 total=hand.total, doing="")  # fmt: skip


def give_up(presence: Presence, key: str) -> None:
    """A job that is this worker's by its row and that it does not do waits again, in the same attempt."""
    with presence.store.transaction() as tx:
        job = _find(tx, key)
        if job and job.worker == presence.id and job.state is JobState.RUNNING:
            _free(tx, job, note="its worker lost it", attempt=job.attempt, again_at=None, deaths=job.deaths)


def bury(tx: Transaction, worker: str, kinds: Mapping[str, Kind], *, died: bool = True) -> None:
    """A worker is gone: what it held waits again, for somebody else. Part of the caller's transaction."""
    held = sa.select(_JOBS).where(_JOBS.c.worker == worker, _JOBS.c.state == JobState.RUNNING)
    for row in tx.connection.execute(held).all():
        job = Job(**row._mapping)
        deaths = job.deaths + died
        if job.queued and job.kind in kinds and deaths >= kinds[job.kind].most_deaths:
            note = f"{deaths} workers died while they did it; read their logs, then `ndl jobs retry`"
            _set(tx, job, state=JobState.FAILED, note=note, worker="", ended_at=tx.clock(), doing="",
                 deaths=deaths)  # fmt: skip
        else:
            note = "its worker died" if died else "its worker left"
            _free(tx, job, note=note, attempt=job.attempt, again_at=None, deaths=deaths)
    tx.connection.execute(sa.delete(_WORKERS).where(_WORKERS.c.id == worker))


def waiting(store: Store, most: int) -> list[Job]:
    """What workers may do now, what was asked for first first. A time to wait until that lies further off than
    any that we set was written by a clock that was wrong, and counts for nothing."""
    now, again = store.clock(), _JOBS.c.again_at
    free = sa.or_(again.is_(None), again <= now, again > now + _LONGEST_WAIT)
    query = sa.select(_JOBS).where(_JOBS.c.state == JobState.WAITING, _JOBS.c.queued, free)
    with store.reading() as view:
        rows = view.connection.execute(query.order_by(_JOBS.c.asked_at, _JOBS.c.key).limit(most))
        return [Job(**row._mapping) for row in rows]


def renew(store: Store, key: str, attempt: int) -> int:
    """The engine is through with this attempt and the job still waits: the number of its next attempt."""
    with store.transaction() as tx:
        job = _find(tx, key)
        if job is None or job.state is not JobState.WAITING or job.attempt != attempt:
            return job.attempt if job else attempt
        _set(tx, job, attempt=attempt + 1)
        return attempt + 1


def retry(store: Store, key: str, person: Person, reason: str = "") -> Job:
    """Asks anew for a job that failed, was cancelled or waits to be tried again; raises Refused for another."""
    person.must_be(Role.OPERATOR, Role.OVERSEER, to="have a job tried again")
    with store.transaction() as tx:
        job = tx.get(Job, key)
        if job.state in (JobState.RUNNING, JobState.DONE):
            raise Refused(f"The job {key} is {job.state}: there is nothing to try again.")
        event = Event(person.name, "job.retry", key, reason, {"after": str(job.state)})
        return tx.change(
            Job, key, event, state=JobState.WAITING, attempt=job.attempt + 1, deaths=0, queued=True, note="",
            worker="", again_at=None, ended_at=None, done=0, total=0, doing="",
        )  # fmt: skip


def cancel(store: Store, key: str, person: Person, reason: str = "") -> Job:
    """Calls a job off; whoever does it stops within a few seconds. Raises Refused when it is over."""
    person.must_be(Role.OPERATOR, Role.OVERSEER, to="cancel a job")
    with store.transaction() as tx:
        job = tx.get(Job, key)
        if job.state in OVER:
            raise Refused(f"The job {key} is {job.state} already: there is nothing to cancel.")
        event = Event(person.name, "job.cancel", key, reason, {"after": str(job.state)})
        return tx.change(
            Job, key, event, state=JobState.CANCELLED, ended_at=tx.clock(), note=reason, again_at=None
        )


def forget(store: Store) -> None:
    """Removes what was done a month ago; what failed or was cancelled stays until somebody sees to it."""
    before = store.clock() - KEPT
    with store.transaction() as tx:
        tx.connection.execute(
            sa.delete(_JOBS).where(_JOBS.c.state == JobState.DONE, _JOBS.c.ended_at < before)
        )


def outcome_of(error: BaseException) -> Outcome:
    """A refusal in its own words; of any other error only its kind, since its text could quote a record."""
    if isinstance(error, Later):
        return Outcome(JobState.WAITING, str(error), troubled=True)
    if not isinstance(error, Exception):
        return Outcome(JobState.WAITING, "it was stopped")
    note = str(error) if isinstance(error, NDLError) else f"it crashed ({type(error).__name__})"
    return Outcome(JobState.FAILED, note)


def _take_here(presence: Presence, key: str, kind: str, arguments: Json, by: str) -> Hand:
    found = next(iter(presence.store.all(Job, key=key)), None)
    holder = found.worker if found is not None and found.state is JobState.RUNNING else ""
    if holder and is_alive(presence.store, holder):
        raise _taken(key)
    with presence.store.transaction() as tx:
        job = _find(tx, key)
        if job is not None and job.state is JobState.RUNNING and job.worker != holder:
            raise _taken(key)
        if job is None or job.state is JobState.DONE:
            job = _put(tx, key, kind, arguments, by, queued=False)
        return _run(tx, presence, job)


def _taken(key: str) -> Refused:
    return Refused(f"Another process is doing {key} right now; `ndl jobs show '{key}'` says how far it is.")


def _run(tx: Transaction, presence: Presence, job: Job) -> Hand:
    hand = Hand(job.key, job.attempt, presence.id)
    _set(tx, job, state=JobState.RUNNING, worker=presence.id, started_at=tx.clock(), ended_at=None, note="",
         again_at=None, done=0, total=0, doing="")  # fmt: skip
    presence.hold(hand)
    return hand


def _free(
    tx: Transaction, job: Job, *, note: str, attempt: int, again_at: datetime | None, deaths: int = 0
) -> None:
    """A queued job waits again; one that somebody did by themselves is gone, as if it had not been asked for."""
    if not job.queued:
        tx.connection.execute(sa.delete(_JOBS).where(_JOBS.c.key == job.key))
        return
    _set(tx, job, state=JobState.WAITING, worker="", note=note, attempt=attempt, again_at=again_at, doing="",
         deaths=deaths)  # fmt: skip


def _put(tx: Transaction, key: str, kind: str, arguments: Json, by: str, *, queued: bool) -> Job:
    """A new job, or a done one asked for anew; one that is open meanwhile stays as it is."""
    now, before = tx.clock(), _find(tx, key)
    if before is None:
        made = Job(key, kind, arguments, JobState.WAITING, 1, 0, queued, "", "", 0, 0, "", by, now)
        tx.connection.execute(sa.insert(_JOBS).values(**vars(made)))
        return made
    if before.state is JobState.DONE:
        _set(tx, before, state=JobState.WAITING, attempt=before.attempt + 1, deaths=0, queued=queued,
             arguments=arguments, asked_by=by, asked_at=now, done=0, total=0)  # fmt: skip
    return tx.get(Job, key)


def _find(tx: Transaction, key: str) -> Job | None:
    return next(iter(tx.all(Job, key=key)), None)


def _set(tx: Transaction, job: Job, **values: object) -> None:
    tx.connection.execute(sa.update(_JOBS).where(_JOBS.c.key == job.key).values(**values))
