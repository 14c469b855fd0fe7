"""Values of evaluations as rows of numbers, with the newest and a weekly summary of each series; archives."""

import sqlalchemy as sa
from alembic import op

from sandbox.storage.tables import UtcDateTime

revision = "0006"
down_revision = "0005"

_NUMBERS = (
    ("value", sa.Float(), True), ("low", sa.Float(), True), ("high", sa.Float(), True),
    ("n", sa.BigInteger(), False), ("status", sa.String(), False),
)  # fmt: skip


def upgrade() -> None:
    op.rename_table("evaluations", "evaluations_before")
    op.rename_table("measurements", "measurements_before")
    op.drop_index("evaluations_by_model", "evaluations_before")
    _create()
    _copy()
    op.drop_table("measurements_before")
    op.drop_table("evaluations_before")
    op.create_index("evaluations_by_model", "evaluations", ["model_version"])
    _keep_append_only()


def _create() -> None:
    op.create_table(
        "evaluations",
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("id", "model_version", "wave", "evaluator")
        ),
        sa.Column("evaluator_version", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number", name="evaluations_by_number"),
    )
    owner = ("model_version", "evaluator", "name", "group", "feature")
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in owner),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(*owner, name="series_once"),
    )
    op.create_table(
        "measurements",
        sa.Column("evaluation", sa.Integer(), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        *(sa.Column(name, kind, nullable=nullable) for name, kind, nullable in _NUMBERS),
        sa.ForeignKeyConstraint(["evaluation"], ["evaluations.number"]),
        sa.ForeignKeyConstraint(["series"], ["series.id"]),
        sa.PrimaryKeyConstraint("evaluation", "series"),
        sa.CheckConstraint("(value IS NOT NULL) = (status = 'ok')", name="a_number_or_a_status"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latest",
        sa.Column("series", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("evaluation", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, kind, nullable=nullable) for name, kind, nullable in _NUMBERS),
        sa.PrimaryKeyConstraint("series"),
    )
    op.create_table(
        "weekly",
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("series", "week", "version", "waves", "known")
        ),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("total", "least", "most")),
        sa.PrimaryKeyConstraint("series", "week", "version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "archives",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("id", "folder")),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.Column("written_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "archived",
        sa.Column("evaluation", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("archive", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation"),
    )


def _copy() -> None:
    """Everything there is, under numbers in the order it was done; a value that was no number is a status."""
    one = (
        "INSERT INTO evaluations SELECT id, model_version, wave, evaluator, evaluator_version, failure, "
        "finished_at, row_number() OVER (ORDER BY finished_at, id) FROM evaluations_before",
        'INSERT INTO series SELECT row_number() OVER (ORDER BY model_version, evaluator, name, "group", feature), '
        'model_version, evaluator, name, "group", feature FROM (SELECT DISTINCT e.model_version, e.evaluator, '
        'm.name, m."group", m.feature FROM measurements_before m JOIN evaluations_before e ON e.id = m.evaluation) d',
        "INSERT INTO measurements SELECT e.number, s.id, {value}, {low}, {high}, m.n, CASE WHEN {value} IS NULL AND "
        "m.status = 'ok' THEN 'undefined' ELSE m.status END FROM measurements_before m "
        "JOIN evaluations e ON e.id = m.evaluation JOIN series s ON s.model_version = e.model_version AND "
        's.evaluator = e.evaluator AND s.name = m.name AND s."group" = m."group" AND s.feature = m.feature',
        "INSERT INTO latest SELECT series, evaluation, day, version, value, low, high, n, status FROM ("
        "SELECT m.*, {day} AS day, e.evaluator_version AS version, row_number() OVER (PARTITION BY m.series "
        "ORDER BY {day} DESC, e.evaluator_version DESC, e.number DESC) AS place FROM measurements m "
        "JOIN evaluations e ON e.number = m.evaluation LEFT JOIN waves w ON w.id = e.wave) d WHERE place = 1",
        "INSERT INTO weekly SELECT m.series, {monday}, e.evaluator_version, count(*), count(m.value), "
        "coalesce(sum(m.value), 0), coalesce(min(m.value), {far}), coalesce(max(m.value), -{far}) "
        "FROM measurements m JOIN evaluations e ON e.number = m.evaluation "
        "LEFT JOIN waves w ON w.id = e.wave GROUP BY m.series, {monday}, e.evaluator_version",
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    day = (
        "coalesce(w.day, date(e.finished_at))"
        if sqlite
        else "coalesce(w.day, (e.finished_at AT TIME ZONE 'UTC')::date)"
    )
    # the number of days since 1 January of the year 1 (date.toordinal), back to a Monday
    number = (
        f"CAST(julianday({day}) - 1721424.5 AS INTEGER)" if sqlite else f"({day} - DATE '0001-01-01' + 1)"
    )
    finite = "" if sqlite else " AND m.{0} NOT IN ('NaN', 'Infinity', '-Infinity')"
    finite = f"CASE WHEN m.status = 'ok'{finite} THEN m.{{0}} END"
    parts = {name: finite.format(name) for name in ("value", "low", "high")}
    for statement in one:
        op.execute(
            statement.format(
                day=day, monday=f"(({number} - 1) / 7 * 7 + 1)", far="1.7976931348623157e308", **parts
            )
        )


def _keep_append_only() -> None:
    tables = ("evaluations", "series", "archives", "archived")
    if op.get_bind().dialect.name == "sqlite":
        for table in (*tables, "measurements"):
            for verb in ("UPDATE", "DELETE"):
                unless = ""
                if (table, verb) == ("measurements", "DELETE"):
                    unless = "WHEN NOT EXISTS (SELECT 1 FROM archived WHERE evaluation = OLD.evaluation) "
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {unless}"
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    for table in tables:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION ndl_append_only()"
        )
    op.execute(
        "CREATE TRIGGER measurements_append_only BEFORE UPDATE OR TRUNCATE ON measurements "
        "FOR EACH STATEMENT EXECUTE FUNCTION ndl_append_only()"
    )
    op.execute(
        "CREATE FUNCTION ndl_archived_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NOT EXISTS (SELECT 1 FROM archived WHERE evaluation = OLD.evaluation) THEN "
        "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END IF; RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER measurements_archived_only BEFORE DELETE ON measurements "
        "FOR EACH ROW EXECUTE FUNCTION ndl_archived_only()"
    )
