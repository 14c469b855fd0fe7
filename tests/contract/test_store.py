"""What every store promises, whatever database is behind it: a SQLite file, or a real PostgreSQL server."""

import math
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from sandbox import audit
from sandbox.errors import NotFound
from sandbox.lifecycle import FindingState, Standing, Verdict, WaveState
from sandbox.records import (
    AdmittedGraph,
    Comparison,
    ComparisonResult,
    Decision,
    Evaluation,
    Event,
    Finding,
    Measurement,
    ModelVersion,
    NoiseMark,
    Release,
    Submission,
    Wave,
)
from sandbox.storage import Store, tables

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ndl.db"
    return request.getfixturevalue("postgres")()


@pytest.fixture(params=["sqlite", "postgresql"])
def ready(request):
    """A database of each kind that has its tables, with nothing in them."""
    if request.param == "sqlite":
        return request.getfixturevalue("ready_url")
    return request.getfixturevalue("postgres").ready()


@pytest.fixture
def store(ready):
    store = Store(ready, clock=lambda: NOON)
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
    found = store.get(Decision, "d1").decided_at
    assert (found, found.utcoffset()) == (NOON, timedelta(0))


@pytest.mark.parametrize("year", [1, 1883, 9999])
def test_a_time_keeps_its_microseconds_in_any_year(store, year):
    at = datetime(year, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)
    with store.transaction() as tx:
        tx.add(decision(at=at), event())
    assert store.get(Decision, "d1").decided_at == at


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


def fill_history(store):
    with store.transaction() as tx:
        tx.add(decision(), event())
        tx.add_evaluation(evaluation(), [Measurement("auc", 0.7, 100)], event())
        tx.put_tally("k", b"content")
        tx.add(Release("r", "m", "m/1", {}, NOON, "omar"), event())
        archive = {"id": "a", "folder": "x", "manifest": {}, "written_at": NOON, "written_by": "omar"}
        tx.connection.execute(sa.insert(tables.archives).values(archive))
        tx.connection.execute(sa.insert(tables.archived).values(evaluation=99, archive="a"))
        tx.add(NoiseMark("run", "ab"), event())
        tx.add(Comparison("c1", "a/2", "a/1", "crime", "auc", "it is newer", "omar", NOON), event())
        tx.add(ComparisonResult("c1", "crime/2016-07", 0.01, -0.01, 0.03, 100, "ok", NOON), event())
        tx.add(AdmittedGraph("ab" * 32, "graphs/x", {}, {"recipe": "mlp"}, NOON), event())


@pytest.mark.parametrize("table", tables.APPEND_ONLY)
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_history_can_be_neither_changed_nor_removed(store, table, verb):
    fill_history(store)
    what = tables.metadata.tables[table]
    column = list(what.c)[-1]
    statement = sa.update(what).values({column: column}) if verb == "update" else sa.delete(what)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), store.transaction() as tx:
        tx.connection.execute(statement)


@pytest.mark.parametrize("table", tables.APPEND_ONLY)
def test_history_cannot_be_replaced_by_adding_it_again(store, table):
    fill_history(store)
    what = tables.metadata.tables[table]
    with store.reading() as view:
        row = dict(view.connection.execute(sa.select(what)).first()._mapping)
    if store.engine.dialect.name == "sqlite":
        statement = sa.insert(what).prefix_with("OR REPLACE").values(row)
    else:
        from sqlalchemy.dialects.postgresql import insert

        keys = list(what.primary_key)
        statement = insert(what).values(row).on_conflict_do_update(index_elements=keys, set_=row)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), store.transaction() as tx:
        tx.connection.execute(statement)


@pytest.mark.parametrize("table", tables.APPEND_ONLY)
def test_history_cannot_be_truncated(postgres, table):
    store = Store(postgres.ready())
    fill_history(store)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), store.transaction() as tx:
        tx.connection.exec_driver_sql(f"TRUNCATE {table} CASCADE")
    store.close()


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


def test_what_a_training_cost_is_found_without_reading_the_audit_log(store):
    for run, seconds in (("r1", 1.5), ("r2", 2.5), ("r1", 3.5)):
        with store.transaction() as tx:
            tx.log(Event("operator", "training.finish", run, details={"cpu_seconds": seconds}))
            tx.log(Event("operator", "training.start", run, details={"charge": "c"}))
    asked = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
    with store.reading() as view:
        assert view.details("training.finish", "r1") == {"cpu_seconds": 3.5}  # the last
        assert view.details("training.finish", "r9") == {}
    if store.engine.dialect.name == "sqlite":  # a small table is read whole by PostgreSQL
        with store.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1][0]}", asked[-1][1]).all()
        assert "audit_ended_trainings" in str(plan)


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


