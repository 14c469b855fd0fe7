"""Does this version say the same as the one before it? Of the same model, dataset and task, on the same records.

Of at most SAMPLE records of a wave: how many decisions differ (exact interval), how far the answers lie apart on
average (probabilities; of several classes the total variation distance; numbers in units of half the target's
range), and whether they rank records alike (Spearman's correlation, with the interval of Bonett and Wright,
Psychometrika 65 (2000) 23). A first version has none before it, and says so. Which version came before was
settled when this one was registered, so that asking later gives the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from evaluators.scoring import Batch
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

Array = NDArray[Any]
SAMPLE = 20_000
RANK_BINS = 64
_SAME = Axis("decision", ("same", "other"))
_RANKS = tuple(Axis(of, tuple(str(at) for at in range(RANK_BINS))) for of in ("before", "now"))
NAMES = {
    "binary": ("version_flips", "version_shift", "version_ranks"),
    "multiclass": ("version_flips", "version_shift"),
    "regression": ("version_shift", "version_ranks"),
}


def count(batch: Batch) -> Tally:
    """Root of how far the two answers lie apart; whether the decisions are the same; both ranks."""
    now = np.asarray(batch.said, float)
    before = now[:0]
    if batch.before is not None and len(now):
        before = np.asarray(batch.before.probabilities(dict(batch.features)), float)
    now, kind = now[: len(before)], batch.encoding.task.kind
    if kind == "multiclass":
        far, sides = np.abs(now - before).sum(axis=1) / 2, [said.argmax(axis=1) for said in (before, now)]
    else:
        low = 0.0 if kind == "binary" else -1.0
        before, now = (np.clip(said, low, 1) for said in (before, now))
        far, sides = np.abs(now - before) / (1 - low), [said >= 0.5 for said in (before, now)]
    tables = {"stability:moved": Table.count([axes.DISTANCE_AXIS], axes.distance_positions(far))}
    if kind != "regression":
        tables["stability:decision"] = Table.count([_SAME], (sides[0] != sides[1]).astype(int))
    if kind != "multiclass":
        at = [_rank_positions(said, kind) for said in (before, now)]
        tables["stability:ranks"] = Table.count(_RANKS, *at)
    return Tally(tables)


def _rank_positions(said: Array, kind: str) -> Array:
    if kind == "binary":
        return axes.coarser(axes.score_positions(said), RANK_BINS)
    return axes.uniform_positions(said, -1, 1, RANK_BINS)


@evaluator("stability", version=1, tables=count, sample=SAMPLE, beside=True)
def stability(context: Context) -> Iterator[Measurement]:
    kind = context.task.kind
    moved = context.tally["stability:moved"].counts
    n = int(moved.sum())
    if context.origin.before is None:
        yield from (Measurement(name, None, 0, status="no earlier version") for name in NAMES[kind])
        return
    if n < context.minimum:
        yield from (too_few(name, n) for name in NAMES[kind])
        return
    if kind != "regression":
        other = int(context.tally["stability:decision"].counts[1])
        yield of("version_flips", intervals.rate(other, n))
    widest = 2 if kind == "regression" else 1
    value, variance, skew = curve.moments_of(moved, widest * axes.distance_values())
    yield of("version_shift", intervals.mean(value, variance, n, skew=skew))
    if kind != "multiclass":
        ranks = rank_correlation(context.tally["stability:ranks"].counts)
        yield (
            of("version_ranks", ranks) if ranks else Measurement("version_ranks", None, n, status="undefined")
        )


def rank_correlation(joint: Array, level: float = intervals.LEVEL) -> Estimate | None:
    """Spearman's, of counts of one bin x the other, ties by their middle rank; None where either does not vary."""
    n = int(joint.sum())
    middles = [np.cumsum(side) - side / 2 for side in (joint.sum(axis=1), joint.sum(axis=0))]
    first, second = (middle - n / 2 for middle in middles)
    spread = float((joint.sum(axis=1) * first**2).sum() * (joint.sum(axis=0) * second**2).sum())
    if spread <= 0 or n <= 3:
        return None
    value = float(first @ joint @ second) / math.sqrt(spread)
    inside = min(max(value, -1 + 1e-12), 1 - 1e-12)
    half = intervals.z_of(intervals.aim(level)) * math.sqrt((1 + value**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(inside) + side * half) for side in (-1, 1))
    return Estimate(value, min(low, value), max(high, value), n)
