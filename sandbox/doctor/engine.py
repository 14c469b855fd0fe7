"""Is somebody at work, and how much waits for them?"""

from __future__ import annotations

from sandbox.doctor.check import Check
from sandbox.settings import Settings
from sandbox.storage.engine import open_engine, parsed


def engine(settings: Settings) -> Check:
    """Workers and jobs, without making or changing a table. Jobs that wait for nobody are not fit."""
    import sqlalchemy as sa

    from sandbox.jobs.listing import Jobs, seen
    from sandbox.lifecycle import JobState
    from sandbox.storage import Transaction
    from sandbox.storage.store import utc_now

    on_sqlite = parsed(settings.database_url).get_backend_name() == "sqlite"
    kept = f"DBOS on {'SQLite' if on_sqlite else 'PostgreSQL'}"
    nothing = Check("engine", True, f"{kept}; made by the first worker", needed=False)
    if on_sqlite and not (settings.storage.database or (settings.storage.folder / "ndl.db").exists()):
        return nothing
    database, jobs = open_engine(settings.database_url), Jobs((), {}, 0)
    try:
        with database.connect() as connection, connection.begin():
            if not sa.inspect(connection).has_table("jobs"):
                return nothing
            jobs = seen(Transaction(connection, utc_now))
    except sa.exc.SQLAlchemyError:
        return Check(
            "engine", False, f"{kept}; the database does not answer", "See `database`.", needed=False
        )
    finally:
        database.dispose()
    waiting, failed = jobs.counts[JobState.WAITING], jobs.counts[JobState.FAILED]
    found = f"{kept}; {jobs.workers} at work, {waiting} waiting, {failed} failed"
    mend = "Start `ndl up`, or a worker with `ndl worker`."
    return Check("engine", bool(jobs.workers) or not waiting, found, mend, needed=False)
