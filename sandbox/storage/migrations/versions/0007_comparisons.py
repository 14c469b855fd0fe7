"""Paired tests of challengers, declared before their wave arrives, and what each said, once."""

import sqlalchemy as sa
from alembic import op

from sandbox.storage.tables import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    told = ("id", "challenger", "champion", "dataset", "measure", "reason", "declared_by")
    op.create_table(
        "comparisons",
        *(sa.Column(name, sa.String(), nullable=False) for name in told),
        sa.Column("declared_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "comparison_results",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("id", "wave")),
        *(sa.Column(name, sa.Float(), nullable=True) for name in ("value", "low", "high")),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    for table in ("comparisons", "comparison_results"):
        _keep_append_only(table)


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
