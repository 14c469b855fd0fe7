"""Brings the database's tables up to date (Alembic, in a version table of our own)."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa

HEAD = "0010"
VERSION_TABLE = "ndl_schema"
_ALEMBIC = threading.Lock()  # its context is one for the whole process


def upgrade(engine: sa.Engine) -> None:
    """Runs the migrations that this database has not had; costs one query when there are none."""
    if _current(engine) == HEAD:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with (
        engine.connect().execution_options(ndl_write=True) as connection,
        connection.begin(),
        _ALEMBIC,
    ):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _current(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        version: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))
        return version
