"""Who keeps what was asked for until it is done, whatever is killed when? DBOS, behind this one door.

SQLite on one machine, PostgreSQL on many: only the address differs. What DBOS knows of a job is its key and
attempt; what the job is, who holds it and how far it is, our own `jobs` table says (sandbox.jobs).

What is done differently from its defaults, and why: values are portable JSON, since its own serializer
unpickles what the database says; each process has an executor id of its own; whoever dies is reaped by us,
since only its vendor's hosted service would; no telemetry, and no variable can turn any on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from sandbox.settings import Settings
from sandbox.storage.engine import parsed

if TYPE_CHECKING:
    from dbos import DBOSClient

T = TypeVar("T")

SHARDS = "shards"
QUEUES = {"trainings": 1, "evaluations": 2, SHARDS: 2}
"""Each queue, and how many of its jobs one worker fetches. One of a queue is worked on at a time; the other is
at hand when it ends, since a queue is looked at only once in POLL_SECONDS. Parents wait for their shards, so
shards have a queue of their own."""

POLL_SECONDS = 0.5
NAME = "ndl-sandbox"
VERSION = "1"
"""The same for every build: a job is named by its key, so any worker may finish what another began."""
_JOB, _SHARD = "ndl.job", "ndl.shard"
_OPEN = ("ENQUEUED", "DELAYED", "PENDING")
_AT_ONCE = 500
_SESSION = (
    "-c default_transaction_isolation=read\\ committed -c timezone=UTC -c synchronous_commit=on "
    "-c idle_in_transaction_session_timeout=60000"
)


@dataclass(frozen=True)
class Known:
    """What DBOS knows of one attempt: still `open`, and which executor has fetched it, if one has."""

    open: bool
    executor: str


class Engine:
    """What can be asked of the engine without doing any work oneself."""

    def __init__(self, settings: Settings) -> None:
        """Raises Invalid for an address of neither database; makes or updates DBOS's own tables."""
        _no_calling_out()
        from dbos import DBOSClient, DBOSPortableJSONSerializer

        self.database = _database(address(settings))
        self._client: DBOSClient = DBOSClient(
            system_database_engine=self.database, serializer=DBOSPortableJSONSerializer(),
            application_name=NAME, retry_connection_errors=False,
        )  # fmt: skip
        self._client._sys_db.run_migrations()

    def enqueue(self, queue: str, key: str, attempt: int, *, soon: bool = False) -> None:
        """Asks for one attempt of a job, before those that wait if it is wanted `soon`; asking again changes
        nothing."""
        self._client.enqueue(
            {"queue_name": queue, "workflow_name": _JOB, "workflow_id": _id(key, attempt),
             "app_version": VERSION, "priority": 1 if soon else 2}, key, attempt,
        )  # fmt: skip

    def known(self, attempts: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Known]:
        """Those of these attempts that DBOS has heard of."""
        wanted, found = {_id(*attempt): attempt for attempt in attempts}, {}
        ids = list(wanted)
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            for w in self._client.list_workflows(workflow_ids=some, load_input=False, load_output=False):
                executor = w.executor_id or "" if w.status == "PENDING" else ""
                found[wanted[w.workflow_id]] = Known(w.status in _OPEN, executor)
        return found

    def hand_back(self, executor: str) -> int:
        """Puts all that an executor had fetched back into its queues; returns how much that was."""
        fetched = self._client.list_workflows(
            status="PENDING", executor_id=executor, load_input=False, load_output=False
        )
        for workflow in fetched:
            self._client.resume_workflow(workflow.workflow_id, queue_name=workflow.queue_name)
        return len(fetched)

    def strays(self, executor: str) -> dict[str, str]:
        """What this process has fetched as `executor` and does not do, with its queue: while the database was
        away an attempt may end without anybody having been able to write that down."""
        fetched = self._client.list_workflows(
            status="PENDING", executor_id=executor, load_input=False, load_output=False
        )
        return {w.workflow_id: w.queue_name or "" for w in fetched if w.workflow_id not in _doing}

    def put_back(self, workflow: str, queue: str) -> None:
        """Puts one stray back into its queue."""
        self._client.resume_workflow(workflow, queue_name=queue or None)

    def forget(self, before: datetime) -> int:
        """Removes what ended before then; returns how many were removed, at most a few hundred at once."""
        over = self._client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"], completed_before=before.isoformat(), limit=_AT_ONCE,
            load_input=False, load_output=False,
        )  # fmt: skip
        self._client.delete_workflows([workflow.workflow_id for workflow in over])
        return len(over)

    def close(self) -> None:
        self._client.destroy()
        self.database.dispose()


