"""What every database promises of results: kept once, numbers or a status, newest and weekly, archived not lost."""

import io
import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from rich.console import Console

from sandbox.errors import Invalid, Refused
from sandbox.lifecycle import WaveState
from sandbox.records import Evaluation, Event, Measurement, Wave
from sandbox.roles import Person, Role
from sandbox.settings import Settings, Storage
from sandbox.storage import Store, archive, tables
from sandbox.storage.export import export
from sandbox.storage.results_cli import results
from tests.contract.test_store import ready, store, url

__all__ = ["ready", "store", "url"]

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MONDAY = date(2026, 8, 3)
EVENT = Event("omar", "test", "m/1")


def keep(store, day, *measured, evaluator="quality", version=1, model="m/1"):
    wave = Wave(f"d/{day}", "d", str(day), day, 9, 9, "", "", WaveState.ACCEPTED, {}, NOON, "dana")
    key = f"{model}|{wave.id}|{evaluator}|{version}"
    with store.transaction() as tx:
        if not tx.all(Wave, id=wave.id):
            tx.add(wave, EVENT)
        tx.add_evaluation(Evaluation(key, model, wave.id, evaluator, version, "", NOON), measured, EVENT)


def auc(value, **more):
    return Measurement("auc", value, 100, **more)


def newest(store, *of):
    with store.reading() as view:
        return {(o.measurement.name, o.measurement.group): (o.wave, o.measurement) for o in view.latest(*of)}


def test_a_measurement_comes_back_as_it_went_in(store):
    said = [
        auc(0.7, low=0.6, high=0.8), auc(0.5, group="sex=f"),
        Measurement("moved", None, 3, feature="age", status="too few"),
    ]  # fmt: skip
    keep(store, MONDAY, *said)
    with store.reading() as view:
        assert [m for _, m in view.measurements("m/1")] == said
        assert [m for _, m in view.measurements("m/1", name="moved")] == said[2:]
        assert view.measurements("m/1", wave="d/other") == view.measurements("m/2") == []


def test_a_series_has_by_wave_what_the_newest_version_measured_to_the_last_digit(store):
    later = MONDAY + timedelta(1)
    keep(store, MONDAY, auc(0.1 + 0.2, low=1 / 3, high=5e-324), version=2)
    keep(store, MONDAY, auc(0.5), auc(0.25, group="sex=f"), Measurement("moved", 1.0, 3, feature="age"))
    keep(store, later, auc(None, status="too few"))
    keep(store, MONDAY, auc(0.9), model="m/2")
    with store.reading() as view:
        everyone, women, moved = view.series("m/1")
        assert view.series("m/1", "moved") == [moved]
        assert view.series("m/3") == []
    assert (moved.evaluator, moved.name, moved.group, moved.feature) == ("quality", "moved", "", "age")
    assert set(everyone.rows) == {f"d/{MONDAY}", f"d/{later}"}
    assert everyone.on(f"d/{MONDAY}") == auc(0.1 + 0.2, low=1 / 3, high=5e-324)
    assert everyone.on(f"d/{later}") == auc(None, status="too few")
    assert women.on(f"d/{MONDAY}") == auc(0.25, group="sex=f")
    with pytest.raises(KeyError):
        women.on(f"d/{later}")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_status_and_a_bound_that_is_none_is_absent(store, number):
    keep(store, MONDAY, auc(number, low=0.1, high=0.2), Measurement("brier", 0.2, 9, low=number, high=0.3))
    with store.reading() as view:
        kept = {m.name: m for _, m in view.measurements("m/1")}
    assert kept["auc"] == Measurement("auc", None, 100, status="undefined")
    assert kept["brier"] == Measurement("brier", 0.2, 9, high=0.3)


def test_a_value_with_another_status_than_ok_is_refused(store):
    with pytest.raises(ValueError, match="'auc' has a value and the status 'too few'"):
        keep(store, MONDAY, replace(auc(0.5), status="too few"))
    row = {"evaluation": 1, "series": 1, "value": 0.5, "n": 1, "status": "too few"}
    keep(store, MONDAY, auc(0.5))
    with pytest.raises(sa.exc.IntegrityError, match="a_number_or_a_status"), store.transaction() as tx:
        tx.connection.execute(sa.insert(tables.measurements).values({**row, "series": 2}))


