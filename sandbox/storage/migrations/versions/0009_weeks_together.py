"""The summaries of one week stand together, so that an evaluation changes one page of them and not one a series."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.rename_table("weekly", "weekly_before")
    op.create_table(
        "weekly",
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("week", "series", "version", "waves", "known")
        ),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("total", "least", "most")),
        sa.PrimaryKeyConstraint("week", "series", "version"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO weekly SELECT week, series, version, waves, known, total, least, most "
        "FROM weekly_before ORDER BY week, series, version"
    )
    op.drop_table("weekly_before")
