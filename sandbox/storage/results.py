"""How are the values of evaluations kept small and found fast? Written once, read by model, newest or week.

A value is a row of numbers: which evaluation, which series, the value with its interval, how many cases. A
series is one line of a chart: a model version, an evaluator, a measure, a group and a feature, written out
once. `latest` holds the newest value of each series and `weekly` a summary of each week's; both are made from
the values in the same transaction and can be made again, the values themselves are never changed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sandbox.records import Evaluation, Measurement, Wave
from sandbox.storage import tables

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

Key = tuple[str, str, str]
"""Name, group and feature."""

Row = tuple[float | None, float | None, float | None, int, str, int, str]
"""Value, low, high, n and status as in a Measurement, then the series' number and the wave."""

_NUMBERS = ("value", "low", "high", "n", "status")

# Made once: making a statement costs more than running it.
_EVALUATIONS, _WAVES, _SERIES = tables.OF_RECORD[Evaluation], tables.OF_RECORD[Wave], tables.series
_FIELDS = tables.columns(Evaluation)
_NEXT = sa.select(
    *(sa.bindparam(column.name, type_=column.type) for column in _FIELDS),
    sa.func.coalesce(sa.func.max(_EVALUATIONS.c.number), 0) + 1,
)
_DAY = sa.select(_WAVES.c.day).where(_WAVES.c.id == sa.bindparam("wave")).scalar_subquery()
_INSERT_EVALUATION = (
    sa.insert(_EVALUATIONS)
    .from_select([*_FIELDS, _EVALUATIONS.c.number], _NEXT)
    .returning(_EVALUATIONS.c.number, _DAY)
)
_INSERT_VALUES = sa.insert(tables.measurements)
_SERIES_OF = sa.select(_SERIES.c.name, _SERIES.c.group, _SERIES.c.feature, _SERIES.c.id).where(
    _SERIES.c.model_version == sa.bindparam("model"), _SERIES.c.evaluator == sa.bindparam("by")
)
_NUMBER = sa.bindparam("number", type_=sa.Integer)
_MODEL = sa.bindparam("model", type_=sa.String)
_LINES = sa.select(
    _SERIES.c.id, _SERIES.c.evaluator, _SERIES.c.name, _SERIES.c.group, _SERIES.c.feature
).where(_SERIES.c.model_version == _MODEL)
_ROWS = (
    sa.select(
        *(tables.measurements.c[number] for number in _NUMBERS),
        tables.measurements.c.series,
        _EVALUATIONS.c.wave,
    )
    .join(_EVALUATIONS, tables.measurements.c.evaluation == _EVALUATIONS.c.number)
    .where(_EVALUATIONS.c.model_version == _MODEL)
    .order_by(_EVALUATIONS.c.evaluator_version)
)


@dataclass(frozen=True)
class Series:
    """One line of a chart: what an evaluator measured under one name, of one group and feature.

    `rows` are by wave, as the database gives them: to make a year's records takes longer than to read it.
    """

    evaluator: str
    name: str
    group: str
    feature: str
    rows: Mapping[str, Row]

    def on(self, wave: str) -> Measurement:
        """What was measured on a wave; raises KeyError where nothing was."""
        value, low, high, n, status = self.rows[wave][:5]
        return Measurement(self.name, value, n, low, high, self.group, self.feature, status)


@dataclass(frozen=True)
class Newest:
    """The newest value of a series: that of its newest wave, by the newest evaluator version."""

    model_version: str
    evaluator: str
    wave: str
    day: date
    measurement: Measurement


@dataclass(frozen=True)
class Week:
    """What a series was in one week, which starts on a Monday; `mean` is None where no wave had a value."""

    start: date
    waves: int
    mean: float | None
    least: float | None
    most: float | None