def test_the_newest_value_is_that_of_the_newest_wave_by_the_newest_version_in_any_order(store):
    days = [MONDAY + timedelta(days) for days in (7, 14, 0)]
    for at, day in enumerate(days):
        keep(store, day, auc(0.7 + at / 100))
    assert newest(store, "m/1")["auc", ""] == ("d/2026-08-17", auc(0.71))
    keep(store, days[1], auc(0.5), version=2)
    keep(store, days[0], auc(0.6), version=2)
    assert newest(store, "m/1", "auc")["auc", ""] == ("d/2026-08-17", auc(0.5))
    keep(store, MONDAY + timedelta(21), Measurement("auc", None, 2, status="too few"))
    assert newest(store)["auc", ""][1].status == "too few"


def test_a_week_is_summed_by_the_newest_version_that_saw_it(store):
    for days, value in ((0, 0.7), (6, 0.8), (7, 0.9)):
        keep(store, MONDAY + timedelta(days), auc(value))
    keep(store, MONDAY + timedelta(1), Measurement("auc", None, 2, status="too few"))
    keep(store, MONDAY + timedelta(7), auc(0.4), version=2)
    with store.reading() as view:
        first, second = view.weekly("m/1", "auc")
        assert view.weekly("m/1", "auc", "sex=f") == []
    assert (first.start, first.waves, first.least, first.most) == (MONDAY, 3, 0.7, 0.8)
    assert first.mean == pytest.approx(0.75)
    assert (second.start, second.mean) == (MONDAY + timedelta(7), 0.4)


def test_an_evaluation_changes_as_few_pages_however_many_weeks_there_are(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/ndl.db")
    log = tmp_path / "ndl.db-wal"
    measured = [Measurement(f"measure_{at}", 0.5, 9, 0.4, 0.6) for at in range(20)]
    for week in range(40):
        keep(store, MONDAY + timedelta(7 * week), *measured)
    before = log.stat().st_size
    keep(store, MONDAY + timedelta(7 * 39), *measured, version=2)
    assert (log.stat().st_size - before) / 4120 < 16  # a page with its head
    store.close()


def test_a_week_without_a_value_has_none(store):
    keep(store, MONDAY, Measurement("auc", None, 2, status="too few"))
    with store.reading() as view:
        [week] = view.weekly("m/1", "auc")
    assert (week.waves, week.mean, week.least, week.most) == (1, None, None, None)


def test_archived_values_are_in_the_file_and_their_summary_stays(store, tmp_path):
    for days in range(4):
        keep(
            store,
            MONDAY + timedelta(days),
            auc(0.7 + days / 100),
            Measurement("brier", None, 1, status="too few"),
        )
    with store.reading() as view:
        before = sorted(map(str, archive.rows(view, MONDAY + timedelta(2))))
        weeks = view.weekly("m/1", "auc")
    made = archive.archive(store, MONDAY + timedelta(2), tmp_path / "kept", "olga")
    assert (made.values, made.evaluations) == (4, 2)
    kept = pq.read_table(made.folder / "values.parquet")
    assert sorted(kept["value"].drop_null().to_pylist()) == [0.7, 0.71]
    assert len(before) == kept.num_rows == 4
    assert archive.verified(made.folder)["values"] == 4
    with store.reading() as view:
        assert [m.value for _, m in view.measurements("m/1", name="auc")] == [0.72, 0.73]
        assert view.weekly("m/1", "auc") == weeks
        assert len(view.all(Evaluation)) == 4  # and so nothing is due again
    assert store.audit_lines()[-1].action == "results.archive"
    with pytest.raises(Refused, match="no values of waves before"):
        archive.archive(store, MONDAY + timedelta(2), tmp_path / "again", "olga")


def test_a_value_that_is_in_no_archive_cannot_go(store, tmp_path):
    for days in range(2):
        keep(store, MONDAY + timedelta(days), auc(0.7))
    archive.archive(store, MONDAY + timedelta(1), tmp_path, "olga")
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), store.transaction() as tx:
        tx.connection.execute(sa.delete(tables.measurements))


