"""How a database is spoken to, so that SQLite and PostgreSQL keep the same promises.

Nothing is left to how a server is set up: order, time zone, isolation and durability are asked for here.
"""

from __future__ import annotations

import json
import sqlite3
import time
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from sandbox.errors import Invalid, Problem, Unfit

WRITER_LOCK = 7362
"""The advisory lock, one in each PostgreSQL database, that makes writers wait for each other."""

WAIT_SECONDS = 30
"""How long a writer waits for the one before it; then OperationalError, and nothing was changed."""

_SESSION = (
    "SET TIME ZONE 'UTC'",
    # A writer whose machine is lost holds the lock until its connection is given up: about a minute.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
# The lock is waited for before the first snapshot is taken, and READ COMMITTED takes a new one for each
# statement: a writer therefore sees all that the writers before it have committed.
_WRITE = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
    "SET LOCAL synchronous_commit = on",
    f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'",
    f"SELECT pg_advisory_xact_lock({WRITER_LOCK})",
)
_READ = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",)


def open_engine(url: str) -> sa.Engine:
    """An engine whose transactions only read one unchanging view, unless begun with `ndl_write`.

    Raises Invalid for what is no URL of SQLite or PostgreSQL, Unfit where the driver is not installed.
    """
    address = parsed(url)
    writes_json = partial(json.dumps, allow_nan=False)  # PostgreSQL refuses NaN in JSON, so SQLite does too
    try:
        if address.get_backend_name() == "sqlite":
            engine = sa.create_engine(address, json_serializer=writes_json)
            _speak_sqlite(engine)
        else:
            engine = sa.create_engine(address, json_serializer=writes_json, pool_pre_ping=True)
            _speak_postgresql(engine)
    except ImportError:
        raise Unfit(
            "PostgreSQL needs the library psycopg; install it, or leave storage.database empty."
        ) from None
    return engine


def parsed(url: str) -> sa.URL:
    """The URL, with our PostgreSQL driver in it; raises Invalid without quoting it: it may hold a password."""
    try:
        address = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise _not_ours("not a URL") from None
    if address.drivername in ("postgres", "postgresql"):
        address = address.set(drivername="postgresql+psycopg")
    if address.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise _not_ours("neither SQLite nor PostgreSQL")
    return address


def _not_ours(what: str) -> Invalid:
    todo = "Write postgresql://USER@HOST/DATABASE or sqlite:////PATH, or leave it empty."
    return Invalid("settings", [Problem("storage.database", what, todo)])


def _speak_sqlite(engine: sa.Engine) -> None:
    @sa_event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        # Without recursive triggers INSERT OR REPLACE would remove history and no trigger would see it.
        for pragma in (
            f"busy_timeout={WAIT_SECONDS * 1000}", "foreign_keys=ON", "synchronous=FULL", "recursive_triggers=ON",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        _write_ahead(connection)

    @sa_event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("ndl_write")
        driver: Any = connection.connection.driver_connection
        # past SQLAlchemy, which takes longer: it waits for nobody and so does not fail
        driver.execute(f"PRAGMA query_only={'OFF' if write else 'ON'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Write-ahead logging, for this file and for ever. SQLite does not wait where another is switching it over."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _speak_postgresql(engine: sa.Engine) -> None:
    @sa_event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.execute("; ".join(_SESSION))
        connection.commit()

    @sa_event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("ndl_write")
        connection.exec_driver_sql("; ".join(_WRITE if write else _READ))

    @sa_event.listens_for(engine, "commit")
    def commit(connection: sa.Connection) -> None:
        """PostgreSQL answers COMMIT after a failed statement by rolling back, and calls that success."""
        if connection.connection.driver_connection.info.transaction_status.name == "INERROR":  # type: ignore[union-attr]
            raise RuntimeError("A failure inside this transaction was passed over; nothing of it is kept.")
