"""What does the release gate cost a training, and how sure is it of a noise / 1.05?

    python benchmarks/gate.py [--json FILE] [--check]

CPU seconds of the same training without and with the gate, in one process, and how far below its level the
gate's surest check lies when the noise is a twentieth too small. Goals: 60 CPU seconds at most for each
training, no right training kept back, every noise / 1.05 kept back.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GOAL_SECONDS = 60.0
SETTINGS: dict[str, dict[str, Any]] = {
    "logistic, 300 units, 20 steps": {"recipe": "logistic", "units": 300, "rate": 0.2, "steps": 20},
    "gam, 12,000 units, all, 120 steps": {"recipe": "gam", "units": 12_000, "rate": 1.0, "steps": 120},
    "ebm, 12,000 units, all, 1,000 steps": {"recipe": "ebm", "units": 12_000, "rate": 1.0, "steps": 1_000},
    "MLP 16, 3,000 units, 60 steps": {
        "recipe": "mlp",
        "hidden": [16],
        "units": 3_000,
        "rate": 0.1,
        "steps": 60,
    },
    "MLP 64, 20,000 units, 60 steps": {
        "recipe": "mlp",
        "hidden": [64],
        "units": 20_000,
        "rate": 0.2,
        "steps": 60,
    },
    "logistic, 5,000 units, 1,000 steps": {
        "recipe": "logistic",
        "units": 5_000,
        "rate": 0.02,
        "steps": 1_000,
    },
}


@dataclass(frozen=True)
class Row:
    name: str
    without: float
    gated: float
    kept_back: bool
    digits: float
    """By how many powers of ten the surest check of a noise / 1.05 passes the level at which it refuses."""

    def missed(self) -> list[str]:
        goals = (
            (f"the gate took {self.gated - self.without:.0f} s", self.gated - self.without <= GOAL_SECONDS),
            ("a right training was kept back", not self.kept_back),
            ("a noise / 1.05 passed", self.digits > 0),
        )
        return [f"{self.name}: {what}" for what, met in goals if not met]


def measured(name: str, recipe: str, units: int, rate: float, steps: int, **more: Any) -> Row:
    import torch

    from sandbox.catalogue.inputs import Inputs
    from sandbox.privacy import accounting
    from sandbox.submissions import recipes
    from sandbox.submissions.export.exporter import export
    from sandbox.submissions.graph.lift import Model
    from sandbox.training import boosting, loop
    from sandbox.training.gate.check import Check, limit
    from sandbox.training.gate.gate import Gate, Judgement
    from sandbox.training.plan import Plan
    from sandbox.training.sampler import Randomness, UnitRows

    torch.set_num_threads(1)
    inputs = Inputs("binary", 1, numbers=8)
    model = Model(export(recipes.build(recipe, {"bins": 8, **more}, inputs), inputs))
    features = {"numbers": torch.rand(units, 8) * 2 - 1}
    target, codes = (features["numbers"][:, 0] > 0).long(), np.arange(units)
    noise = accounting.noise_for(1.0, 1e-6, rate, steps)
    tables = {"terms": [8] * 8, "ordered": 8, "leaves": 3} if recipe == "ebm" else {}
    plan = Plan(1.0, 1e-6, units, 1, rate, steps, 1.0, 0.05, "binary", 0.5, noise, **tables)
    event = accounting.dp_sgd_event(noise, rate, steps)
    given = model, features, target, UnitRows(codes, 1), plan

    def gated() -> Judgement:
        gate = Gate(event, plan, model, features, target, codes)
        weights = loop.fit(*given, Randomness.of_the_system(), canaries=gate.canaries, observe=gate.observe)
        return gate.judge(weights)

    gated()  # once, so that nothing is compiled or loaded on the clock
    without = _seconds(lambda: loop.fit(*given, Randomness.of_the_system()))[1]
    judged, took = _seconds(gated)
    learns: Any = boosting if recipe == "ebm" else loop
    right = learns.noised
    learns.noised = lambda total, deviation, *more: right(total, deviation / 1.05, *more)
    try:
        checks: list[Check] = list(gated().checks)
    finally:
        learns.noised = right
    digits = max(limit(check, checks) - check.log10_p for check in checks)
    return Row(name, without, took, bool(judged.failed), digits)


def _seconds(job: Callable[[], Any]) -> tuple[Any, float]:
    before = time.process_time()
    done = job()
    return done, time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    sys.path.pop(0)  # this folder: the standard library has a `statistics` too
    rows = [measured(name, **setting) for name, setting in SETTINGS.items()]
    print(f"{'training':<38}{'without':>9}{'gated':>9}{'ratio':>7}  noise / 1.05 refused by 10^")
    for row in rows:
        ratio = row.gated / max(row.without, 1e-9)
        print(f"{row.name:<38}{row.without:>8.2f}s{row.gated:>8.2f}s{ratio:>7.2f}  {row.digits:.0f}")
    if asked.json:
        finite = [{**vars(row), "digits": row.digits if math.isfinite(row.digits) else None} for row in rows]
        asked.json.write_text(json.dumps(finite, indent=1))
    missed = [what for row in rows for what in row.missed()]
    if asked.check and missed:
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
