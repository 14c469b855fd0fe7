"""The doctor says in plain words what is wrong with a database server, and never shows a password."""

import pytest
import sqlalchemy as sa

from sandbox.doctor.checks import examine
from sandbox.doctor.database import database
from sandbox.settings import load


def look(url):
    return database(load(None, {"NDL_STORAGE__DATABASE": url}))


@pytest.fixture
def safe(postgres):
    """The URL of an empty database on a server that waits for its disk."""
    set_server(postgres, "fsync", "on")
    yield postgres()
    set_server(postgres, "fsync", "off")


def set_server(postgres, name, value):
    postgres.run(f"ALTER SYSTEM SET {name} = '{value}'")
    postgres.run("SELECT pg_reload_conf()")
    for _ in range(200):
        engine = sa.create_engine(postgres.url("postgres"))
        with engine.connect() as connection:
            if connection.exec_driver_sql(f"SHOW {name}").scalar() == value:
                return
        engine.dispose()
    raise AssertionError(f"the server did not take {name} = {value}")


def test_a_server_that_answers_is_fit(safe):
    check = look(safe)
    assert check.fit
    assert check.found.startswith("PostgreSQL 1")
    assert check.found.endswith(", answers")


def test_the_short_form_of_the_address_names_the_same_database(safe):
    assert look(safe.replace("postgresql+psycopg:", "postgresql:")).fit


def test_a_server_that_does_not_wait_for_its_disk_is_not_fit(postgres):
    check = look(postgres())
    assert not check.fit
    assert "power cut" in check.found
    assert "fsync = on" in check.mend


def test_a_user_who_may_create_no_tables_is_found(safe, postgres):
    postgres.run("CREATE ROLE guest LOGIN")
    check = look(safe.replace("ndl@", "guest@"))
    assert (check.fit, "may create no tables" in check.found) == (False, True)
    postgres.run("DROP ROLE guest")


def test_letters_that_cannot_be_kept_are_found(safe, postgres):
    postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER libc")
    assert "LATIN1" in look(postgres.url("latin")).found


def test_a_missing_database_is_found(postgres):
    check = look(postgres.url("nowhere"))
    assert (check.fit, check.found) == (False, "PostgreSQL has no such database")


def test_an_unknown_user_is_found(postgres):
    check = look(postgres.url("postgres", user="nobody_here"))
    assert (check.fit, check.found) == (False, "PostgreSQL does not know this user")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ndl:hunter2@127.0.0.1:1/ndl",
        "postgresql://ndl:hunter2@/ndl?host=/nowhere",
        "postgresql://ndl:hunter2@hunter2@127.0.0.1:1/ndl",
        "postgresql://ndl:hunter2@127.0.0.1:port/ndl",
        "mysql://ndl:hunter2@127.0.0.1/ndl",
        "hunter2",
    ],
)
def test_no_address_that_fails_shows_its_password(tmp_path, url):
    settings = load(None, {"NDL_STORAGE__FOLDER": str(tmp_path), "NDL_STORAGE__DATABASE": url})
    check = next(check for check in examine(settings) if check.part == "database")
    assert not check.fit
    assert check.mend
    assert "hunter2" not in repr(check)
