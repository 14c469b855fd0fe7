"""Who is at work? Each process that does jobs has a row that beats; what it holds, it holds while it beats.

A process of this machine is dead when its process is gone, which shows at once. One of another machine is
dead when its last beat is SILENT_SECONDS old by the database's clock, the only one that all agree on, and
has not moved while somebody looked on for LOOKED_SECONDS: so nobody dies of a clock that was changed, nor of
the database having been away. One of this machine that is there and yet silent has STUCK_SECONDS: a busy machine
is slow for whoever would look, too.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from sandbox.lifecycle import JobState
from sandbox.records import Job, Worker
from sandbox.storage import Store, Transaction, tables

BEAT_SECONDS = 1.0
SILENT_SECONDS, STUCK_SECONDS = 5.0, 20.0
LOOK_SECONDS, LOOKED_SECONDS, PAUSE_SECONDS = 0.5, 3.0, 5.0
_log = logging.getLogger(__name__)
_WORKERS, _JOBS = tables.OF_RECORD[Worker], tables.OF_RECORD[Job]


class Stopped(KeyboardInterrupt):
    """Whoever works must stop now: somebody cancelled the job, or this process was taken for dead."""


@dataclass
class Hand:
    """What the doer of one job holds: it tells how far it is, and is told when to stop."""

    key: str
    attempt: int
    worker: str
    done: int = 0
    total: int = 0
    doing: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int, doing: str = "") -> None:
        """Shown within a beat; raises Stopped when the job is not ours any more."""
        self.done, self.total, self.doing = done, total, doing
        self.check()

    def check(self) -> None:
        if self.stop.is_set():
            raise Stopped


class Presence:
    """This process's row, and the thread that keeps it beating."""

    def __init__(self, store: Store, name: str = "") -> None:
        self.store = store
        self.id = secrets.token_hex(8)
        self.lost = threading.Event()
        """Set when somebody took this process for dead: it must end, and whatever goes on starts anew."""
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._hands: dict[str, Hand] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="ndl-beat", daemon=True)

    def __enter__(self) -> Presence:
        import sqlalchemy.orm  # noqa: F401  (a beat asks for it, and must not meet it half imported by the work)

        with self.store.transaction() as tx:
            now = database_time(tx)
            row = Worker(self.id, self._name, this_machine(), process_mark(os.getpid()), 0, False, now, now)
            tx.connection.execute(sa.insert(_WORKERS).values(**vars(row)))
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Leaves; what it still held is free at once."""
        self._over.set()
        self._thread.join()
        with suppress(sa.exc.SQLAlchemyError), self.store.transaction() as tx:
            if self._hands:
                tx.connection.execute(sa.update(_WORKERS).where(_WORKERS.c.id == self.id).values(ended=True))
            else:
                tx.connection.execute(sa.delete(_WORKERS).where(_WORKERS.c.id == self.id))

    def hold(self, hand: Hand) -> None:
        self._hands[hand.key] = hand

    def let_go(self, hand: Hand) -> None:
        self._hands.pop(hand.key, None)

    @property
    def hands(self) -> list[Hand]:
        """The jobs it holds now."""
        return list(self._hands.values())

    def beat(self) -> None:
        """One beat: still here, and this is how far each job is. A job that is not ours any more is stopped."""
        with self.store.transaction() as tx:
            at = database_time(tx)
            mine = sa.update(_WORKERS).where(_WORKERS.c.id == self.id)
            there = tx.connection.execute(mine.values(beat=_WORKERS.c.beat + 1, beat_at=at)).rowcount
            for hand in self.hands:
                theirs = sa.update(_JOBS).where(
                    _JOBS.c.key == hand.key, _JOBS.c.worker == self.id, _JOBS.c.state == JobState.RUNNING
                )
                now = {"done": hand.done, "total": hand.total, "doing": hand.doing}
                if tx.connection.execute(theirs.values(**now)).rowcount != 1 and hand.key in self._hands:
                    hand.stop.set()
        if not there:
            self.lost.set()
            for hand in self.hands:
                hand.stop.set()

    def _keep_beating(self) -> None:
        """Whatever one beat fails of, the next is tried: without it a worker in good health is taken for dead."""
        while not self._over.wait(BEAT_SECONDS) and not self.lost.is_set():
            try:
                self.beat()
            except sa.exc.SQLAlchemyError:
                pass  # the database is away: others cannot look either
            except Exception as error:
                _log.warning("one beat failed (%s); trying again", type(error).__name__)


class Watch:
    """Which workers have died? One observer's memory of since when it has looked at which beat."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked = float("-inf")

    def dead(self, workers: Iterable[Worker], now: float, database_now: datetime) -> list[Worker]:
        """Looked at twice a second or so; `now` is a clock of this process that never jumps. After a
        longer pause (the database was away, this machine slept) it begins to look anew."""
        if now - self._looked > PAUSE_SECONDS:
            self._seen = {}
        self._looked = now
        before, self._seen = self._seen, {}
        found = []
        for worker in workers:
            beat, since = before.get(worker.id, (worker.beat, now))
            self._seen[worker.id] = (beat, since) if beat == worker.beat else (worker.beat, now)
            looked = now - self._seen[worker.id][1] >= LOOKED_SECONDS
            silent = STUCK_SECONDS if worker.machine == this_machine() else SILENT_SECONDS
            old = database_now - worker.beat_at >= timedelta(seconds=silent)
            # a beat from the future was written before the database's clock was put back
            if is_gone(worker) or (looked and (old or worker.beat_at > database_now)):
                found.append(worker)
        return found


def everybody(store: Store) -> tuple[list[Worker], datetime]:
    """All workers there are, and the time by the database's clock."""
    with store.reading() as view:
        return view.all(Worker), database_time(view)


def database_time(view: Transaction) -> datetime:
    """SQLite has no clock but ours; whoever shares its file shares this machine's clock."""
    if view.connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = view.connection.scalars(sa.select(sa.func.clock_timestamp())).one()
    return now.astimezone(UTC)


def is_gone(worker: Worker) -> bool:
    """True where that is known without waiting: it said so, or was a process of this machine and is none now."""
    if worker.ended:
        return True
    if worker.machine != this_machine():
        return False
    return process_mark(int(worker.process.split(":")[0])) != worker.process


def is_alive(store: Store, worker_id: str) -> bool:
    """Whether this worker lives; one of another machine is looked at until its beat moves or it is dead."""
    watch, first = Watch(), None
    while True:
        workers, at = everybody(store)
        found = [worker for worker in workers if worker.id == worker_id]
        if not found or watch.dead(found, time.monotonic(), at):
            return False
        first = found[0].beat if first is None else first
        if found[0].machine == this_machine() or found[0].beat != first:
            return True
        time.sleep(BEAT_SECONDS / 2)


def this_machine() -> str:
    """Names the space in which process numbers mean something: this boot of this machine, or container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"


def process_mark(pid: int) -> str:
    """The process and when it began, so that another one with its number is not taken for it; "" if it is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else f"{pid}:{after_name[19]}"
