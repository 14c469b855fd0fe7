"""Does the database answer, and may be trusted with what must not be lost?

What a server or a driver says is never passed on: it can quote the address, and an address that is
written wrongly can quote the password.
"""

from __future__ import annotations

from sandbox.doctor.check import Check
from sandbox.settings import Settings
from sandbox.storage.engine import parsed

OLDEST = 15
"""The oldest PostgreSQL that the tests have run on."""

_CANNOT_CONNECT = (
    ("password authentication failed", "refuses the name or the password", "Check both in storage.database."),
    ("no password supplied", "asks for a password", "Write it into storage.database."),
    (
        "no pg_hba.conf entry",
        "does not let this machine in",
        "Add a line for it to the server's pg_hba.conf.",
    ),
    ("role", "does not know this user", "Create the user, or mend storage.database."),
    ("database", "has no such database", "Create the database, or mend storage.database."),
    ("resolve", "is on a host that nobody knows", "Check the host in storage.database."),
    ("translate host", "is on a host that nobody knows", "Check the host in storage.database."),
    ("refused", "does not answer", "Start the server, or check the host and port in storage.database."),
    ("No such file", "does not answer", "Start the server, or check the host and port in storage.database."),
    ("time", "does not answer within 5 seconds", "Check the host in storage.database, and the network."),
)
"""A piece of what the driver says (the most telling first), what it means, how to mend it."""

_ASKED = """
SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(),
       getdatabaseencoding(), has_schema_privilege(current_schema(), 'CREATE'), current_setting('fsync')
"""


def database(settings: Settings) -> Check:
    """SQLite or PostgreSQL, whichever the settings name; raises Invalid for anything else."""
    url = parsed(settings.database_url)
    return _sqlite(settings) if url.get_backend_name() == "sqlite" else _postgresql(settings)


def _sqlite(settings: Settings) -> Check:
    import sqlalchemy as sa

    if not (settings.storage.database or (settings.storage.folder / "ndl.db").exists()):
        return Check("database", True, "SQLite; made by the first command that needs it")
    engine = sa.create_engine(settings.database_url)
    try:
        with engine.connect() as connection:
            whole = connection.exec_driver_sql("PRAGMA quick_check").scalar() == "ok"
    except sa.exc.OperationalError:
        mend = "Check storage.database: its folder must be there, and yours."
        return Check("database", False, "SQLite, cannot be opened", mend)
    except sa.exc.DatabaseError:
        whole = False
    finally:
        engine.dispose()
    return Check("database", whole, f"SQLite, {'whole' if whole else 'damaged'}", "Restore a backup.")


def _postgresql(settings: Settings) -> Check:
    import sqlalchemy as sa

    try:
        engine = sa.create_engine(parsed(settings.database_url), connect_args={"connect_timeout": 5})
    except ImportError:
        return Check("database", False, "PostgreSQL, but psycopg is not installed", "Run `make install`.")
    try:
        with engine.connect() as connection:
            version, standby, letters, may_create, fsync = connection.exec_driver_sql(_ASKED).one()
    except sa.exc.SQLAlchemyError as error:
        found, mend = _meaning(str(error))
        return Check("database", False, f"PostgreSQL {found}", mend)
    finally:
        engine.dispose()
    for wrong, found, mend in (
        (version < OLDEST, f"older than {OLDEST}", f"Use PostgreSQL {OLDEST} or newer."),
        (standby, "a standby that takes no writes", "Name the primary server in storage.database."),
        (letters != "UTF8", f"keeps letters as {letters}", "Create the database with ENCODING 'UTF8'."),
        (not may_create, "this user may create no tables", "GRANT CREATE ON SCHEMA public to this user."),
        (fsync != "on", "fsync is off: a power cut loses charges", "Set fsync = on in postgresql.conf."),
    ):
        if wrong:
            return Check("database", False, f"PostgreSQL {version}, answers, but {found}", mend)
    return Check("database", True, f"PostgreSQL {version}, answers")


def _meaning(said: str) -> tuple[str, str]:
    for piece, found, mend in _CANNOT_CONNECT:
        if piece in said:
            return found, mend
    return "does not let us in", "Check storage.database with psql, and read the server's log."
