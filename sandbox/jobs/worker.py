"""What does a worker do? Whatever is asked for, one thing of each queue at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sandbox.engine import QUEUES, SHARDS, Engine, Steps, working
from sandbox.jobs import claims
from sandbox.jobs.care import Care
from sandbox.jobs.claims import DONE, Outcome
from sandbox.jobs.kinds import Kind, all_kinds
from sandbox.jobs.presence import LOOK_SECONDS, Hand, Presence, Stopped, is_alive
from sandbox.lifecycle import JobState
from sandbox.records import Job, Json

if TYPE_CHECKING:
    from sandbox.api import Sandbox

GRACE_SECONDS = 5.0
"""What is being done when a worker is told to stop may take so long to end; then it is left to others."""
_log = logging.getLogger(__name__)


class WorkerAtWork:
    """One worker: its presence, the engine, and the turns that keep it at one thing of a queue at a time."""

    def __init__(self, box: Sandbox, engine: Engine, presence: Presence, kinds: Mapping[str, Kind]) -> None:
        self._box, self._engine, self._presence, self._kinds = box, engine, presence, kinds
        self._turns = {queue: threading.Lock() for queue in QUEUES if queue != SHARDS}
        self._turns[SHARDS] = self._turns["evaluations"]
        self._leaving, self._gone = threading.Event(), threading.Event()

    def perform(self, key: str, attempt: int, steps: Steps) -> str:
        """What the engine calls for one attempt of a job, and again after a death in the middle of it."""
        kind = self._kinds.get(key.split("|")[0])
        if kind is None:
            return "unknown here"
        self._until_its_holder_is_buried(key, attempt)
        with self._turn(kind.queue):
            hand = claims.take(self._presence, key, attempt)
            if hand is None:
                _log.info("%s#%d is not ours", key, attempt)
                return "elsewhere"
            _log.info("%s#%d begins", key, attempt)
            job = self._box.store.get(Job, key)
        try:
            with claims.in_hand(hand):
                outcome = self._do(kind, job.arguments, hand, steps)
        except BaseException:  # the engine lost it, or gave it to somebody else
            claims.end(self._presence, hand, Outcome(JobState.WAITING, "the engine gave it up"))
            raise
        claims.end(self._presence, hand, outcome)
        _log.info("%s#%d is %s", key, attempt, outcome.state)
        return str(outcome.state)

    def shard(self, key: str, arguments: dict[str, Any]) -> str:
        """One shard of a job: done ahead, by whoever is free. What fails here is found again by the job itself."""
        kind = self._kinds.get(key.split("|")[0])
        with self._turn(SHARDS):
            jobs = self._box.store.all(Job, key=key)
            if kind is None or not jobs or jobs[0].state in claims.OVER:
                return "not wanted"  # while its parent waits for another worker, it is
            try:
                kind.shard(self._box, arguments)
            except Exception as error:
                _log.warning("a shard of %s: %s", key, type(error).__name__)
                return "failed"
        return "done"

    def leave(self) -> None:
        """Takes nothing new, lets what is being done end if that is soon, and gives the rest back."""
        self._leaving.set()
        until = time.monotonic() + GRACE_SECONDS
        while self._presence.hands and time.monotonic() < until and not self._presence.lost.is_set():
            time.sleep(0.05)
        with self._box.store.transaction() as tx:
            self._engine.hand_back(self._presence.id)
            claims.bury(tx, self._presence.id, self._kinds, died=False)
        self._gone.set()

    def _do(self, kind: Kind, arguments: Json, hand: Hand, steps: Steps) -> Outcome:
        with self._turn(kind.queue):
            shards = steps.once("plan", lambda: _planned(kind, self._box, arguments))
        if len(shards) > 1:
            steps.shards(hand.key, shards)
        with self._turn(kind.queue):
            state, note, troubled = steps.once("run", lambda: _run(kind, self._box, arguments, hand))
        return Outcome(JobState(state), note, troubled)

    def _until_its_holder_is_buried(self, key: str, attempt: int) -> None:
        """Whoever sees to the dead gives their jobs back to the engine first, and may itself die before it says
        so in their rows: then this one would not be ours, though nobody else's. Another one soon says it."""
        while True:
            jobs = [job for job in self._box.store.all(Job, key=key) if job.state is JobState.RUNNING]
            if not jobs or jobs[0].attempt != attempt or is_alive(self._box.store, jobs[0].worker):
                return
            time.sleep(LOOK_SECONDS / 2)

    @contextmanager
    def _turn(self, queue: str) -> Iterator[None]:
        """One thing at a time; whoever comes when the worker leaves is somebody else's."""
        with self._turns[queue]:
            if self._leaving.is_set():
                self._gone.wait()
                raise Stopped
            yield


def work(
    box: Sandbox,
    stop: threading.Event,
    *,
    kinds: Mapping[str, Kind] | None = None,
    queues: tuple[str, ...] = tuple(QUEUES),
    ready: Callable[[str], None] = lambda _: None,
    left: Callable[[], None] = lambda: None,
) -> bool:
    """Works until `stop` is set; False when this process was taken for dead and must end.

    `ready` is told this worker's id; `left` is called when all has been given back: a command ends its
    process there, since whatever a thread still does is nobody's any more.
    """
    engine = Engine(box.settings)
    kinds = all_kinds() if kinds is None else kinds
    presence = Presence(box.store)
    with presence:
        worker = WorkerAtWork(box, engine, presence, kinds)
        with working(engine, presence.id, worker.perform, worker.shard, queues):
            ready(presence.id)
            care = Care(box.store, engine, kinds, presence)
            while not stop.is_set() and not presence.lost.is_set():
                care.look()
                stop.wait(LOOK_SECONDS)
            lost = presence.lost.is_set()
            if not lost:
                worker.leave()
            left()
    engine.close()
    return not lost


def _planned(kind: Kind, box: Sandbox, arguments: Json) -> list[Json]:
    try:
        return kind.plan(box, arguments)
    except Exception as error:  # the job itself will meet it, and say so
        _log.warning("%s could not be planned: %s", kind.name, type(error).__name__)
        return []


def _run(kind: Kind, box: Sandbox, arguments: Json, hand: Hand) -> tuple[str, str, bool]:
    """Raises nothing: what the engine stores of an error could quote a record."""
    try:
        kind.run(box, arguments, hand)
        outcome = DONE
    except (Exception, Stopped) as error:
        outcome = claims.outcome_of(error)
        _log.warning("%s: %s", hand.key, outcome.note)
    return str(outcome.state), outcome.note, outcome.troubled
