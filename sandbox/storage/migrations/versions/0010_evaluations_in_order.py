"""A model's evaluations are read in the order of the evaluators' versions, without sorting a year's values by it."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.drop_index("evaluations_by_model", "evaluations")
    op.create_index("evaluations_by_model", "evaluations", ["model_version", "evaluator_version"])
