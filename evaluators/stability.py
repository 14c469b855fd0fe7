"""Does this version say the same as the one before it? Of the same model, dataset and task, on the same records.

Of at most SAMPLE records of a wave: how many decisions differ (exact interval), how far the answers lie apart on
average (probabilities; of several classes the total variation distance; numbers in units of half the target's
range), and whether they rank records alike (Spearman's correlation, with the interval of Bonett and Wright,
Psychometrika 65 (2000) 23). A first version has none before it, and says so. Which version came before was
settled when this one was registered, so that asking later gives the same. Weighted records stand for their
population, and people with several tell less than others (evaluators.cases).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, cases, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from evaluators.scoring import REPLICATED, Batch
from sandbox.records import Measurement
from sandbox.tally import Axis, Tally

Array = NDArray[Any]
SAMPLE = 20_000
RANK_BINS = 64
_SAME = Axis("decision", ("same", "other"))
_RANKS = tuple(Axis(name, tuple(str(at) for at in range(RANK_BINS))) for name in ("before", "now"))
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
    asked = slice(len(now))
    apart, joined = (
        [(axes.distance_axis(bins), axes.distance_positions(far, bins))]
        for bins in (axes.DISTANCE_BINS, axes.DISTANCE_BINS // REPLICATED)
    )
    tables = batch.family("stability:moved", apart, asked, joined)
    if kind != "regression":
        tables |= batch.family("stability:decision", [(_SAME, (sides[0] != sides[1]).astype(int))], asked)
    if kind != "multiclass":
        ranks = [
            (axis, _rank_positions(said, kind)) for axis, said in zip(_RANKS, (before, now), strict=True)
        ]
        tables |= batch.family("stability:ranks", ranks, asked)
    return Tally(tables)


def _rank_positions(said: Array, kind: str) -> Array:
    if kind == "binary":
        return axes.coarser(axes.score_positions(said), RANK_BINS)
    return axes.uniform_positions(said, -1, 1, RANK_BINS)


@evaluator("stability", version=2, tables=count, sample=SAMPLE, beside=True)
def stability(context: Context) -> Iterator[Measurement]:
    kind = context.task.kind
    moved = Cases.of(context.tally, "stability:moved")
    if context.origin.before is None:
        yield from (Measurement(name, None, 0, status="no earlier version") for name in NAMES[kind])
        return
    if moved.units < context.minimum:
        yield from (too_few(name, moved.n) for name in NAMES[kind])
        return
    if kind != "regression":
        yield of("version_flips", cases.rate(Cases.of(context.tally, "stability:decision")))
    widest = 2 if kind == "regression" else 1
    yield of("version_shift", cases.mean(moved, lambda bins: widest * axes.distance_values(bins)))
    if kind != "multiclass":
        ranks = rank_correlation(Cases.of(context.tally, "stability:ranks"))
        few = Measurement("version_ranks", None, moved.n, status="undefined")
        yield of("version_ranks", ranks) if ranks else few


def rank_correlation(joint: Cases, level: float = intervals.LEVEL) -> Estimate | None:
    """Spearman's, of cases of one bin x the other, ties by their middle rank; None where either does not vary."""
    value = float(_spearman(joint.counts))
    if not math.isfinite(value) or joint.n <= 3:
        return None
    n = float(joint.effective(_fisher, lambda counts: _fisher_variance(value, counts.sum()), level).sum())
    half = intervals.z_of(intervals.aim(level)) * math.sqrt(_fisher_variance(value, n))
    low, high = (math.tanh(float(_fisher(joint.counts)) + side * half) for side in (-1, 1))
    return Estimate(value, min(low, value), max(high, value), joint.n)


def _fisher(joint: Array) -> Array:
    """Fisher's transformation of the correlation, which makes it about normal."""
    return np.asarray(np.arctanh(np.clip(_spearman(joint), -1 + 1e-12, 1 - 1e-12)))


def _fisher_variance(value: float, n: float) -> float:
    return (1 + value**2 / 2) / max(n - 3, 1)


def _spearman(joint: Array) -> Array:
    sides = [joint.sum(axis=at) for at in (-1, -2)]
    first, second = (side.cumsum(axis=-1) - side / 2 - side.sum(axis=-1, keepdims=True) / 2 for side in sides)
    spread = np.prod(
        [(side * off**2).sum(axis=-1) for side, off in zip(sides, (first, second), strict=True)], axis=0
    )
    return curve.ratio((first * (joint @ second[..., None])[..., 0]).sum(axis=-1), np.sqrt(spread))