def test_an_archive_that_was_changed_is_refused(store, tmp_path):
    keep(store, MONDAY, auc(0.7))
    made = archive.archive(store, MONDAY + timedelta(1), tmp_path, "olga")
    with pytest.raises(Refused, match="holds something already"):
        archive.archive(store, MONDAY + timedelta(1), tmp_path, "olga")
    with (made.folder / "values.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refused, match="is not what was archived"):
        archive.verified(made.folder)


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_every_value_is_exported_and_that_it_was_is_known(store, tmp_path, ending):
    keep(store, MONDAY, auc(0.1 + 0.2, low=0.25), auc(0.5, group="sex=f"))
    keep(store, MONDAY, auc(0.9), model="other/1")
    file = tmp_path / f"all.{ending}"
    assert export(store, file, "m/1", "omar") == 2
    if ending == "parquet":
        found = pq.read_table(file).to_pylist()
    elif ending == "json":
        found = [json.loads(line) for line in file.read_text().splitlines()]
    else:
        lines = file.read_text().splitlines()
        found = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [(r["model_version"], float(r["value"]), r["group"]) for r in found] == [
        ("m/1", 0.1 + 0.2, ""), ("m/1", 0.5, "sex=f"),
    ]  # fmt: skip
    line = store.audit_lines()[-1]
    assert (line.by, line.action, line.subject) == ("omar", "results.export", "m/1")
    with pytest.raises(Invalid, match="exists already"):
        export(store, file, None, "omar")
    with pytest.raises(Invalid, match="does not end in"):
        export(store, tmp_path / "all.xlsx", None, "omar")


def test_an_older_database_keeps_every_measurement_with_its_newest_and_its_weeks(url, monkeypatch):
    from alembic import command

    upgrade = command.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", lambda config, _: upgrade(config, "0005"))
        old = Store(url)
    evaluations = [
        (f"m/1|d/{day}|quality|1", "m/1", f"d/{day}", "quality", 1, "", f"{day} 23:00:00+00:00")
        for day in ("2026-08-09", "2026-08-10", "2026-08-03")
    ]
    measured = [
        (evaluations[at][0], "auc", group, "", value, 0.5, None, 2**31 - 1, "ok")
        for at, value in enumerate((0.7, 0.8, 0.9))
        for group in ("", "sex=f")
    ]
    measured.append((evaluations[0][0], "brier", "", "age", None, None, None, 3, "too few"))
    if old.engine.dialect.name == "postgresql":
        measured.append((evaluations[0][0], "slope", "", "", math.nan, math.inf, 1.0, 3, "ok"))
    with old.engine.connect().execution_options(ndl_write=True) as connection, connection.begin():
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        for table, rows in (("evaluations", evaluations), ("measurements", measured)):
            marks = ", ".join([mark] * len(rows[0]))
            for row in rows:
                stored = row
                if table == "evaluations" and mark == "?":
                    stored = (*row[:-1], row[-1].replace("+00:00", ".000000"))
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", stored)
    old.close()
    now = Store(url)
    with now.reading() as view:
        found = view.measurements("m/1")
        weeks = [(w.start, w.waves, w.least, w.most) for w in view.weekly("m/1", "auc", "sex=f")]
        latest = {(o.measurement.name, o.measurement.group, o.wave, o.day) for o in view.latest(group=None)}
    kept = {(e.id, m.name, m.group, m.feature, m.value, m.low, m.high, m.n, m.status) for e, m in found}
    wanted = {row if row[1] != "slope" else (*row[:4], None, None, 1.0, 3, "undefined") for row in measured}
    assert kept == wanted
    assert weeks == [(MONDAY, 2, 0.7, 0.9), (date(2026, 8, 10), 1, 0.8, 0.8)]
    assert {("auc", "", "d/2026-08-10", date(2026, 8, 10))} <= latest
    keep(now, date(2026, 8, 24), auc(0.6))
    assert newest(now)["auc", ""][0] == "d/2026-08-24"
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), now.transaction() as tx:
        tx.connection.execute(sa.delete(tables.measurements))
    now.close()


def test_ndl_results_shows_exports_and_archives_for_those_who_may(tmp_path, monkeypatch):
    store = Store(f"sqlite:///{tmp_path}/ndl.db", clock=lambda: NOON)
    keep(store, MONDAY, auc(0.7123, low=0.6, high=0.8), auc(0.5, group="sex=f"))

    def ndl(*arguments, roles=(Role.OPERATOR, Role.OVERSEER)):
        console = Console(file=io.StringIO(), width=160)
        box = SimpleNamespace(
            store=store, console=console, person=Person("omar", frozenset(roles)),
            settings=Settings(storage=Storage(folder=tmp_path)),
        )  # fmt: skip
        CliRunner().invoke(results, [str(a) for a in arguments], obj=box, catch_exceptions=False)
        return console.file.getvalue()

    shown = ndl("show", "m/1", "--name", "auc", "--groups")
    for words in ("0.7123", "0.6 to 0.8", "sex=f", "2026-08-03"):
        assert words in shown
    assert "sex=f" not in ndl("show")
    assert "2 values written" in ndl("export", tmp_path / "all.csv")
    assert "2 values of 1 evaluations moved" in ndl("archive", "--before", "2026-08-04")
    for verb in (("show",), ("export", tmp_path / "x.csv"), ("archive", "--before", "2026-08-04")):
        with pytest.raises(Refused, match="Only an"):
            ndl(*verb, roles=(Role.DEVELOPER,))
    store.close()
