"""Do the intervals hold what they promise? Coverage of nominal 95 % intervals over simulated waves.

    python benchmarks/statistics.py [--json FILE] [--check] [--repeats 400]

Each row is one setting: a wave is drawn anew `repeats` times from a known truth, and the table says how
often the interval held that truth, and how wide it was. Goal: no setting below 93 % less three standard
errors of the simulation.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder: the standard library has a module of this script's name

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evaluators import axes, calibration, discrimination, drift
from evaluators.intervals import Estimate, rate

GOAL = 0.93
BINS = 1024
FINE = np.linspace(-4, 4, 20001)
Truth = float
Draw = Callable[[np.random.Generator], Estimate]


def settings() -> Iterator[tuple[str, Truth, Draw]]:
    """Name, the true value, and how to draw one wave and estimate it."""
    for p in (0.01, 0.1, 0.5):
        for n in (50, 1000):
            yield f"rate p={p} n={n}", p, lambda g, p=p, n=n: rate(g.binomial(n, p), n)
    for n in (200, 1500, 20000):
        for off in (0.0, 0.05, 0.3):
            yield from _scored(n, off)
    for n in (200, 1000, 20000):
        for moved in (0.0, 0.02, 0.1):
            yield from _histograms(n, moved)


def _scored(n: int, off: float) -> Iterator[tuple[str, Truth, Draw]]:
    """Scores whose log odds are N(-1, 1); outcomes follow log odds shifted by `off`."""
    density = np.exp(-(FINE**2) / 2)
    density /= density.sum()
    p, q = _expit(FINE - 1), _expit(FINE - 1 + off)

    def wave(g: np.random.Generator, size: int = n) -> Any:
        z = g.normal(size=size) - 1
        outcome = (g.random(size) < _expit(z + off)).astype(np.int64)
        at = np.searchsorted(axes.score_edges(BINS)[1:-1], _expit(z), side="right")
        return np.bincount(outcome * BINS + at, minlength=2 * BINS).reshape(2, BINS)

    tenths = np.floor(np.minimum(np.cumsum(density), 1 - 1e-12) * 10)
    ece = sum(abs(((p - q) * density)[tenths == k].sum()) for k in range(10))
    positives, negatives = q * density, (1 - q) * density
    below = np.cumsum(negatives) - negatives / 2
    auc = float((positives * below).sum() / positives.sum() / negatives.sum())
    yield f"auc n={n} off={off}", auc, lambda g: _known(discrimination.auc_of(wave(g), 1))
    yield (
        f"calibration bias n={n} off={off}",
        float((density * (p - q)).sum()),
        lambda g: calibration.bias(wave(g)),
    )

    def estimate_ece(g: np.random.Generator) -> Estimate:
        counts = wave(g)
        return calibration._ece(calibration._tenths(counts), counts, g)

    yield f"ece n={n} off={off}", float(ece), estimate_ece


def _histograms(n: int, moved: float) -> Iterator[tuple[str, Truth, Draw]]:
    """Twelve bins; `moved` of the records go from the first bin to the last; reference of 6,000."""
    q = np.array([0.2, *[0.07] * 10, 0.1])
    p = q.copy()
    p[0], p[-1] = p[0] - moved, p[-1] + moved

    def estimate(g: np.random.Generator) -> Estimate:
        return drift.distance(g.multinomial(n, p), g.multinomial(6000, q), g)

    yield f"distance n={n} moved={moved}", moved, estimate


def _known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def _expit(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--repeats", type=int, default=400)
    options = parser.parse_args()
    allowed = GOAL - 3 * math.sqrt(GOAL * (1 - GOAL) / options.repeats)
    rows, missed = [], []
    print(f"{'setting':38}{'covered':>9}{'mean width':>12}")
    for name, truth, draw in settings():
        generator = np.random.default_rng([20261123, *name.encode()])
        found = [draw(generator) for _ in range(options.repeats)]
        covered = float(np.mean([e.low - 1e-9 <= truth <= e.high + 1e-9 for e in found]))
        width = float(np.mean([e.high - e.low for e in found]))
        print(f"{name:38}{covered:9.3f}{width:12.4f}")
        rows.append({"setting": name, "covered": covered, "width": width})
        if covered < allowed:
            missed.append(name)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    for name in missed:
        print(f"MISSED: {name} covers less than {GOAL:.0%}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