class Steps:
    """What a job does in steps: a step that has ended is not done again when another worker goes on."""

    def __init__(self, job: str) -> None:
        self._job = job

    def once(self, name: str, step: Callable[[], T]) -> T:
        """The step's result, which is JSON."""
        from dbos import DBOS

        result: T = DBOS.run_step({"name": name}, step)
        return result

    def shards(self, key: str, shards: list[dict[str, Any]]) -> None:
        """Has every shard done, by whichever workers are free, and waits for them."""
        from dbos import DBOS, SetWorkflowID

        handles = []
        for number, shard in enumerate(shards):
            with SetWorkflowID(f"{self._job}/{number}"):
                handles.append(DBOS.enqueue_workflow(SHARDS, _workflows()[1], key, shard))
        for handle in handles:
            handle.get_result(polling_interval_sec=POLL_SECONDS)


@contextmanager
def working(
    engine: Engine,
    executor: str,
    perform: Callable[[str, int, Steps], str],
    shard: Callable[[str, dict[str, Any]], str],
    queues: Iterable[str] = QUEUES,
) -> Iterator[None]:
    """Inside, this process does what is in these queues: `perform(key, attempt, steps)` and
    `shard(key, arguments)`, in threads of its own. One process, one executor id, never used again."""
    from dbos import DBOS, DBOSPortableJSONSerializer

    global _perform, _do_shard
    _perform, _do_shard = perform, shard
    _workflows()
    DBOS(
        config={
            "name": NAME, "executor_id": executor, "application_version": VERSION, "log_level": "WARNING",
            "system_database_engine": engine.database, "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False, "run_migrations": True, "scheduler_polling_interval_sec": 3600.0,
        }
    )  # fmt: skip
    try:
        DBOS.listen_queues(list(queues))
        DBOS.launch()
        for name, at_once in QUEUES.items():
            DBOS.register_queue(
                name, worker_concurrency=at_once, polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )  # fmt: skip
        yield
    finally:
        DBOS.destroy()


def address(settings: Settings) -> sa.URL:
    """Where DBOS keeps its tables: a schema `dbos` of our PostgreSQL, or a SQLite file beside ours."""
    own = parsed(settings.database_url)
    if own.get_backend_name() == "sqlite":
        return parsed(f"sqlite:///{settings.storage.folder.absolute()}/engine.db")
    return own


_perform: Callable[[str, int, Steps], str]
_do_shard: Callable[[str, dict[str, Any]], str]
_registered: list[Any] = []
_doing: set[str] = set()


@contextmanager
def _noted() -> Iterator[None]:
    """Notes what this process really does."""
    from dbos import DBOS

    workflow = str(DBOS.workflow_id)
    _doing.add(workflow)
    try:
        yield
    finally:
        _doing.discard(workflow)


def _workflows() -> list[Any]:
    """Our two workflows, registered once in a process: DBOS keeps its registry for good."""
    from dbos import DBOS

    if not _registered:

        @DBOS.workflow(name=_JOB, max_recovery_attempts=None)
        def job(key: str, attempt: int) -> str:
            with _noted():
                return _perform(key, attempt, Steps(_id(key, attempt)))

        @DBOS.workflow(name=_SHARD, max_recovery_attempts=None)
        def shard(key: str, arguments: dict[str, Any]) -> str:
            with _noted():
                return _do_shard(key, arguments)

        _registered.extend((job, shard))
    return _registered


def _id(key: str, attempt: int) -> str:
    return f"{key}#{attempt}"


def _no_calling_out() -> None:
    """DBOS's variables could name a service to call, and its default serializer unpickles: neither happens here."""
    for name in [name for name in os.environ if name.startswith(("DBOS_", "OTEL_"))]:
        del os.environ[name]
    from dbos import _serialization

    def refuse(_self: object, _text: str) -> Any:
        raise ValueError("a value of the engine's tables is a pickle, which is never read")

    _serialization.DefaultSerializer.deserialize = refuse  # type: ignore[assignment]


def _database(url: sa.URL) -> sa.Engine:
    """An engine for DBOS that leaves nothing to how a server is set up."""
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(
            url, pool_size=4, max_overflow=12, pool_timeout=30, pool_pre_ping=True,
            connect_args={"options": _SESSION, "connect_timeout": 10, "application_name": NAME,
                          "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
        )  # fmt: skip
    engine = sa.create_engine(url, pool_size=4, max_overflow=12, pool_timeout=30)

    @sa_event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"  # writers of several processes wait for each other
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
