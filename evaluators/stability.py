"""Does this version say the same as the one before it, and as the champion? On the same records.

Of at most SAMPLE records of a wave: how many decisions differ (exact interval), how far the answers lie apart on
average (probabilities; of several classes the total variation distance; numbers in units of half the target's
range), and whether they rank records alike (Spearman's correlation, with the interval of Bonett and Wright,
Psychometrika 65 (2000) 23). Which version came before was settled when this one was registered, so that asking later
gives the same; the champion is that of the day on which a wave is evaluated: what would change for those who act on
its answers. A version that has no such other says so. Weighted records stand for their population, and people with
several tell less than others (evaluators.cases).
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
from evaluators.scoring import EVERY, REPLICATED, Batch
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

Array = NDArray[Any]
SAMPLE = 20_000
RANK_BINS = 64
_SAME = Axis("decision", ("same", "other"))
_RANKS = tuple(Axis(name, tuple(str(at) for at in range(RANK_BINS))) for name in ("before", "now"))
OTHERS = {
    "before": ("version", "no earlier version"),
    "champion": ("champion", "no other version is champion"),
}
"""By what another version is to this one (evaluators.origins): how names of measurements begin, and the status where
there is none."""
MEASURES = {
    "binary": ("flips", "shift", "ranks"),
    "multiclass": ("flips", "shift"),
    "regression": ("shift", "ranks"),
}


def count(batch: Batch) -> Tally:
    """For each other version: root of how far the answers lie apart; whether the decisions are the same; both ranks."""
    now, said, tables = np.asarray(batch.said, float), dict[int, Array](), dict[str, Table]()
    for other, scorer in batch.beside.items():
        if id(scorer) not in said:  # the version before may be the champion
            answers = scorer.probabilities(dict(batch.features)) if len(now) else now
            said[id(scorer)] = np.asarray(answers, float)
        tables |= _apart(batch, f"stability:{other}", said[id(scorer)], now)
    return Tally(tables)


def _apart(batch: Batch, name: str, before: Array, now: Array) -> dict[str, Table]:
    kind = batch.encoding.task.kind
    if kind == "multiclass":
        far, sides = np.abs(now - before).sum(axis=1) / 2, [said.argmax(axis=1) for said in (before, now)]
    else:
        low = 0.0 if kind == "binary" else -1.0
        before, now = (np.clip(said, low, 1) for said in (before, now))
        far, sides = np.abs(now - before) / (1 - low), [said >= 0.5 for said in (before, now)]
    apart, joined = (
        [(axes.distance_axis(bins), axes.distance_positions(far, bins))]
        for bins in (axes.DISTANCE_BINS, axes.DISTANCE_BINS // REPLICATED)
    )
    tables = batch.family(f"{name}:moved", apart, EVERY, joined)
    if kind != "regression":
        tables |= batch.family(f"{name}:decision", [(_SAME, (sides[0] != sides[1]).astype(int))], EVERY)
    if kind != "multiclass":
        ranks = [
            (axis, _rank_positions(said, kind)) for axis, said in zip(_RANKS, (before, now), strict=True)
        ]
        tables |= batch.family(f"{name}:ranks", ranks, EVERY)
    return tables


def _rank_positions(said: Array, kind: str) -> Array:
    if kind == "binary":
        return axes.coarser(axes.score_positions(said), RANK_BINS)
    return axes.uniform_positions(said, -1, 1, RANK_BINS)


@evaluator("stability", version=3, tables=count, sample=SAMPLE, beside=True)
def stability(context: Context) -> Iterator[Measurement]:
    kind = context.task.kind
    for other, (word, none) in OTHERS.items():
        names = {measure: f"{word}_{measure}" for measure in MEASURES[kind]}
        if f"stability:{other}:moved" in context.tally.tables:
            yield from _measured(context, f"stability:{other}", names)
        else:
            yield from (Measurement(name, None, 0, status=none) for name in names.values())


def _measured(context: Context, tables: str, names: dict[str, str]) -> Iterator[Measurement]:
    moved = Cases.of(context.tally, f"{tables}:moved")
    if moved.units < context.minimum:
        yield from (too_few(name, moved.n) for name in names.values())
        return
    if "flips" in names:
        yield of(names["flips"], cases.rate(Cases.of(context.tally, f"{tables}:decision")))
    widest = 2 if context.task.kind == "regression" else 1
    yield of(names["shift"], cases.mean(moved, lambda bins: widest * axes.distance_values(bins)))
    if "ranks" in names:
        ranks = rank_correlation(Cases.of(context.tally, f"{tables}:ranks"))
        few = Measurement(names["ranks"], None, moved.n, status="undefined")
        yield of(names["ranks"], ranks) if ranks else few


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
