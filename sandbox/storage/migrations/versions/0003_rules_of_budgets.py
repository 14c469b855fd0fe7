"""Each budget names the rule that keeps it, and each charge the slot it takes under a plan of slots."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("charges", sa.Column("slot", sa.String(), nullable=False, server_default=""))
    op.add_column("budgets", sa.Column("rule", sa.JSON(), nullable=False, server_default="{}"))
    budgets = sa.table("budgets", sa.column("pool"), sa.column("order"), sa.column("rule", sa.JSON))
    connection = op.get_bind()
    for pool, order in connection.execute(sa.select(budgets.c.pool, budgets.c.order)).all():
        rule = {"rule": "filter", "order": order}
        connection.execute(sa.update(budgets).where(budgets.c.pool == pool).values(rule=rule))
    op.drop_column("budgets", "order")