def test_opening_an_existing_database_again_changes_nothing(store, ready):
    with store.transaction() as tx:
        tx.add(decision(), event())
    again = Store(ready)
    assert again.get(Decision, "d1") == decision()
    again.close()


def test_the_migrations_make_exactly_the_tables_the_code_expects(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from sandbox.storage.migrate import VERSION_TABLE

    store = Store(url)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, tables.metadata) == []
    store.close()


def test_a_database_from_before_record_graphs_is_brought_up_to_date(url, monkeypatch):
    from alembic import command

    upgrade = command.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        old = Store(url)
    with old.engine.connect().execution_options(ndl_write=True) as connection, connection.begin():
        row = ("s", "m", "d", "t", "ada", "{}", "{}", "f" * 64, "x", "trained", "", "2026-11-23 12:00:00")
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(f"INSERT INTO submissions VALUES ({', '.join([mark] * len(row))})", row)
    old.close()
    now = Store(url)
    (submission,) = now.all(Submission)
    assert (submission.id, submission.graph) == ("s", "")
    assert now.all(AdmittedGraph) == []
    now.close()


def test_several_stores_opened_at_once_make_the_tables_once(url):
    made, failed = [], []

    def open_one():
        try:
            made.append(Store(url))
        except Exception as error:
            failed.append(error)

    at_once(*[open_one] * 4)
    assert failed == []
    made[0].all(Wave)
    for store in made:
        store.close()


def test_records_are_ordered_letter_by_letter_whatever_language_the_server_speaks(store):
    keys = ["B", "Z", "_", "a", "a b", "a-c", "a/1", "a/10", "ab", "a|1", "z", "é", "ε", "😀"]
    with store.transaction() as tx:
        for key in reversed(keys):
            tx.add(decision(key), event())
    assert [d.id for d in store.all(Decision)] == keys == sorted(keys)


def test_measurements_are_ordered_letter_by_letter_too(store):
    names = ["B", "a", "a b", "a-c", "ab"]
    with store.transaction() as tx:
        tx.add_evaluation(evaluation(), [Measurement(n, 0.5, 9) for n in reversed(names)], event())
    with store.reading() as view:
        assert [m.name for _, m in view.measurements("m/1")] == names


@pytest.mark.parametrize(
    "number", [0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1e-9]
)
def test_a_float_comes_back_bit_for_bit(store, number):
    with store.transaction() as tx:
        tx.add_evaluation(evaluation(), [Measurement("x", number, 1)], event())
        tx.add(Release("r", "m", "m/1", {"number": number}, NOON, "omar"), event())
    with store.reading() as view:
        [(_, found)] = view.measurements("m/1")
    inside = store.get(Release, "r").content["number"]
    assert [x.hex() for x in (found.value, inside)] == [number.hex()] * 2


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_inside_json(store, number):
    with (
        pytest.raises((ValueError, sa.exc.StatementError), match="JSON compliant"),
        store.transaction() as tx,
    ):
        tx.add(Release("r", "m", "m/1", {"number": number}, NOON, "omar"), event())
    assert store.audit_lines() == []


def test_json_keeps_the_order_of_its_keys_and_every_letter(store):
    content = {
        "z": 1,
        "a": {"y": None, "b": [True, 0.1, 2**60]},
        "\u03b5": "\u0000 \u2028 \U0001f600 'quoted'",
    }
    with store.transaction() as tx:
        tx.add(Release("r", "m", "m/1", content, NOON, "omar"), event())
    found = store.get(Release, "r").content
    assert repr(found) == repr(content)  # the order too


def test_every_state_comes_back_as_its_own_kind(store):
    with store.transaction() as tx:
        for state in WaveState:
            tx.add(Wave(**{**wave(state).__dict__, "state": state}), event())
        for state in Standing:
            tx.add(ModelVersion(state, "m", 1, "d", "t", "r", "ada", state, "l", "ab", NOON), event())
        for verdict, state in zip(Verdict, FindingState, strict=True):
            tx.add(
                Finding(state, "m/1", "w", "r", "s", verdict, "warn", "It.", None, 0.5, state, NOON), event()
            )
    assert [w.state for w in store.all(Wave)] == sorted(WaveState)
    assert [m.standing for m in store.all(ModelVersion)] == sorted(Standing)
    assert {f.state: f.verdict for f in store.all(Finding)} == dict(zip(FindingState, Verdict, strict=True))
    assert [w.name for w in store.all(Wave, state=WaveState.ACCEPTED)] == ["accepted"]


