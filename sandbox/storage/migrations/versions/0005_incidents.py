"""Trainings that did not pass the release gate, and marks by which noise that came twice is known."""

import sqlalchemy as sa
from alembic import op

from sandbox.storage.tables import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "incidents",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("id", "submission", "test", "sentence")),
        sa.Column("tests", sa.JSON(), nullable=False),
        sa.Column("state", sa.Enum("open", "resolved", native_enum=False, length=8), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("resolved_by", "reason")),
        sa.Column("resolved_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("incidents_by_submission", "incidents", ["submission"])
    op.create_table(
        "noise_marks",
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("signs", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run"),
    )
    _keep_append_only("noise_marks")


def _keep_append_only(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION ndl_append_only()"
    )
