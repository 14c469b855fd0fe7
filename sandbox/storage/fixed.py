"""How is a statement that never changes run without being put together anew? It is compiled once for each database.

At every use SQLAlchemy goes through the parts of a statement to find what it compiled, and through the types of what
it gives and gets: some 40 microseconds, several times what SQLite takes to run one of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

Turn = Callable[[Any], Any]


class Fixed:
    """A statement of named parameters, or what makes it for a dialect's name."""

    def __init__(self, statement: sa.ClauseElement | Callable[[str], sa.ClauseElement]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, given: Mapping[str, object]) -> list[Any]:
        """Runs it with a value for each parameter; gives the rows as the driver has them, of its own types.

        Raises SQLAlchemy's error for any of the driver's.
        """
        dialect = connection.dialect
        if (compiled := self._compiled.get(dialect.name)) is None:
            made = self._statement(dialect.name) if callable(self._statement) else self._statement
            compiled = self._compiled[dialect.name] = _compile(made, dialect)
        return as_read(connection.exec_driver_sql(compiled.words, compiled.parameters(given)))


def as_read(result: sa.CursorResult[Any]) -> list[Any]:
    """The rows as the driver's own tuples: SQLAlchemy's, of numbers and texts alone, take as long again to make."""
    with result:
        return list(result.cursor.fetchall()) if result.returns_rows and result.cursor else []


@dataclass(frozen=True)
class _Compiled:
    words: str
    constants: Mapping[str, object]
    turns: Mapping[str, Turn]
    """How the driver wants a value, where it wants another than ours."""
    order: tuple[str, ...] | None
    """Of the parameters, where the driver takes them by place."""

    def parameters(self, given: Mapping[str, object]) -> Any:
        values = {**self.constants, **given}
        for name, turn in self.turns.items():
            values[name] = turn(values[name])
        return values if self.order is None else tuple([values[name] for name in self.order])


def _compile(statement: sa.ClauseElement, dialect: sa.Dialect) -> _Compiled:
    made = cast(SQLCompiler, statement.compile(dialect=dialect))
    constants = {name: bind.value for name, bind in made.binds.items() if not bind.required}
    turns = {
        name: turn
        for name, bind in made.binds.items()
        if (turn := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    return _Compiled(str(made), constants, turns, tuple(made.positiontup or ()) if made.positional else None)
