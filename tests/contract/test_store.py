"""What every store promises, whatever database is behind it."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from sandbox import audit
from sandbox.errors import NotFound
from sandbox.lifecycle import WaveState
from sandbox.records import AdmittedGraph, Decision, Evaluation, Event, Measurement, Release, Submission, Wave
from sandbox.storage import Store, tables

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/ndl.db", clock=lambda: NOON)
    yield store
    store.close()


def decision(key="d1", at=NOON):
    return Decision(key, "m/1", "promote", "omar", "good evidence", at)


def event(action="decide"):
    return Event("omar", action, "m/1", "good evidence")


def wave(name="2016-07"):
    return Wave(
        f"crime/{name}", "crime", name, date(2016, 7, 31), 10, 9, "ab" * 32, "waves/x", WaveState.ACCEPTED,
        {"columns": {}}, NOON, "dana",
    )  # fmt: skip


def evaluation(key="m/1|crime/2016-07|quality|1"):
    return Evaluation(key, "m/1", "crime/2016-07", "quality", 1, "", NOON)


def test_a_record_comes_back_as_it_went_in(store):
    with store.transaction() as tx:
        tx.add(wave(), event())
    assert store.get(Wave, "crime/2016-07") == wave()


def test_times_come_back_in_utc_whatever_zone_they_went_in_with(store):
    paris = datetime(2026, 11, 23, 13, tzinfo=timezone(timedelta(hours=1)))
    with store.transaction() as tx:
        tx.add(decision(at=paris), event())
    assert store.get(Decision, "d1").decided_at == NOON


def test_a_time_without_a_zone_is_refused(store):
    with pytest.raises(sa.exc.StatementError, match="time zone"), store.transaction() as tx:
        tx.add(decision(at=datetime(2026, 1, 1)), event())


def test_an_unknown_key_is_not_found_and_says_what_is_known(store):
    with store.transaction() as tx:
        tx.add(wave(), event())
    with pytest.raises(NotFound, match="no wave called 'x'.*crime/2016-07"):
        store.get(Wave, "x")


def test_a_failure_inside_a_transaction_leaves_neither_record_nor_audit_line(store):
    with pytest.raises(RuntimeError), store.transaction() as tx:
        tx.add(decision(), event())
        raise RuntimeError
    assert store.all(Decision) == []
    assert store.audit_lines() == []


def test_the_same_evaluation_cannot_be_stored_twice(store):
    with store.transaction() as tx:
        tx.add_evaluation(evaluation(), [Measurement("auc", 0.7, 100)], event())
    with pytest.raises(sa.exc.IntegrityError), store.transaction() as tx:
        tx.add_evaluation(evaluation(), [Measurement("auc", 0.9, 100)], event())
    with store.reading() as view:
        assert [m.value for _, m in view.measurements("m/1")] == [0.7]


@pytest.mark.parametrize("table", tables.APPEND_ONLY)
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_history_can_be_neither_changed_nor_removed(store, table, verb):
    with store.transaction() as tx:
        tx.add(decision(), event())
        tx.add_evaluation(evaluation(), [Measurement("auc", 0.7, 100)], event())
        tx.put_tally("k", b"content")
        tx.add(Release("r", "m", "m/1", {}, NOON, "omar"), event())
        tx.add(AdmittedGraph("ab" * 32, "graphs/x", {}, {"recipe": "mlp"}, NOON), event())
    what = tables.metadata.tables[table]
    column = list(what.c)[-1]
    statement = sa.update(what).values({column: column}) if verb == "update" else sa.delete(what)
    with store.transaction() as tx, pytest.raises(sa.exc.DatabaseError, match="append-only"):
        tx.connection.execute(statement)


def test_every_change_grows_the_change_number_by_one(store):
    before = store.change_number()
    with store.transaction() as tx:
        tx.add(decision(), event())
        tx.add(wave(), event())
        tx.change(Wave, "crime/2016-07", event("mark"), rows=11)
    assert store.change_number() == before + 3


def test_a_tally_is_kept_as_first_written(store):
    with store.transaction() as tx:
        tx.put_tally("k", b"first")
        tx.put_tally("k", b"second")
        assert tx.tally("k") == b"first"


def test_the_audit_chain_holds_and_shows_any_tampering(store):
    for action in ("a", "b", "c"):
        with store.transaction() as tx:
            tx.log(event(action))
    lines = store.audit_lines()
    assert audit.first_broken(lines) is None
    changed = [*lines[:1], audit.Line(**{**lines[1].__dict__, "reason": "another"}), lines[2]]
    assert audit.first_broken(changed) == 2
    assert audit.first_broken([lines[0], lines[2]]) == 2
    assert audit.first_broken(lines[1:]) == 1


def test_opening_an_existing_database_again_changes_nothing(store, tmp_path):
    with store.transaction() as tx:
        tx.add(decision(), event())
    again = Store(f"sqlite:///{tmp_path}/ndl.db")
    assert again.get(Decision, "d1") == decision()
    again.close()


def test_the_migrations_make_exactly_the_tables_the_code_expects(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from sandbox.storage.migrate import VERSION_TABLE

    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, tables.metadata) == []


def test_a_database_from_before_record_graphs_is_brought_up_to_date(tmp_path, monkeypatch):
    from alembic import command

    upgrade, url = command.upgrade, f"sqlite:///{tmp_path}/old.db"
    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        old = Store(url)
    with old.engine.connect().execution_options(ndl_write=True) as connection, connection.begin():
        row = ("s", "m", "d", "t", "ada", "{}", "{}", "f" * 64, "x", "trained", "", "2026-11-23 12:00:00")
        connection.exec_driver_sql(f"INSERT INTO submissions VALUES ({', '.join('?' * len(row))})", row)
    old.close()
    now = Store(url)
    (submission,) = now.all(Submission)
    assert (submission.id, submission.graph) == ("s", "")
    assert now.all(AdmittedGraph) == []
    now.close()
