"""Alembic's entry: run on the connection that sandbox.storage.migrate hands over."""

from alembic import context

from sandbox.storage.migrate import VERSION_TABLE
from sandbox.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
