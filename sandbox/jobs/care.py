"""Who sees to the dead, and to what waits? Every worker and scheduler, twice a second.

It looks for workers that died and frees what they held, and makes sure that the engine knows of every job
that waits. All of that may be done by several at once, or be cut off anywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import sqlalchemy as sa

from sandbox.engine import Engine
from sandbox.jobs import claims
from sandbox.jobs.kinds import Kind
from sandbox.jobs.presence import Presence, Watch, everybody
from sandbox.lifecycle import JobState
from sandbox.records import Job, Worker
from sandbox.storage import Store

_WINDOW = 500
_MEND_SECONDS, _STRAY_SECONDS, _FORGET_SECONDS = 2.0, 5.0, 3600.0
_log = logging.getLogger(__name__)


class Care:
    """What one process does of it; `me` is its own presence, which it never takes for dead."""

    def __init__(
        self, store: Store, engine: Engine, kinds: Mapping[str, Kind], me: Presence | None = None
    ) -> None:
        self._store, self._engine, self._kinds = store, engine, kinds
        self._me, self._astray = me, dict[str, float]()
        self._watch, self._mended, self._forgot = Watch(), float("-inf"), time.monotonic()

    def look(self) -> None:
        """Once; trouble with the database is left to the next time."""
        now = time.monotonic()
        try:
            freed = reap(self._store, self._engine, self._watch, self._kinds, self._me.id if self._me else "")
            if freed or now - self._mended >= _MEND_SECONDS:
                self._mended = now
                if self._me:
                    self._find_strays(self._me, now)
                mend(self._store, self._engine, self._kinds)
            if now - self._forgot > _FORGET_SECONDS:
                self._forgot = now
                claims.forget(self._store)
                self._engine.forget(self._store.clock() - claims.KEPT)
        except sa.exc.SQLAlchemyError as error:
            _log.warning("the database does not answer (%s); trying again", type(error).__name__)

    def _find_strays(self, me: Presence, now: float) -> None:
        """Gives back what is ours by the tables and has been nobody's for a while: it ended, or was never begun,
        while the database was away."""
        strays = self._engine.strays(me.id)
        held = {hand.key for hand in me.hands}
        running = [
            job for job in self._store.all(Job, worker=me.id, state=JobState.RUNNING) if job.key not in held
        ]
        names = [*strays, *(job.key for job in running)]
        self._astray = {name: self._astray.get(name, now) for name in names}
        for name in names:
            if now - self._astray[name] >= _STRAY_SECONDS:
                if name in strays:
                    self._engine.put_back(name, strays[name])
                else:
                    claims.give_up(me, name)
                _log.info("%s was nobody's and waits again", name)


def reap(store: Store, engine: Engine, watch: Watch, kinds: Mapping[str, Kind], me: str = "") -> list[str]:
    """Frees what dead workers held, and returns their ids. Its order makes it safe to die anywhere in it: only
    when all is free again is the dead worker's row removed, under the lock that lets one do this at a time."""
    freed = []
    workers, at = everybody(store)
    for dead in watch.dead(workers, time.monotonic(), at):
        if dead.id == me:
            continue
        with store.transaction() as tx:
            if tx.all(Worker, id=dead.id):
                engine.hand_back(dead.id)
                claims.bury(tx, dead.id, kinds)
                freed.append(dead.id)
                _log.info("worker %s died; what it held is free", dead.name)
    return freed


def mend(store: Store, engine: Engine, kinds: Mapping[str, Kind]) -> int:
    """Makes the engine know of the jobs that have waited longest; returns how many it did not know of."""
    jobs = [job for job in claims.waiting(store, _WINDOW) if job.kind in kinds]
    known = engine.known((job.key, job.attempt) for job in jobs)
    alive = {worker.id for worker in store.all(Worker)} if jobs else set()
    asked = 0
    for job in jobs:
        queue, found = kinds[job.kind].queue, known.get((job.key, job.attempt))
        if found is None:
            engine.enqueue(queue, job.key, job.attempt)
        elif not found.open:
            engine.enqueue(queue, job.key, claims.renew(store, job.key, job.attempt), soon=True)
            _log.info("%s#%d was over in the engine and still waits", job.key, job.attempt)
        elif found.executor and found.executor not in alive:
            engine.hand_back(found.executor)
        else:
            continue
        asked += 1
    return asked
