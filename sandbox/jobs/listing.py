"""What do people see of the jobs? Pure: rows and the time in, words out.

A job is shown as running only while its worker's beat is at most BELIEVED_SECONDS old by the database's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from sandbox.jobs.presence import database_time
from sandbox.lifecycle import JobState
from sandbox.records import Job, Worker
from sandbox.storage import Store, Transaction, tables

BELIEVED_SECONDS = 30
MOST_SHOWN, _SHOWN_DONE = 200, 20
_ORDER = (JobState.RUNNING, JobState.WAITING, JobState.FAILED, JobState.CANCELLED, JobState.DONE)


@dataclass(frozen=True)
class JobLine:
    """One job, as it is to be shown. `state` is a word for people; `share` is None where nobody knows."""

    key: str
    kind: str
    subject: str
    state: JobState
    words: str
    attempt: int
    share: float | None
    worker: str
    since: datetime
    note: str


@dataclass(frozen=True)
class Jobs:
    """The open and failed jobs, the newest of those that are done, how many there are, and who is at work."""

    lines: tuple[JobLine, ...]
    counts: dict[JobState, int]
    workers: int


def jobs_now(store: Store, *, everything: bool = False) -> Jobs:
    """What there is to see now: at most MOST_SHOWN jobs of each state and the newest done ones, or everything."""
    with store.reading() as view:
        return seen(view, everything=everything)


def seen(view: Transaction, *, everything: bool = False) -> Jobs:
    """As jobs_now, in a view that is open already."""
    jobs = tables.OF_RECORD[Job]
    newest = sa.func.coalesce(jobs.c.ended_at, jobs.c.asked_at).desc()
    counted = view.connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state))
    counts = {row[0]: int(row[1]) for row in counted}
    rows: list[Job] = []
    for state in _ORDER:
        query = sa.select(jobs).where(jobs.c.state == state).order_by(newest)
        most = None if everything else _SHOWN_DONE if state is JobState.DONE else MOST_SHOWN
        rows += [Job(**row._mapping) for row in view.connection.execute(query.limit(most))]
    return listed(rows, view.all(Worker), database_time(view), counts)


def listed(
    jobs: Iterable[Job],
    workers: Iterable[Worker],
    now: datetime,
    counts: Mapping[JobState, int] | None = None,
) -> Jobs:
    """Running first, then waiting, failed, cancelled and done; the newest first within each. `counts` by the
    rows' own states, where these are not all; what only seems to run is counted as waiting."""
    believed = timedelta(seconds=BELIEVED_SECONDS)
    # A beat from the future was written before the database's clock was put back; it is as good as one of now.
    alive = {w.id: w for w in workers if not w.ended and now - w.beat_at <= believed}
    held = list(jobs)
    lines = sorted((_line(job, alive, now) for job in held), key=lambda line: line.since, reverse=True)
    lines.sort(key=lambda line: _ORDER.index(line.state))
    of_rows = counts or {state: sum(job.state is state for job in held) for state in JobState}
    seeming = sum(job.state is JobState.RUNNING and job.worker not in alive for job in held)
    shift = {JobState.RUNNING: -seeming, JobState.WAITING: seeming}
    shown = {state: of_rows.get(state, 0) + shift.get(state, 0) for state in JobState}
    return Jobs(tuple(lines), shown, len(alive))


def _line(job: Job, alive: dict[str, Worker], now: datetime) -> JobLine:
    state, note, words = job.state, job.note, str(job.state)
    worker = alive.get(job.worker)
    if state is JobState.RUNNING and worker is None:
        state, words, note = JobState.WAITING, "waiting", "its worker is silent; another one will take it"
    elif state is JobState.RUNNING:
        words = f"running: {job.doing}" if job.doing else "running"
    elif state is JobState.WAITING and job.again_at and job.again_at > now:
        words = f"waits until {job.again_at:%H:%M:%S} UTC"
    running = state is JobState.RUNNING
    since = {JobState.RUNNING: job.started_at, JobState.WAITING: job.asked_at}.get(state, job.ended_at)
    subject = " on ".join(str(value) for value in job.arguments.values())
    share = min(job.done / job.total, 1.0) if running and job.total else None
    name = worker.name if running and worker else ""
    return JobLine(
        job.key, job.kind, subject, state, words, job.attempt, share, name, since or job.asked_at, note
    )
