"""How much memory does a training on very many records take? Ten million rows of twenty numbers, in its own process.

    python benchmarks/training_scale.py [--json FILE] [--check] [--rows 10000000] [--steps 50] [--folder FOLDER]

Writes a Parquet file as datasets are kept, then reads it, encodes it and takes steps of an MLP on batches of 2,048 as
a training does, with the release gate beside it; the peak is that of the whole process, imports and mapped pages
included. With --steps 1000 every page is touched. Goal: under 2 GB.
Also how long drawing a batch takes, which must not grow with the number of people. Linux only; 3 GB of disk.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # this folder last: the standard library has a `statistics` too

import argparse
import json
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.catalogue.card import Card
from sandbox.catalogue.document import sha256_of
from sandbox.records import Dataset

GOAL_GB, DRAW_GOAL = 2.0, 3.0
COLUMNS, GROUP, BATCH = 20, 1_000_000, 2_048
CARD: dict[str, Any] = {
    "name": "Many",
    "ndl:dataset": {
        "name": "many", "population": "many_people", "unit": "person", "unit_means": "one person", "recurs": False,
        "max_rows_per_unit": 1, "custodian": {"name": "Dana", "contact": "d@example.org"}, "licence": "OGL-UK-3.0",
        "attribution": "Made up", "synthetic": True, "purposes": ["testing"],
        "columns": {
            "person": {"kind": "identifier", "feature": False},
            "answer": {"kind": "boolean", "feature": False},
            **{f"x{i}": {"kind": "number", "minimum": 0, "maximum": 1} for i in range(COLUMNS)},
        },
        "tasks": {"answer": {"kind": "binary", "target": "answer", "question": "Yes?"}},
        "training": {"file": "t.parquet", "wave": "w1", "day": "2026-01-01", "held_out_share": 0.3},
        "budget": {"training": {"epsilon": 8, "delta": 1e-9}, "held_out": {"epsilon": 3, "delta": 1e-9}},
    },
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(trained(options.train, options.rows, options.steps)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "t.parquet"
        write(file, options.rows)
        command = [sys.executable, __file__, "--train", str(file), "--rows", str(options.rows)]
        command += ["--steps", str(options.steps)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout.splitlines()[-1])
    print(f"{options.rows:,} rows of {COLUMNS} numbers, {file.name} written by us, batch {BATCH:,}")
    for name, value in found.items():
        print(f"  {name:32} {value:10.3f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    missed = []
    if found["peak GB"] > GOAL_GB:
        missed.append(f"the peak is {found['peak GB']:.2f} GB, more than {GOAL_GB}")
    if found["draw, times one of 100,000"] > DRAW_GOAL:
        missed.append(
            f"drawing takes {found['draw, times one of 100,000']:.1f} x that of 100,000, more than {DRAW_GOAL}"
        )
    for goal in missed:
        print(f"MISSED: {goal}")
    return 1 if options.check and missed else 0


def write(file: Path, rows: int) -> None:
    """A portion at a time, as large files come."""
    generator, writer = np.random.default_rng(1), None
    for start in range(0, rows, GROUP):
        n = min(GROUP, rows - start)
        columns: dict[str, Any] = {"person": np.arange(start, start + n)}
        columns |= {f"x{i}": generator.random(n, np.float32) for i in range(COLUMNS)}
        columns["answer"] = columns["x0"] > 0.5
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def trained(file: Path, rows: int, steps: int) -> dict[str, float]:
    import torch
    from torch import nn

    from sandbox.catalogue.encoding import Encoding
    from sandbox.privacy import accounting
    from sandbox.submissions.export.exporter import export
    from sandbox.submissions.graph.lift import Model
    from sandbox.training import encoded, loop
    from sandbox.training.gate.gate import Gate
    from sandbox.training.plan import Plan
    from sandbox.training.sampler import Randomness, UnitRows, draw

    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(COLUMNS, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            seen: torch.Tensor = self.layers(numbers)
            return seen

    torch.set_num_threads(1)
    card = Card.from_json(CARD)
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    dataset = Dataset(
        "many", "Many", "many_people", CARD, card.digest, str(file), rows, rows, sha256_of(file), noon, "dana"
    )
    encoding, start = Encoding(card, "answer"), time.process_time()
    before = peak_gb()
    records = encoded.of(dataset, encoding, file.parent)
    reading, start = time.process_time() - start, time.process_time()
    read = peak_gb()
    plan = Plan(
        epsilon=1.0, delta=1e-9, units=rows, max_rows_per_unit=1, sampling_rate=BATCH / rows, steps=steps, clip=1.0,
        learning_rate=0.01, loss="binary", noise_multiplier=1.0,
    )  # fmt: skip
    units, randomness = UnitRows(records.codes, 1), Randomness.of_the_system()
    model, event = Model(export(Mlp(), encoding.inputs)), accounting.dp_sgd_event(1.0, BATCH / rows, steps)
    gate = Gate(event, plan, model, records.features, records.target, records.codes)
    weights = loop.fit(
        model, records.features, records.target, units, plan, randomness,
        canaries=gate.canaries, observe=gate.observe,
    )  # fmt: skip
    assert not gate.judge(weights).failed
    stepping = (time.process_time() - start) / steps
    times = {}
    for people in (rows, 100_000):
        start = time.process_time()
        for _ in range(200):
            draw(people, BATCH / people, randomness.sampling)
        times[people] = time.process_time() - start
    return {
        "peak GB": peak_gb(), "of it imports": before, "peak when read": read,
        "reading and encoding, CPU s": reading, "a step with all about it, CPU s": stepping,
        "draw, times one of 100,000": times[rows] / times[100_000],
    }  # fmt: skip


def peak_gb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


if __name__ == "__main__":
    sys.exit(main())
