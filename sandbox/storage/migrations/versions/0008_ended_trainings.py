"""What a training cost is found at once, however long the audit log is."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    ended = sa.text("action = 'training.finish'")
    op.create_index("audit_ended_trainings", "audit", ["subject"], sqlite_where=ended, postgresql_where=ended)
