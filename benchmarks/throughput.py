"""What does evaluating cost beside reading and asking the model? Ten million records with 20 features, in one run.

    python benchmarks/throughput.py [--json FILE] [--check] [--quick] [--rows N]

A Parquet file (12 numbers, 6 categories, 2 booleans, two of the categories sensitive; an outcome; row groups of
131,072) and an untrained `mlp` recipe of the record graph, float32. Each line is a process of its own, one
thread, measured from after it has done the same with the first 1,000 records to its end:

* *scan and forward*: reads, encodes and asks the model, batch by batch, and keeps nothing.
* *everything*: the same and every table of the tally (inputs, scores, groups, pairs) and of the evaluators that
  bring their own, then every evaluator, with this wave as its reference too. Goal: at most 1.15 times the CPU, and
  under 500 MB at the peak.
* *two workers*: half the row groups each at the same time, added up: bit for bit the same tally. Goal: 1.7 times as
  fast by the clock (of a machine that others use too, the CPU of the slower worker says what an idle one would do).
* *pandas and scikit-learn*: reads the file whole, asks the model, and takes the metrics that the evaluators take of
  scores and groups (not of the inputs); *fairlearn*: its MetricFrame alone on those scores, against the tally's
  tables of them alone. Both on fewer records, for time and memory, scaled to one million.

The machine's speed swings by a fifth within minutes. So *scan and forward* and *everything* take turns of half a
second, while the other one is stopped: both meet the same good and bad seconds. Of five such rounds the one with
the median ratio of their CPU counts, and of memory the most of any. All five are printed.

`--quick`: 400,000 records, one round.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # not this folder: the standard library has a module of a script's name

import argparse
import gc
import hashlib
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluators import scoring
from evaluators.base import Context
from evaluators.catalogue import evaluators_for
from evaluators.counting import EVERYDAY, builder_of, count_batches
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding

ROW_GROUP = 131_072
MOST_CPU, MOST_MB, LEAST_SPEEDUP = 1.15, 500.0, 1.7
ROUNDS, TURN_SECONDS = 5, 0.5
FIRST, FIRST_ROWS = "first.parquet", 1_000
AREAS = tuple(f"area {number}" for number in range(10))
NUMBERS = tuple(f"number_{number:02}" for number in range(12))
WORDS = {f"word_{number}": tuple("abcdefgh"[: 3 + number]) for number in range(4)}
GROUPS = {"sex": ("f", "m"), "area": AREAS}


def card() -> Card:
    columns: dict[str, Any] = {"person": {"kind": "identifier", "feature": False}}
    columns |= {name: {"kind": "number", "minimum": -5, "maximum": 5} for name in NUMBERS}
    columns |= {name: {"kind": "category", "categories": list(words)} for name, words in WORDS.items()}
    columns |= {
        name: {"kind": "category", "categories": list(words), "sensitive": True}
        for name, words in GROUPS.items()
    }
    columns |= {name: {"kind": "boolean"} for name in ("flag_0", "flag_1")}
    columns["passed"] = {"kind": "boolean", "feature": False}
    section = {
        "name": "bench", "population": "bench_people", "unit": "person", "unit_means": "one person",
        "custodian": {"name": "Dana", "contact": "dana@example.org"}, "licence": "OGL-UK-3.0",
        "attribution": "Made up", "synthetic": True, "purposes": ["measuring"], "columns": columns,
        "tasks": {"passed": {"kind": "binary", "target": "passed", "question": "Will this person pass?"}},
        "training": {"file": "t.parquet", "wave": "w1", "day": "2026-01-01", "held_out_share": 0.3},
        "budget": {"training": {"epsilon": 8, "delta": 1e-6}, "held_out": {"epsilon": 3, "delta": 1e-6}},
    }  # fmt: skip
    return Card.from_json({"name": "Bench", "ndl:dataset": section})


def write(path: Path, rows: int) -> None:
    rng, writer = np.random.default_rng(20261128), None
    for start in range(0, rows, ROW_GROUP):
        n = min(ROW_GROUP, rows - start)
        numbers = {name: rng.normal(0, 1, n).clip(-5, 5).astype(np.float32) for name in NUMBERS}
        words = {
            name: pa.DictionaryArray.from_arrays(
                rng.integers(0, len(listed), n).astype(np.int32), list(listed)
            )
            for name, listed in (WORDS | GROUPS).items()
        }
        flags = {name: rng.random(n) < 0.3 for name in ("flag_0", "flag_1")}
        chance = 1 / (1 + np.exp(-numbers["number_00"] - 0.5 * numbers["number_01"]))
        columns = {"person": np.arange(start, start + n), **numbers, **words, **flags}
        table = pa.table({**columns, "passed": rng.random(n) < chance})
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def make_model(folder: Path) -> None:
    """An untrained model as the registry keeps one."""
    from sandbox.registry import artifact
    from sandbox.submissions.admission import from_recipe
    from sandbox.submissions.graph.document import RecordGraph

    encoding = Encoding(card(), "passed")
    data, _ = from_recipe("mlp", {}, encoding.inputs)
    artifact.write(folder, RecordGraph.from_bytes(data), encoding.card, "passed", {})


def scorer_of(folder: Path) -> Any:
    import torch

    from sandbox.registry import artifact

    torch.set_num_threads(1)
    registered = json.loads((folder / artifact.MODEL).read_text())["graph_sha256"]
    return artifact.read(folder, registered)  # as evaluators do: what lies as registered


def scan(path: Path, encoding: Encoding, scorer: Any, _groups: list[int] | None) -> Any:
    total = 0.0
    for batch in scoring.score(scoring.read(path, encoding), scorer, encoding):
        total += float(batch.said.sum())
    return total


def everything(path: Path, encoding: Encoding, scorer: Any, groups: list[int] | None) -> Any:
    own = [made for e in evaluators_for(encoding.task.kind) if (made := builder_of(e))]
    if groups is not None:
        own = [builder for builder in own if builder.name != "cost"]  # of the moment: never twice the same
    rows, wanted = pq.ParquetFile(path).metadata.num_rows, [None] if groups is None else [[g] for g in groups]
    total: list[scoring.Tally] = []
    for part in wanted:  # a shard's row groups are kept one by one
        batches = scoring.score(scoring.read(path, encoding, part), scorer, encoding)
        made = count_batches(batches, [EVERYDAY, *own], rows, f"bench {part}", {"before": scorer})
        assert not [each for each in made if isinstance(each, Exception)], made
        total = [a + b for a, b in zip(total, made, strict=True)] if total else list(made)
    tally = scoring.Tally({name: table for made in total for name, table in made.tables.items()})
    if groups is None:
        context = Context(tally, encoding.card, encoding.task, tally, "bench")
        return [e.measure(context) for e in evaluators_for(encoding.task.kind)]
    return tally.to_bytes()


def pandas_sklearn(path: Path, encoding: Encoding, scorer: Any, _groups: list[int] | None) -> Any:
    import pandas as pd
    from sklearn import metrics as sk

    frame = pd.read_parquet(path)
    score = scorer.probabilities(encoding.features(frame))
    truth = frame["passed"].to_numpy()

    def of(y: Any, p: Any) -> list[float]:
        chosen = p >= 0.5
        tn, fp, fn, tp = sk.confusion_matrix(y, chosen).ravel()
        curve = np.histogram(p, 20, (0, 1), weights=y)
        return [
            sk.roc_auc_score(y, p), sk.average_precision_score(y, p), sk.accuracy_score(y, chosen),
            sk.f1_score(y, chosen), sk.log_loss(y, p), sk.brier_score_loss(y, p), tp / (tp + fn), fp / (fp + tn),
            p.mean() - y.mean(), float(curve[0].sum()),
        ]  # fmt: skip

    found = [of(truth, score)]
    by = [["sex"], ["area"], ["sex", "area"]]
    for columns in by:
        for places in frame.groupby(columns, observed=True).indices.values():
            found.append(of(truth[places], score[places]))
    return found


def _scored(path: Path, encoding: Encoding, scorer: Any) -> tuple[Any, Any, Any]:
    table = pq.read_table(path, use_threads=False)
    score = scorer.probabilities(encoding.features(table))
    return table, score, table.column("passed").to_numpy()


def fairlearn_frame(
    path: Path, encoding: Encoding, scorer: Any, _groups: list[int] | None
) -> Callable[[], Any]:
    from fairlearn import metrics as fm
    from sklearn import metrics as sk

    table, score, truth = _scored(path, encoding, scorer)
    sensitive = table.select(list(GROUPS)).to_pandas()
    hard = {
        "accuracy": sk.accuracy_score, "selection_rate": fm.selection_rate,
        "tpr": fm.true_positive_rate, "fpr": fm.false_positive_rate,
    }  # fmt: skip

    def frames() -> Any:
        chosen = score >= 0.5
        made = []
        for columns in (["sex"], ["area"], ["sex", "area"]):
            features = sensitive[columns]
            made.append(
                fm.MetricFrame(
                    metrics=hard, y_true=truth, y_pred=chosen, sensitive_features=features
                ).by_group
            )
            auc = {"auc": sk.roc_auc_score}
            made.append(
                fm.MetricFrame(metrics=auc, y_true=truth, y_pred=score, sensitive_features=features).by_group
            )
        return made

    return frames


def tables_alone(path: Path, encoding: Encoding, scorer: Any, _groups: list[int] | None) -> Callable[[], Any]:
    table, score, truth = _scored(path, encoding, scorer)
    labelled = np.ones(len(score), bool)
    outcome = truth.astype(np.int64)

    def count() -> Any:
        for start in range(0, len(score), scoring.BATCH_ROWS):
            part = slice(start, start + scoring.BATCH_ROWS)
            rows = table.slice(start, scoring.BATCH_ROWS)
            scoring._binary(scoring.Batch(rows, encoding, score[part], labelled[part], outcome[part]))

    return count


ROLES: dict[str, Any] = {
    "scan": scan, "everything": everything, "shard": everything, "pandas": pandas_sklearn,
    "fairlearn": fairlearn_frame, "tables": tables_alone,
}  # fmt: skip


def work(role: str, path: Path, groups: list[int] | None) -> None:
    """One line of the table, as JSON on stdout."""
    if role == "model":
        make_model(path.parent / "model")
        print("{}")
        return
    encoding = Encoding(card(), "passed")
    scorer = scorer_of(path.parent / "model")
    for file, of in ((path.with_name(FIRST), groups and [0]), (path, groups)):  # only the last is measured
        todo = partial(ROLES[role], file, encoding, scorer, of)
        if role in ("fairlearn", "tables"):
            todo = todo()
        gc.collect()  # or what the imports left is collected at any time
        cpu, wall = time.process_time(), time.perf_counter()
        out = todo()
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "start": time.time()}
    found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if isinstance(out, bytes):
        found["sha256"] = hashlib.sha256(out).hexdigest()
        Path(f"{path}.{groups[0] if groups else 0}.tally").write_bytes(out)
    print(json.dumps(found))


def start(role: str, path: Path, groups: list[int] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--role", role, "--file", str(path)]
    command += ["--groups", ",".join(map(str, groups))] if groups else []
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a process of the benchmark failed with {process.returncode}")
    made: dict[str, Any] = json.loads(out.splitlines()[-1])
    return made


def turn_about(path: Path, roles: tuple[str, ...]) -> dict[str, Any]:
    """Each in a process of its own, of which one goes on at a time, for TURN_SECONDS."""
    working = {role: start(role, path) for role in roles}
    try:
        for process in working.values():
            process.send_signal(signal.SIGSTOP)
        while any(process.poll() is None for process in working.values()):
            for process in working.values():
                process.send_signal(signal.SIGCONT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TURN_SECONDS)
                process.send_signal(signal.SIGSTOP)
        return {role: result(process) for role, process in working.items()}
    finally:
        for process in working.values():
            process.kill()


def times_the_scan(found: dict[str, Any]) -> float:
    """How many times the CPU of reading and asking it takes to evaluate."""
    return float(found["everything"]["cpu"] / found["scan"]["cpu"])


def measure(rows: int, small_rows: int, number_of_rounds: int, folder: Path) -> dict[str, Any]:
    path, small = folder / "wave.parquet", folder / "small.parquet"
    for file, long in ((path, rows), (small, small_rows), (folder / FIRST, FIRST_ROWS)):
        write(file, long)
    result(start("model", path))
    print(f"{rows:,} records, {path.stat().st_size / 2**20:,.0f} MB of Parquet\n")
    rounds = sorted(
        (turn_about(path, ("scan", "everything")) for _ in range(number_of_rounds)), key=times_the_scan
    )
    found, peaks = rounds[len(rounds) // 2], [one["everything"]["mb"] for one in rounds]
    print("everything / scan and forward:", *(f"{times_the_scan(one):.3f}" for one in rounds))
    print("everything, peak MB:", *(f"{peak:.0f}" for peak in peaks))
    found["everything"]["mb"] = max(peaks)
    groups = list(range(pq.ParquetFile(path).metadata.num_row_groups))
    alone = result(start("shard", path, groups))
    halves = groups[::2], groups[1::2]
    pair = [result(p) for p in [start("shard", path, half) for half in halves if half]]
    found |= {"one worker": alone, "slower of two": max(pair, key=lambda one: one["wall"])}
    parts = [
        scoring.Tally.from_bytes(Path(f"{path}.{half[0]}.tally").read_bytes()) for half in halves if half
    ]
    # the first half's file replaced the whole's, whose digest is kept
    summed = parts[0] + parts[1] if len(parts) > 1 else parts[0]
    assert hashlib.sha256(summed.to_bytes()).hexdigest() == alone["sha256"], "two workers must count the same"
    for role in ("pandas", "tables", "fairlearn"):
        if role == "fairlearn" and not _has_fairlearn():
            continue
        found[role] = result(start(role, small))
    return found


def _has_fairlearn() -> bool:
    from importlib.util import find_spec

    return find_spec("fairlearn") is not None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000_000)
    for hidden in ("--role", "--file", "--groups"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        numbers = [int(n) for n in options.groups.split(",")] if options.groups else None
        work(options.role, Path(options.file), numbers)
        return 0
    rows = 400_000 if options.quick else options.rows
    small = min(rows, 400_000)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(rows, small, 1 if options.quick else ROUNDS, Path(folder))
    return report(found, rows, small, options)


def report(found: dict[str, Any], rows: int, small: int, options: argparse.Namespace) -> int:
    print(f"{'':28}{'CPU s':>9}{'per million':>13}{'peak MB':>10}")
    for name, one in found.items():
        million = one["cpu"] / (small if name in ("pandas", "tables", "fairlearn") else rows) * 1e6
        print(f"{name:28}{one['cpu']:9.2f}{million:13.3f}{one['mb']:10.0f}")
    per = rows / small
    ratios = {
        "everything / scan and forward": times_the_scan(found),
        "two workers, by the clock": found["one worker"]["wall"] / found["slower of two"]["wall"],
        "two workers, by their CPU": found["one worker"]["cpu"] / found["slower of two"]["cpu"],
        "pandas and sklearn / everything": found["pandas"]["cpu"] * per / found["everything"]["cpu"],
    }
    if "fairlearn" in found:
        ratios["fairlearn / tables of scores"] = found["fairlearn"]["cpu"] / found["tables"]["cpu"]
    print()
    for name, ratio in ratios.items():
        print(f"{name:34}{ratio:9.2f}")
    missed = []
    if ratios["everything / scan and forward"] > MOST_CPU:
        missed.append(
            f"CPU: {ratios['everything / scan and forward']:.2f} times scan and forward, not {MOST_CPU}"
        )
    if found["everything"]["mb"] >= MOST_MB:
        missed.append(f"memory: {found['everything']['mb']:.0f} MB, not under {MOST_MB:.0f}")
    if not options.quick and ratios["two workers, by the clock"] < LEAST_SPEEDUP:
        missed.append(
            f"two workers: {ratios['two workers, by the clock']:.2f} times as fast, not {LEAST_SPEEDUP}"
        )
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "measured": found, "ratios": ratios}, indent=2))
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
