"""An older database comes up to date, with everything that was in it."""

import json

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from sandbox.privacy import ledger
from sandbox.privacy.accounting import dp_sgd_event
from sandbox.records import Charge
from sandbox.storage import Store, migrate


def scripts():
    config = Config()
    config.set_main_option("script_location", str(migrate.Path(migrate.__file__).parent / "migrations"))
    return config


def at(version, path):
    """A database as that version of ours left it."""
    config, engine = scripts(), sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    return engine


def test_the_newest_migration_is_the_one_the_code_asks_for():
    assert ScriptDirectory.from_config(scripts()).get_current_head() == migrate.HEAD


def test_budgets_and_charges_of_an_older_database_keep_their_meaning(tmp_path):
    event = dp_sgd_event(4.09, 0.02, 600)
    old = at("0002", tmp_path / "ndl.db")
    with old.begin() as connection:
        connection.execute(sa.text("INSERT INTO budgets VALUES ('training:p', 3, 1e-6, 9)"))
        connection.execute(
            sa.text(
                "INSERT INTO charges VALUES ('c', 'training:p', :event, 'pupil', 'add/remove', 'train', "
                "'reserved', '2026-11-23 12:00:00', 'wanda')"
            ),
            {"event": json.dumps(event)},
        )
    old.dispose()
    store = Store(f"sqlite:///{tmp_path}/ndl.db")
    found = ledger.status(store, "training:p")
    assert (found.epsilon, found.delta, found.order, found.charges) == (3, 1e-6, 9, 1)
    assert 0 < found.share < 0.05
    assert ledger.settle(store, "c", event, "wanda") == store.get(Charge, "c")
    store.close()
