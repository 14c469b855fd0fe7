"""How is an evaluation written, once and whole, with the newest and the week's values that follow from it?

In one transaction its key, which may be there only once, its values, then `latest` and `weekly` from these values, in
few statements, each of them made once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sandbox.records import Evaluation, Measurement, Wave
from sandbox.storage import tables
from sandbox.storage.fixed import Fixed
from sandbox.storage.results import NUMBERS

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

Key = tuple[str, str, str]
"""Name, group and feature."""

FAR = 1.7976931348623157e308
"""Stands for the least and most of no values: any value is nearer."""

_EVALUATIONS, _WAVES, _SERIES = tables.OF_RECORD[Evaluation], tables.OF_RECORD[Wave], tables.series
_FIELDS = tables.columns(Evaluation)
_NEXT = sa.select(
    *(sa.bindparam(column.name, type_=column.type) for column in _FIELDS),
    sa.func.coalesce(sa.func.max(_EVALUATIONS.c.number), 0) + 1,
)
_DAY = sa.select(_WAVES.c.day).where(_WAVES.c.id == sa.bindparam("wave")).scalar_subquery()
_INSERT_EVALUATION = Fixed(
    sa.insert(_EVALUATIONS)
    .from_select([*_FIELDS, _EVALUATIONS.c.number], _NEXT)
    .returning(_EVALUATIONS.c.number, _DAY)
)
_SERIES_OF = Fixed(
    sa.select(_SERIES.c.name, _SERIES.c.group, _SERIES.c.feature, _SERIES.c.id).where(
        _SERIES.c.model_version == sa.bindparam("model_version"),
        _SERIES.c.evaluator == sa.bindparam("evaluator"),
    )
)
_NUMBER = sa.bindparam("number", type_=sa.Integer)


def record(connection: sa.Connection, evaluation: Evaluation, measured: Iterable[Measurement]) -> None:
    """Stores one evaluation with its values; raises IntegrityError when it is done already."""
    [(number, day)] = _INSERT_EVALUATION.run(connection, vars(evaluation))
    held = [_as_number_or_status(m) for m in measured]
    if not held:
        return
    known = _series(connection, evaluation, held)
    rows = [(number, known[m.name, m.group, m.feature], m.value, m.low, m.high, m.n, m.status) for m in held]
    connection.exec_driver_sql(_insert_values(connection.dialect.name), rows)
    # SQLite's driver has days as text; where the wave is not ours, the evaluation's own day stands for it
    day = date.fromisoformat(str(day or evaluation.finished_at.date()))
    monday = (day - timedelta(days=day.weekday())).toordinal()
    of_these = {"number": number, "version": evaluation.evaluator_version}
    _NEWEST.run(connection, {**of_these, "day": day})
    _WEEKLY.run(connection, {**of_these, "monday": monday})


def _as_number_or_status(m: Measurement) -> Measurement:
    """A value that is no finite number is the status `undefined`; a bound that is none is absent."""
    if m.value is None or not math.isfinite(m.value):
        return replace(
            m, value=None, low=None, high=None, status="undefined" if m.status == "ok" else m.status
        )
    if m.status != "ok":
        raise ValueError(f"the measurement {m.name!r} has a value and the status {m.status!r}")
    low, high = _finite(m.low), _finite(m.high)
    return m if low is m.low and high is m.high else replace(m, low=low, high=high)


def _finite(bound: float | None) -> float | None:
    return bound if bound is not None and math.isfinite(bound) else None


def _series(connection: sa.Connection, evaluation: Evaluation, held: list[Measurement]) -> Mapping[Key, int]:
    """The numbers of these measurements' series; those never seen get the next ones."""
    s = tables.series
    owner = {"model_version": evaluation.model_version, "evaluator": evaluation.evaluator}
    rows = _SERIES_OF.run(connection, owner)
    known: dict[Key, int] = {(name, group, feature): number for name, group, feature, number in rows}
    new = [key for key in dict.fromkeys((m.name, m.group, m.feature) for m in held) if key not in known]
    if new:
        last = connection.scalar(sa.select(sa.func.max(s.c.id))) or 0
        known |= {key: last + at for at, key in enumerate(new, 1)}
        added = [
            {"id": known[key], **owner, **dict(zip(("name", "group", "feature"), key, strict=True))}
            for key in new
        ]
        connection.execute(sa.insert(s), added)
    return known


@cache
def _insert_values(dialect: str) -> str:
    """As the driver takes it: what SQLAlchemy does to each row of numbers takes longer than to insert it."""
    names, mark = tables.measurements.c.keys(), "?" if dialect == "sqlite" else "%s"
    return f"INSERT INTO measurements ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))})"


def _newest_wins(dialect: str) -> sa.Insert:
    """The values of one evaluation (`number`, of this `day` and `version`) that are the newest of their series."""
    t, m = tables.latest, tables.measurements
    here = (sa.bindparam("day", type_=sa.Date), sa.bindparam("version", type_=sa.Integer))
    values = sa.select(m.c.series, m.c.evaluation, *here, *(m.c[name] for name in NUMBERS))
    insert = _insert(dialect, t).from_select(
        ["series", "evaluation", "day", "version", *NUMBERS], values.where(m.c.evaluation == _NUMBER)
    )
    changed = {name: insert.excluded[name] for name in ("evaluation", "day", "version", *NUMBERS)}
    newer = sa.or_(
        t.c.day < insert.excluded.day,
        sa.and_(t.c.day == insert.excluded.day, t.c.version <= insert.excluded.version),
    )
    return insert.on_conflict_do_update(index_elements=[t.c.series], set_=changed, where=newer)


def _adds_up(dialect: str) -> sa.Insert:
    """The values of one evaluation (`number`) into the sums of the week that starts on this `monday`."""
    t, m = tables.weekly, tables.measurements
    here = (sa.bindparam("monday", type_=sa.Integer), sa.bindparam("version", type_=sa.Integer))
    known = sa.case((m.c.value.is_(None), 0), else_=1)
    ends = (sa.func.coalesce(m.c.value, end) for end in (0.0, FAR, -FAR))
    values = sa.select(here[0], m.c.series, here[1], sa.literal(1), known, *ends).where(
        m.c.evaluation == _NUMBER
    )
    insert = _insert(dialect, t).from_select([column.name for column in t.c], values)
    new = insert.excluded
    changed = {
        "waves": t.c.waves + new.waves, "known": t.c.known + new.known, "total": t.c.total + new.total,
        "least": sa.case((t.c.least < new.least, t.c.least), else_=new.least),
        "most": sa.case((t.c.most > new.most, t.c.most), else_=new.most),
    }  # fmt: skip
    return insert.on_conflict_do_update(index_elements=list(t.primary_key), set_=changed)


def _insert(dialect: str, table: sa.Table) -> PostgresInsert | SqliteInsert:
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgres_insert

    return postgres_insert(table)


_NEWEST, _WEEKLY = Fixed(_newest_wins), Fixed(_adds_up)