def test_a_view_does_not_see_what_others_commit_meanwhile(store):
    with store.reading() as view:
        assert view.all(Decision) == []
        with store.transaction() as tx:
            tx.add(decision(), event())
        assert view.all(Decision) == []
        assert view.audit_lines() == []
    assert store.all(Decision) == [decision()]


def test_nothing_can_be_changed_through_a_view(store):
    with pytest.raises(sa.exc.DatabaseError, match=r"read-?only"), store.reading() as view:
        view.add(decision(), event())
    assert store.all(Decision) == []


def test_a_view_never_waits_for_a_writer(store):
    with store.transaction() as tx:
        tx.add(decision(), event())
        assert store.all(Decision) == []


def test_a_failure_that_is_passed_over_never_looks_like_success(store):
    with store.transaction() as tx:
        tx.add(decision(), event())
    try:
        with store.transaction() as tx:
            tx.add(decision("d2"), event())
            with pytest.raises(sa.exc.IntegrityError):
                tx.connection.execute(sa.insert(tables.OF_RECORD[Decision]).values(**decision().__dict__))
        said = ["d1", "d2"]
    except RuntimeError:
        said = ["d1"]
    assert [d.id for d in store.all(Decision)] == said


def at_once(*actions):
    """Does these together, each in a thread of its own."""
    start = threading.Barrier(len(actions))

    def act(action):
        start.wait()
        action()

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_writer_waits_for_the_one_before_and_sees_what_it_did(store):
    seen, waits = [], threading.Event()

    def second():
        waits.set()
        with store.transaction() as tx:
            seen.extend(d.id for d in tx.all(Decision))

    thread = threading.Thread(target=second)
    with store.transaction() as tx:
        thread.start()
        waits.wait()
        thread.join(0.2)
        assert thread.is_alive()
        tx.add(decision(), event())
    thread.join()
    assert seen == ["d1"]


def test_the_audit_chain_holds_when_threads_write_at_once(store):
    def write(name):
        for _ in range(10):
            with store.transaction() as tx:
                tx.log(event(name))

    at_once(*(lambda name=name: write(name) for name in "abcd"))
    lines = store.audit_lines()
    assert len(lines) == 40
    assert audit.first_broken(lines) is None


WRITER = textwrap.dedent("""
    import sys
    from datetime import UTC, datetime
    from sandbox.records import Decision, Event
    from sandbox.storage import Store
    store, name = Store(sys.argv[1]), sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(int(sys.argv[3])):
        with store.transaction() as tx:
            tx.add(
                Decision(f"{name}{i}", "m/1", "promote", name, "good", datetime.now(UTC)),
                Event(name, "decide", "m/1", "good"),
            )
            if sys.argv[4:] == ["stay"]:
                print("written", flush=True)
                sys.stdin.readline()
""")


def writer(url, name, times, *more):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name, str(times), *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def begin(*processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def test_the_audit_chain_holds_when_processes_write_at_once(store, ready):
    processes = [writer(ready, name, 25) for name in "abc"]
    begin(*processes)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    lines = store.audit_lines()
    assert len(lines) == len(store.all(Decision)) == 75
    assert audit.first_broken(lines) is None


def test_a_writer_that_is_killed_leaves_nothing_and_nobody_waits_for_it(store, ready):
    process = writer(ready, "a", 2, "stay")
    begin(process)
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate()
    with store.transaction() as tx:
        tx.add(decision(), event())
    assert [d.id for d in store.all(Decision)] == ["d1"]
    assert audit.first_broken(store.audit_lines()) is None


@pytest.mark.parametrize("count", [2**31, 2**53 + 1])
def test_a_count_may_pass_two_to_the_power_of_31(store, count, request):
    if store.engine.dialect.name == "postgresql" and "INTEGER" in str(tables.audit.c.number.type):
        reason = "tables.py says sa.Integer: 32 bits on PostgreSQL"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    many = Wave(**{**wave().__dict__, "rows": count, "units": count})
    with store.transaction() as tx:
        tx.add(many, event())
        tx.add_evaluation(evaluation(), [Measurement("x", 0.5, count)], event())
    assert store.all(Wave) == [many]
    with store.reading() as view:
        assert [m.n for _, m in view.measurements("m/1")] == [count]