def record(connection: sa.Connection, evaluation: Evaluation, measured: Iterable[Measurement]) -> None:
    """Stores one evaluation with its values; raises IntegrityError when it is done already."""
    fields = {column.name: getattr(evaluation, column.name) for column in _FIELDS}
    number, day = connection.execute(_INSERT_EVALUATION, fields).one()
    held = [_as_number_or_status(m) for m in measured]
    if not held:
        return
    known = _series(connection, evaluation, held)
    rows = [
        {
            "evaluation": number, "series": known[m.name, m.group, m.feature],
            "value": m.value, "low": m.low, "high": m.high, "n": m.n, "status": m.status,
        }
        for m in held
    ]  # fmt: skip
    connection.execute(_INSERT_VALUES, rows)
    day = day or evaluation.finished_at.date()  # where the wave is not ours
    monday = (day - timedelta(days=day.weekday())).toordinal()
    of_these = {"number": number, "version": evaluation.evaluator_version}
    connection.execute(_newest_wins(connection.dialect.name), {**of_these, "day": day})
    connection.execute(_adds_up(connection.dialect.name), {**of_these, "monday": monday})


def history(
    connection: sa.Connection, model_version: str, wave: str | None = None, name: str | None = None
) -> list[tuple[Evaluation, Measurement]]:
    """The values of a model version with their evaluations, in no order; on one wave or of one name, if given."""
    e, s, m = tables.OF_RECORD[Evaluation], tables.series, tables.measurements
    evaluations = sa.select(e.c.number, *tables.columns(Evaluation)).where(e.c.model_version == model_version)
    series = sa.select(s.c.id, s.c.name, s.c.group, s.c.feature).where(s.c.model_version == model_version)
    if wave is not None:
        evaluations = evaluations.where(e.c.wave == wave)
    if name is not None:
        series = series.where(s.c.name == name)
    done = {row[0]: Evaluation(*row[1:]) for row in connection.execute(evaluations)}
    called = {row[0]: tuple(row[1:]) for row in connection.execute(series)}
    # names are looked up here, not joined there: a row is then seven numbers and a short word
    values = (
        sa.select(m.c.evaluation, m.c.series, *(m.c[number] for number in _NUMBERS))
        .join(e, m.c.evaluation == e.c.number)
        .where(e.c.model_version == model_version)
    )
    if wave is not None:
        values = values.where(e.c.wave == wave)
    if name is not None:
        values = values.where(
            m.c.series.in_(sa.select(s.c.id).where(s.c.model_version == model_version, s.c.name == name))
        )
    found = []
    for number, line, value, low, high, n, status in connection.execute(values).all():
        measure, group, feature = called[line]
        found.append((done[number], Measurement(measure, value, n, low, high, group, feature, status)))
    return found


def series(connection: sa.Connection, model_version: str, name: str | None = None) -> list[Series]:
    """The values of a model version by series, ordered by evaluator, name, group and feature; of one name, if given.

    Of several versions of an evaluator the newest that measured a series on a wave counts.
    """
    lines, values = _LINES, _ROWS
    if name is not None:
        lines = lines.where(_SERIES.c.name == name)
        values = values.where(tables.measurements.c.series.in_(lines.with_only_columns(_SERIES.c.id)))
    of = {"model": model_version}
    rows: defaultdict[int, dict[str, Row]] = defaultdict(dict)
    for row in _as_read(connection.execute(values, of)):
        rows[row[5]][row[6]] = row
    found = [
        Series(evaluator, called, group, feature, rows[number])
        for number, evaluator, called, group, feature in connection.execute(lines, of)
        if number in rows
    ]
    return sorted(found, key=lambda line: (line.evaluator, line.name, line.group, line.feature))


def _as_read(result: sa.CursorResult[Any]) -> list[Any]:
    """The rows as the driver's own tuples: SQLAlchemy's, of numbers and texts alone, take as long again to make."""
    return list(result.cursor.fetchall()) if result.cursor else []


