"""What was asked of the workers, and which workers there are."""

import sqlalchemy as sa
from alembic import op

from sandbox.storage.tables import UtcDateTime

revision = "0004"
down_revision = "0003"

_STATES = ("waiting", "running", "done", "failed", "cancelled")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("state", sa.Enum(*_STATES, native_enum=False, length=9), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("queued", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("note", "worker")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("done", "total")),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("doing", "asked_by")),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        *(sa.Column(name, UtcDateTime(), nullable=True) for name in ("again_at", "started_at", "ended_at")),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("jobs_by_state", "jobs", ["state"])
    op.create_table(
        "workers",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("id", "name", "machine", "process")),
        sa.Column("beat", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        *(sa.Column(name, UtcDateTime(), nullable=False) for name in ("started_at", "beat_at")),
        sa.PrimaryKeyConstraint("id"),
    )
