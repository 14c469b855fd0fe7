"""How are the values of evaluations kept small and found fast? Written once, read by model, newest or week.

A value is a row of numbers: which evaluation, which series, the value with its interval, how many cases. A
series is one line of a chart: a model version, an evaluator, a measure, a group and a feature, written out
once. `latest` holds the newest value of each series and `weekly` a summary of each week's; both are made from
the values in the same transaction (`recording`) and can be made again, the values themselves are never changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from sandbox.records import Evaluation, Measurement
from sandbox.storage import tables
from sandbox.storage.fixed import as_read

Row = tuple[float | None, float | None, float | None, int, str, int, str]
"""Value, low, high, n and status as in a Measurement, then the series' number and the wave."""

NUMBERS = ("value", "low", "high", "n", "status")

# Made once: making a statement costs more than running it.
_EVALUATIONS, _SERIES, _MEASUREMENTS = tables.OF_RECORD[Evaluation], tables.series, tables.measurements
_MODEL = sa.bindparam("model", type_=sa.String)
_LINES = sa.select(
    _SERIES.c.id, _SERIES.c.evaluator, _SERIES.c.name, _SERIES.c.group, _SERIES.c.feature
).where(_SERIES.c.model_version == _MODEL)
_ROWS = (
    sa.select(
        *(_MEASUREMENTS.c[number] for number in NUMBERS),
        _MEASUREMENTS.c.series,
        _EVALUATIONS.c.wave,
    )
    .join(_EVALUATIONS, _MEASUREMENTS.c.evaluation == _EVALUATIONS.c.number)
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
        sa.select(m.c.evaluation, m.c.series, *(m.c[number] for number in NUMBERS))
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
        values = values.where(_MEASUREMENTS.c.series.in_(lines.with_only_columns(_SERIES.c.id)))
    of = {"model": model_version}
    rows: defaultdict[int, dict[str, Row]] = defaultdict(dict)
    for row in as_read(connection.execute(values, of)):
        rows[row[5]][row[6]] = row
    found = [
        Series(evaluator, called, group, feature, rows[number])
        for number, evaluator, called, group, feature in connection.execute(lines, of)
        if number in rows
    ]
    return sorted(found, key=lambda line: (line.evaluator, line.name, line.group, line.feature))


def latest(
    connection: sa.Connection,
    model_version: str | None = None,
    name: str | None = None,
    group: str | None = "",
) -> list[Newest]:
    """The newest value of every series, or of one model version, name and group; `group` None means all."""
    t, s, e = tables.latest, tables.series, tables.OF_RECORD[Evaluation]
    query = (
        sa.select(s.c.model_version, s.c.evaluator, e.c.wave, t.c.day, *(t.c[n] for n in NUMBERS))
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
    ends = sa.select(*(sa.select(end(t.c.week)).scalar_subquery() for end in (sa.func.min, sa.func.max)))
    first, last = connection.execute(ends).one()
    if first is None:
        return []
    wanted = {"model_version": model_version, "name": name, "group": group, "feature": feature}
    query = (
        sa.select(t.c.week, t.c.waves, t.c.known, t.c.total, t.c.least, t.c.most)
        .join(s, s.c.id == t.c.series)
        .where(*(s.c[column] == value for column, value in wanted.items()))
        .where(
            t.c.week.in_(range(first, last + 1, 7))
        )  # so that they are looked up: weeks come first in the key
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
