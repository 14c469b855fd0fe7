"""The tables: one for each record of sandbox.records, column for field, plus our own."""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from sandbox import records

metadata = sa.MetaData()


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Keeps UTC; refuses a time without a zone. SQLite drops zones, so they are put back on reading."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the store carry a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


_TYPES: dict[type, type[sa.types.TypeEngine[Any]]] = {
    str: sa.String,
    int: sa.Integer,
    float: sa.Float,
    bool: sa.Boolean,
    date: sa.Date,
    datetime: UtcDateTime,
}


def _column(name: str, annotation: Any, *, key: bool) -> sa.Column[Any]:
    kinds = [annotation]
    if isinstance(annotation, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    kind = kinds[0]
    nullable = isinstance(annotation, types.UnionType)
    if typing.get_origin(kind) is dict:
        return sa.Column(name, sa.JSON, nullable=nullable)
    if issubclass(kind, StrEnum):
        length = max(len(member) for member in kind)
        column = sa.Enum(
            kind, native_enum=False, length=length, values_callable=lambda e: [str(m) for m in e]
        )
        return sa.Column(name, column, nullable=nullable)
    return sa.Column(name, _TYPES[kind], primary_key=key, nullable=nullable)


def _table(name: str, record: type, *own: sa.schema.SchemaItem) -> sa.Table:
    """One column for each field, then columns of our own, which no record shows."""
    hints = typing.get_type_hints(record)
    names = [f.name for f in fields(record)]
    return sa.Table(name, metadata, *(_column(n, hints[n], key=n == names[0]) for n in names), *own)


def columns(record: type) -> list[sa.Column[Any]]:
    """The columns of a record's table that are its fields, in their order."""
    return [OF_RECORD[record].c[f.name] for f in fields(record)]


OF_RECORD: dict[type, sa.Table] = {
    records.Dataset: _table("datasets", records.Dataset),
    records.Wave: _table("waves", records.Wave),
    records.Submission: _table("submissions", records.Submission),
    records.AdmittedGraph: _table("admitted_graphs", records.AdmittedGraph),
    records.Charge: _table("charges", records.Charge),
    records.TrainingRun: _table("training_runs", records.TrainingRun),
    records.Comparison: _table("comparisons", records.Comparison),
    records.ComparisonResult: _table("comparison_results", records.ComparisonResult),
    records.Incident: _table("incidents", records.Incident),
    records.NoiseMark: _table("noise_marks", records.NoiseMark),
    records.ModelVersion: _table("model_versions", records.ModelVersion),
    records.Evaluation: _table(
        "evaluations",
        records.Evaluation,
        sa.Column("number", sa.Integer, nullable=False),
        sa.UniqueConstraint("number", name="evaluations_by_number"),
    ),
    records.Finding: _table("findings", records.Finding),
    records.Decision: _table("decisions", records.Decision),
    records.Release: _table("releases", records.Release),
    records.Job: _table("jobs", records.Job),
    records.Worker: _table("workers", records.Worker),
}


def _numbers() -> list[sa.Column[Any]]:
    """A value with what stands behind it; NULL unless its status is ok."""
    bounds = [sa.Column(name, sa.Float) for name in ("value", "low", "high")]
    return [
        *bounds,
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String, nullable=False),
    ]


_OWNER = ("model_version", "evaluator", "name", "group", "feature")
series = sa.Table(
    "series",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.String, nullable=False) for name in _OWNER),
    sa.UniqueConstraint(*_OWNER, name="series_once"),
)

measurements = sa.Table(
    "measurements",
    metadata,
    sa.Column("evaluation", sa.ForeignKey("evaluations.number"), primary_key=True),
    sa.Column("series", sa.ForeignKey("series.id"), primary_key=True),
    *_numbers(),
    sa.CheckConstraint("(value IS NOT NULL) = (status = 'ok')", name="a_number_or_a_status"),
    sqlite_with_rowid=False,
)

latest = sa.Table(
    "latest",
    metadata,
    sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("evaluation", sa.Integer, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    *_numbers(),
)

weekly = sa.Table(
    "weekly",
    metadata,
    *(
        sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)
        for name in ("week", "series", "version")
    ),
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("waves", "known")),
    *(sa.Column(name, sa.Float, nullable=False) for name in ("total", "least", "most")),
    sqlite_with_rowid=False,
)

archives = sa.Table(
    "archives",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("folder", sa.String, nullable=False),
    sa.Column("manifest", sa.JSON, nullable=False),
    sa.Column("written_at", UtcDateTime, nullable=False),
    sa.Column("written_by", sa.String, nullable=False),
)

archived = sa.Table(
    "archived",
    metadata,
    sa.Column("evaluation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("archive", sa.String, nullable=False),
)

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("pool", sa.String, primary_key=True),
    sa.Column("epsilon", sa.Float, nullable=False),
    sa.Column("delta", sa.Float, nullable=False),
    sa.Column("rule", sa.JSON, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

_ENDED = sa.text("action = 'training.finish'")
sa.Index("audit_ended_trainings", audit.c.subject, sqlite_where=_ENDED, postgresql_where=_ENDED)
sa.Index("waves_by_dataset", OF_RECORD[records.Wave].c.dataset)
sa.Index("charges_by_pool", OF_RECORD[records.Charge].c.pool)
_EVALUATIONS = OF_RECORD[records.Evaluation].c
sa.Index("evaluations_by_model", _EVALUATIONS.model_version, _EVALUATIONS.evaluator_version)
sa.Index("jobs_by_state", OF_RECORD[records.Job].c.state)
sa.Index("incidents_by_submission", OF_RECORD[records.Incident].c.submission)
sa.Index("findings_by_model", OF_RECORD[records.Finding].c.model_version)

APPEND_ONLY = (
    "audit", "evaluations", "series", "measurements", "decisions", "releases", "tallies", "admitted_graphs",
    "noise_marks", "archives", "archived",
    "comparisons", "comparison_results",
)  # fmt: skip
"""Tables whose rows never change or go: triggers in the database itself refuse it. The one exception: values of an
evaluation that is in an archive may go."""