def latest(
    connection: sa.Connection,
    model_version: str | None = None,
    name: str | None = None,
    group: str | None = "",
) -> list[Newest]:
    """The newest value of every series, or of one model version, name and group; `group` None means all."""
    t, s, e = tables.latest, tables.series, tables.OF_RECORD[Evaluation]
    query = (
        sa.select(s.c.model_version, s.c.evaluator, e.c.wave, t.c.day, *(t.c[n] for n in _NUMBERS))
        .add_columns(s.c.name, s.c.group, s.c.feature)
        .join(s, s.c.id == t.c.series)
        .join(e, e.c.number == t.c.evaluation)
    )
    for column, wanted in ((s.c.model_version, model_version), (s.c.name, name), (s.c.group, group)):
        if wanted is not None:
            query = query.where(column == wanted)
    return [
        Newest(model, evaluator, wave, day, Measurement(called, value, n, low, high, of, feature, status))
        for model, evaluator, wave, day, value, low, high, n, status, called, of, feature
        in connection.execute(query)
    ]  # fmt: skip


def weekly(
    connection: sa.Connection, model_version: str, name: str, group: str = "", feature: str = ""
) -> list[Week]:
    """A series by week, oldest first, each by the newest evaluator version that saw it; kept for ever."""
    t, s = tables.weekly, tables.series
    wanted = {"model_version": model_version, "name": name, "group": group, "feature": feature}
    query = (
        sa.select(t.c.week, t.c.waves, t.c.known, t.c.total, t.c.least, t.c.most)
        .join(s, s.c.id == t.c.series)
        .where(*(s.c[column] == value for column, value in wanted.items()))
        .order_by(t.c.week, t.c.version)
    )
    by_week = {row.week: row for row in connection.execute(query)}
    return [
        Week(
            date.fromordinal(row.week), row.waves, row.total / row.known if row.known else None,
            row.least if row.known else None, row.most if row.known else None,
        )
        for row in by_week.values()
    ]  # fmt: skip


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
    rows = connection.execute(_SERIES_OF, {"model": evaluation.model_version, "by": evaluation.evaluator})
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
def _newest_wins(dialect: str) -> sa.Insert:
    """The values of one evaluation (`number`, of this `day` and `version`) that are the newest of their series."""
    t, m = tables.latest, tables.measurements
    here = (sa.bindparam("day", type_=sa.Date), sa.bindparam("version", type_=sa.Integer))
    values = sa.select(m.c.series, m.c.evaluation, *here, *(m.c[name] for name in _NUMBERS))
    insert = _insert(dialect, t).from_select(
        ["series", "evaluation", "day", "version", *_NUMBERS], values.where(m.c.evaluation == _NUMBER)
    )
    changed = {name: insert.excluded[name] for name in ("evaluation", "day", "version", *_NUMBERS)}
    newer = sa.or_(
        t.c.day < insert.excluded.day,
        sa.and_(t.c.day == insert.excluded.day, t.c.version <= insert.excluded.version),
    )
    return insert.on_conflict_do_update(index_elements=[t.c.series], set_=changed, where=newer)


@cache
def _adds_up(dialect: str) -> sa.Insert:
    """The values of one evaluation (`number`) into the sums of the week that starts on this `monday`."""
    t, m = tables.weekly, tables.measurements
    here = (sa.bindparam("monday", type_=sa.Integer), sa.bindparam("version", type_=sa.Integer))
    known = sa.case((m.c.value.is_(None), 0), else_=1)
    ends = (sa.func.coalesce(m.c.value, end) for end in (0.0, FAR, -FAR))
    values = sa.select(m.c.series, *here, sa.literal(1), known, *ends).where(m.c.evaluation == _NUMBER)
    insert = _insert(dialect, t).from_select([column.name for column in t.c], values)
    new = insert.excluded
    changed = {
        "waves": t.c.waves + new.waves, "known": t.c.known + new.known, "total": t.c.total + new.total,
        "least": sa.case((t.c.least < new.least, t.c.least), else_=new.least),
        "most": sa.case((t.c.most > new.most, t.c.most), else_=new.most),
    }  # fmt: skip
    return insert.on_conflict_do_update(index_elements=list(t.primary_key), set_=changed)


FAR = 1.7976931348623157e308
"""Stands for the least and most of no values: any value is nearer."""


def _insert(dialect: str, table: sa.Table) -> PostgresInsert | SqliteInsert:
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgres_insert

    return postgres_insert(table)
