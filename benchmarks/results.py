"""How do our tables of results compare with MLflow's, on what 100 models give in a year? In one run, same numbers.

    python benchmarks/results.py [--json FILE] [--check] [--quick]

100 models x 365 waves x 20 measures, one evaluation a model and wave. Ours are written by `add_evaluation`, with
their audit lines, one model a transaction. MLflow's are put straight into its tables (its own calls would take
hours), in both shapes one would choose: for each model one run with a metric a measure, its step the wave, which
is also the LoggedModel's metrics; and for each model and wave a run. Reading is by its client, in process, on
SQLite; the best of three (of one for the slowest), each side in its turn, in CPU time of this process.

* *Model page*: everything of one model. Ours: `series`, as the page reads it; MLflow: `get_metric_history` 20
  times, and `search_runs`.
* *Overview*: the newest value of everything. Ours: `latest`; MLflow: `search_logged_models`, page by page.
* *record()*: one more evaluation, its commit awaited on the disk: the median of 50 after 50 that do not count, by
  the clock. MLflow: as many runs with `log_metrics`.
* *Bytes a value*: pages of evaluations, series, values, newest, weekly and their indexes (SQLite's dbstat); the
  audit lines, of which there is one an evaluation, are printed beside it. MLflow's: all its tables, for each
  shape's share.

Goals: page at least 3 and 10 times faster, overview 1,000, record() 15; at most 70 bytes a value. `--quick` takes
10 models x 52 waves, where only what does not grow with the size is a goal: record().
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # not this folder: the standard library has a module of a script's name

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from sandbox.lifecycle import WaveState
from sandbox.records import Evaluation, Event, Measurement, Wave
from sandbox.registry import mlflow_door
from sandbox.settings import Settings, Storage
from sandbox.storage import Store

MEASURES = 20
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WARM = 50
"""What is recorded before the clock counts: after a bulk of values, a write-ahead log first has to come round."""
GOALS = {"page / get_metric_history": 3, "page / search_runs": 10, "overview": 1000, "record": 15}
MOST_BYTES = 70.0
OURS = ("evaluations", "series", "measurements", "latest", "weekly")
NAMES = [f"measure_{number:02}" for number in range(MEASURES)]


def values_of(model: int, waves: int) -> np.ndarray[Any, Any]:
    """Waves x measures, the same on both sides."""
    return np.random.default_rng([20261128, model]).random((waves, MEASURES))


def fill_ours(store: Store, models: int, waves: int) -> None:
    days = arrive(store, date(2026, 1, 1), waves)
    for model in range(models):
        values = values_of(model, waves)
        with store.transaction() as tx:
            for day, row in zip(days, values, strict=True):
                add(tx, f"model-{model:03}/1", day, row)


def arrive(store: Store, first: date, count: int) -> list[date]:
    """So many waves, one a day; gives their days."""
    days = [first + timedelta(days=number) for number in range(count)]
    with store.transaction() as tx:
        for day in days:
            tx.add(_wave(day), Event("bench", "test", "waves"))
    return days


def add(tx: Any, model: str, day: date, row: Sequence[float]) -> None:
    wave = f"pupils/{day.isoformat()}"
    made = Evaluation(f"{model}|{wave}|quality|1", model, wave, "quality", 1, "", NOON)
    measured = [
        Measurement(name, float(value), 1840, float(value) * 0.95, float(value) * 1.05)
        for name, value in zip(NAMES, row, strict=True)
    ]
    tx.add_evaluation(
        made, measured, Event("worker", "evaluation.finish", made.id, "no result yet", {"failure": ""})
    )


def _wave(day: date) -> Wave:
    name = day.isoformat()
    return Wave(
        f"pupils/{name}", "pupils", name, day, 1840, 1840, "ab" * 32, f"waves/{name}.parquet",
        WaveState.ACCEPTED, {}, NOON, "dana",
    )  # fmt: skip


def fill_mlflow(client: Any, file: Path, models: int, waves: int) -> tuple[list[str], str]:
    """Puts the same numbers into MLflow's tables; gives each model's run, and the experiment."""
    experiment = client.create_experiment("results")
    with mlflow_door.quiet():
        logged = [client.create_logged_model(experiment, name=f"model-{m:03}") for m in range(models)]
        runs = [client.create_run(experiment, run_name=f"model-{m:03}").info.run_id for m in range(models)]
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        template = dict(connection.execute(sa.text("SELECT * FROM runs LIMIT 1")).mappings().one())
        for model in range(models):
            values = values_of(model, waves)
            _by_step(connection, experiment, logged[model].model_id, runs[model], values)
            _by_run(connection, template, model, values)
    engine.dispose()
    return runs, experiment


def _by_step(connection: sa.Connection, experiment: str, model: str, run: str, values: Any) -> None:
    rows = [
        {
            "key": name,
            "value": float(values[step, at]),
            "timestamp": step,
            "step": step,
            "run_uuid": run,
            "is_nan": 0,
        }
        for step in range(len(values))
        for at, name in enumerate(NAMES)
    ]
    _put(connection, "metrics", rows)
    _put(connection, "latest_metrics", rows[-MEASURES:])
    of_model = [
        {
            "model_id": model, "experiment_id": int(experiment), "run_id": run, "metric_name": row["key"],
            "metric_timestamp_ms": row["step"], "metric_step": row["step"], "metric_value": row["value"],
        }
        for row in rows
    ]  # fmt: skip
    _put(connection, "logged_model_metrics", of_model)


def _by_run(connection: sa.Connection, template: dict[str, Any], model: int, values: Any) -> None:
    keys = [f"{model:08x}{wave:024x}" for wave in range(len(values))]
    made = [{**template, "run_uuid": key, "name": f"wave-{wave}"} for wave, key in enumerate(keys)]
    _put(connection, "runs", made)
    tags = [{"key": "model", "value": f"model-{model:03}", "run_uuid": key} for key in keys]
    _put(connection, "tags", tags)
    rows = [
        {
            "key": name,
            "value": float(values[wave, at]),
            "timestamp": 0,
            "step": 0,
            "run_uuid": key,
            "is_nan": 0,
        }
        for wave, key in enumerate(keys)
        for at, name in enumerate(NAMES)
    ]
    for table in ("metrics", "latest_metrics"):
        _put(connection, table, rows)


def _put(connection: sa.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"), rows)


def best(what: Callable[[], float], times: int) -> tuple[float, float]:
    """The least CPU seconds of so many tries, and the sum of the numbers it read."""
    spent = []
    for _ in range(times):
        before = time.process_time()
        total = what()
        spent.append(time.process_time() - before)
    return min(spent), total


def our_page(store: Store, model: str) -> float:
    with store.reading() as view:
        return sum(row[0] or 0.0 for line in view.series(model) for row in line.rows.values())


def our_overview(store: Store) -> float:
    with store.reading() as view:
        return sum(one.measurement.value or 0.0 for one in view.latest(group=None))


def metric_history(client: Any, run: str) -> float:
    return sum(m.value for name in NAMES for m in client.get_metric_history(run, name))


def search_runs(client: Any, experiment: str, model: str) -> float:
    total, token = 0.0, None
    while True:
        found = client.search_runs(
            [experiment], f"tags.model = '{model}'", max_results=1000, page_token=token
        )
        total += sum(sum(run.data.metrics.values()) for run in found)
        if not (token := found.token):
            return total


def search_models(client: Any, experiment: str) -> float:
    total, token = 0.0, None
    while True:
        found = client.search_logged_models([experiment], max_results=50, page_token=token)
        for model in found:
            newest = {m.key: (m.step, m.value) for m in sorted(model.metrics or [], key=lambda m: m.step)}
            total += sum(value for _, value in newest.values())
        if not (token := found.token):
            return total


def record_ours(store: Store) -> float:
    row, spent = values_of(999, 1)[0], []
    for day in arrive(store, date(2030, 1, 1), WARM + 50):
        before = time.perf_counter()
        with store.transaction() as tx:
            add(tx, "model-000/1", day, row)
        spent.append(time.perf_counter() - before)
    return statistics.median(spent[WARM:])


def record_mlflow(settings: Settings) -> float:
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow_url)
    mlflow.set_experiment("fluent")
    row, spent = dict(zip(NAMES, map(float, values_of(999, 1)[0]), strict=True)), []
    for number in range(WARM + 50):
        before = time.perf_counter()
        with mlflow.start_run():
            mlflow.log_metrics(row, step=number)
        spent.append(time.perf_counter() - before)
    return statistics.median(spent[WARM:])


def sizes(file: Path) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    engine = sa.create_engine(f"sqlite:///{file}")
    query = "SELECT m.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_master m ON m.name = d.name GROUP BY m.tbl_name"
    with engine.connect() as connection:
        found = {name: int(size) for name, size in connection.execute(sa.text(query))}
    engine.dispose()
    return found


@contextmanager
def said(what: str) -> Iterator[None]:
    before = time.perf_counter()
    print(f"{what} ...", end=" ", flush=True)
    yield
    print(f"{time.perf_counter() - before:.0f} s", flush=True)


def measure(models: int, waves: int, folder: Path) -> dict[str, Any]:
    settings = Settings(storage=Storage(folder=folder))
    store, count = Store(f"sqlite:///{folder}/ndl.db"), models * waves * MEASURES
    with said(f"Ours: {count:,} values"):
        fill_ours(store, models, waves)
    client = mlflow_door.client(settings)
    with said("MLflow's: the same twice over"):
        runs, experiment = fill_mlflow(client, folder / "mlflow.db", models, waves)
    middle = models // 2
    name = f"model-{middle:03}"
    page, total = best(lambda: our_page(store, f"{name}/1"), 3)
    history, of_history = best(lambda: metric_history(client, runs[middle]), 3)
    runs_page, of_runs = best(lambda: search_runs(client, experiment, name), 3)
    overview, newest = best(lambda: our_overview(store), 5)
    models_page, of_models = best(lambda: search_models(client, experiment), 1)
    wanted = float(values_of(middle, waves).sum())
    last = sum(float(values_of(m, waves)[-1].sum()) for m in range(models))
    for found, right in (
        (total, wanted),
        (of_history, wanted),
        (of_runs, wanted),
        (newest, last),
        (of_models, last),
    ):
        assert abs(found - right) < 1e-6 * abs(right), "both sides must read the same numbers"
    ours, theirs = sizes(folder / "ndl.db"), sizes(folder / "mlflow.db")
    theirs_run = sum(theirs[table] for table in ("metrics", "latest_metrics", "runs", "tags"))
    own, fluent = record_ours(store), record_mlflow(settings)
    store.close()
    return {
        "values": count,
        "seconds": {
            "page": page, "get_metric_history": history, "search_runs": runs_page, "overview": overview,
            "search_logged_models": models_page, "record": own, "fluent run": fluent,
        },
        "ratios": {
            "page / get_metric_history": history / page, "page / search_runs": runs_page / page,
            "overview": models_page / overview, "record": fluent / own,
        },
        "bytes": {
            "ours": sum(ours[table] for table in OURS) / count,
            "of which values": ours["measurements"] / count,
            "our audit lines": ours["audit"] / count,
            "MLflow, a metric of two runs": theirs_run / count,
            "MLflow, a metric of a model": theirs["logged_model_metrics"] / count,
        },
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    models, waves = (10, 52) if options.quick else (100, 365)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # MLflow makes a folder where it stands
        found = measure(models, waves, Path(folder))
        os.chdir(ROOT)
    print(f"\n{models} models x {waves} waves x {MEASURES} measures")
    for name, seconds in found["seconds"].items():
        print(f"  {name:28}{seconds * 1000:12,.1f} ms")
    for name, ratio in found["ratios"].items():
        print(f"  {name:28}{ratio:12,.1f} times (goal {GOALS[name]:,})")
    for name, size in found["bytes"].items():
        print(
            f"  {name:28}{size:12,.1f} bytes a value" + (f" (goal {MOST_BYTES:g})" if name == "ours" else "")
        )
    asked = {"record"} if options.quick else set(GOALS)
    ratios = found["ratios"]
    missed = [
        f"{name}: {ratios[name]:.1f} times, not {GOALS[name]}"
        for name in sorted(asked)
        if ratios[name] < GOALS[name]
    ]
    if not options.quick and found["bytes"]["ours"] > MOST_BYTES:
        missed.append(f"bytes a value: {found['bytes']['ours']:.1f}, not {MOST_BYTES:g}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
