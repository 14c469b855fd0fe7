"""Reads and writes records. Whoever changes something says who and why, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from sandbox import audit
from sandbox.errors import NotFound, Unfit
from sandbox.records import Evaluation, Event, Json, Measurement
from sandbox.storage import recording, results, tables
from sandbox.storage.engine import open_engine
from sandbox.storage.fixed import Fixed
from sandbox.storage.migrate import upgrade

T = TypeVar("T")

# Made once: every change runs them.
_LAST_LINE = Fixed(
    sa.select(tables.audit.c.number, tables.audit.c.hash).order_by(tables.audit.c.number.desc()).limit(1)
)
_ADD_LINE = Fixed(sa.insert(tables.audit))


def utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """One database (SQLite file or PostgreSQL URL). Creating it brings its tables up to date.

    Raises Invalid for a URL of neither, Unfit when the database does not answer.
    """

    def __init__(self, url: str, clock: Callable[[], datetime] = utc_now) -> None:
        self.engine = open_engine(url)
        self.clock = clock
        try:
            upgrade(self.engine)
        except sa.exc.DatabaseError as error:
            self.engine.dispose()
            cause = None if isinstance(error, sa.exc.OperationalError) else error  # it may quote the address
            raise Unfit("The database does not answer as it should; `ndl doctor` says why.") from cause

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything inside happens, or nothing does; writers wait for each other.

        Raises sqlalchemy.exc.OperationalError, with nothing changed, when another writes for 30 seconds.
        """
        with self.engine.connect().execution_options(ndl_write=True) as connection, connection.begin():
            yield Transaction(connection, self.clock)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A consistent view for questions that need more than one query: what others commit meanwhile is
        not seen, and nothing can be changed."""
        with self.engine.connect() as connection, connection.begin():
            yield Transaction(connection, self.clock)

    def get(self, kind: type[T], key: str) -> T:
        """The record with this key; raises NotFound."""
        with self.reading() as view:
            return view.get(kind, key)

    def all(self, kind: type[T], **equal: object) -> list[T]:
        """The records whose fields equal these values, ordered by key."""
        with self.reading() as view:
            return view.all(kind, **equal)

    def audit_lines(self) -> list[audit.Line]:
        """The whole audit log, oldest first."""
        with self.reading() as view:
            return view.audit_lines()

    def change_number(self) -> int:
        """Grows with every change anywhere: what a live page polls."""
        with self.engine.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.max(tables.audit.c.number))) or 0)

    def close(self) -> None:
        self.engine.dispose()


class Transaction:
    """What can be asked and changed inside one transaction."""

    def __init__(self, connection: sa.Connection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self.clock = clock

    def get(self, kind: type[T], key: str) -> T:
        table = tables.OF_RECORD[kind]
        query = sa.select(*tables.columns(kind)).where(_key(table) == key)
        row = self.connection.execute(query).one_or_none()
        if row is None:
            known = self.connection.scalars(sa.select(_key(table)).order_by(*self._by(_key(table))).limit(20))
            raise NotFound(_words(kind), key, known)
        return kind(**row._mapping)

    def all(self, kind: type[T], **equal: object) -> list[T]:
        table = tables.OF_RECORD[kind]
        query = sa.select(*tables.columns(kind)).where(*(table.c[n] == value for n, value in equal.items()))
        rows = self.connection.execute(query.order_by(*self._by(_key(table))))
        return [kind(**row._mapping) for row in rows]

    def add(self, record: Any, event: Event) -> None:
        """Stores a new record; raises sqlalchemy.exc.IntegrityError when its key exists."""
        self.connection.execute(sa.insert(tables.OF_RECORD[type(record)]).values(**_values(record)))
        self.log(event)

    def change(self, kind: type[T], key: str, event: Event, /, **values: object) -> T:
        """Sets these fields of one record and returns it as it is now; raises NotFound."""
        table = tables.OF_RECORD[kind]
        if self.connection.execute(sa.update(table).where(_key(table) == key).values(**values)).rowcount != 1:
            raise NotFound(_words(kind), key)
        self.log(event)
        return self.get(kind, key)

    def add_evaluation(
        self, evaluation: Evaluation, measurements: Iterable[Measurement], event: Event
    ) -> None:
        """Stores one evaluation with its measurements; raises IntegrityError when it is done already."""
        recording.record(self.connection, evaluation, measurements)
        self.log(event)

    def measurements(
        self, model_version: str, wave: str | None = None, name: str | None = None
    ) -> list[tuple[Evaluation, Measurement]]:
        """The measurements of a model version, with their evaluations, ordered by wave, evaluator and name;
        those on one wave or of one name, if given."""
        found = results.history(self.connection, model_version, wave, name)
        return sorted(found, key=lambda one: (one[0].wave, one[0].evaluator, *_series_of(one[1])))

    def series(self, model_version: str, name: str | None = None) -> list[results.Series]:
        """The same by series and wave, of the newest evaluator version: what a page of a model draws, and read in
        half the time."""
        return results.series(self.connection, model_version, name)

    def latest(
        self, model_version: str | None = None, name: str | None = None, group: str | None = ""
    ) -> list[results.Newest]:
        """The newest value of every series, or of one model version, name and group (None: all groups)."""
        return results.latest(self.connection, model_version, name, group)

    def weekly(self, model_version: str, name: str, group: str = "", feature: str = "") -> list[results.Week]:
        """A series by week, oldest first; kept when the values themselves are archived."""
        return results.weekly(self.connection, model_version, name, group, feature)

    def put_tally(self, key: str, content: bytes) -> None:
        """Keeps a tally's bytes; the same key twice keeps the first: a tally is a function of its key."""
        exists = self.connection.scalar(sa.select(tables.tallies.c.id).where(tables.tallies.c.id == key))
        if exists is None:
            self.connection.execute(sa.insert(tables.tallies).values(id=key, content=content))

    def tally(self, key: str) -> bytes | None:
        return self.connection.scalar(sa.select(tables.tallies.c.content).where(tables.tallies.c.id == key))

    def log(self, event: Event) -> None:
        """Appends one line to the audit log."""
        last = _LAST_LINE.run(self.connection, {})
        number, previous = (last[0][0] + 1, last[0][1]) if last else (1, audit.GENESIS)
        at = self.clock()
        rest = (event.by, event.action, event.subject, event.reason, event.details)
        line = {
            "number": number, "at": at, **vars(event), "previous": previous,
            "hash": audit.line_hash(previous, number, at, rest),
        }  # fmt: skip
        _ADD_LINE.run(self.connection, line)

    def audit_lines(self, last: int | None = None) -> list[audit.Line]:
        """The audit log, oldest first: all of it, or its last lines."""
        log = tables.audit
        rows = self.connection.execute(sa.select(log).order_by(log.c.number.desc()).limit(last))
        return [audit.Line(**row._mapping) for row in reversed(rows.all())]

    def details(self, action: str, subject: str) -> Json:
        """What the audit log's last line about this action and subject has beside the reason; {} without one."""
        log = tables.audit
        # written into the statement, so that an index of one action serves
        said: sa.BindParameter[str] = sa.bindparam("action", action, literal_execute=True)
        found = sa.select(log.c.details).where(log.c.action == said, log.c.subject == subject)
        return self.connection.scalar(found.order_by(log.c.number.desc()).limit(1)) or {}

    def _by(self, *texts: sa.ColumnElement[str]) -> list[sa.ColumnElement[str]]:
        """Texts to order by, letter for letter: a PostgreSQL server may be set to a dictionary's order."""
        if self.connection.dialect.name == "sqlite":
            return list(texts)
        return [text.collate("C") for text in texts]


def _series_of(m: Measurement) -> tuple[str, str, str]:
    return m.name, m.group, m.feature


def _key(table: sa.Table) -> sa.Column[Any]:
    return next(iter(table.primary_key.columns))


def _values(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


def _words(kind: type) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in kind.__name__).strip()
