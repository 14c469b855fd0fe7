"""What do noisy counts say? The public measurements, with intervals that hold the noise as well.

The value is the metric of the noisy counts. Its standard error comes from drawing the counts again,
sampling and noise both: c + Poisson(max(c, 0)) - max(c, 0) + N(0, sigma). The draws are seeded by
the counts, so asking again gives the same answer. A figure whose denominator does not stand clear of
its noise is `too few`. Everything here is a function of noisy counts: it costs no privacy.

Which records are one person's is not released. So chance moves whole persons, each with as many records as the card
allows and all in one cell: no others vary more. Weights are not released either: the figures are of records.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, coarse, curve, intervals
from evaluators.base import stream, too_few
from evaluators.discrimination import of
from evaluators.fairness import GAPS
from evaluators.intervals import Estimate, Leveled
from sandbox.records import Measurement

if TYPE_CHECKING:
    from sandbox.disclosure.noisy import NoisyTally

Array = NDArray[Any]
Metric = Callable[[Array], Array]
DRAWS = 500
CLEAR = 4.0
"""A denominator is shown to stand on something when it is this many of its noise's deviations."""

_OF_GROUPS = ("auc", "outcome_rate", "selection_rate", "tpr", "fpr", "calibration_bias")
_OF_ALL = (*_OF_GROUPS, "accuracy", "ppv", "brier")


def measurements(noisy: NoisyTally, kind: str, threshold: int, together: int = 1) -> list[Measurement]:
    """What a noisy tally says of everyone and of every group, if up to `together` records are one person's; names are
    those of the evaluators."""
    base = {"binary": "scores", "multiclass": "confusion", "regression": "residual"}[kind]
    measure = {"binary": _binary, "multiclass": _confusion, "regression": _residual}[kind]
    whole = Counts(noisy.tally[base].counts, noisy.sigma, threshold, together)
    measured = [_said(name, answer) for name, answer in measure(whole, _OF_ALL)]
    for name, table in noisy.tally.tables.items():
        if not name.startswith(f"{base}:"):
            continue
        column, found = name.removeprefix(f"{base}:"), dict[str, list[Leveled]]()
        for label, counts in zip(table.axes[0].labels, table.counts, strict=True):
            group = f"{column}={label}"
            part = Counts(counts, noisy.sigma, threshold, together)
            measured.append(Measurement("cases", float(part.n), part.n, group=group))
            for measure_name, answer in measure(part, _OF_GROUPS):
                measured.append(_said(measure_name, answer, group))
                if not isinstance(answer, int):
                    found.setdefault(measure_name, []).append(answer)
        measured += _gaps(column, found)
    return measured


class Counts:
    """Noisy counts of one table, and the same drawn again."""

    def __init__(self, counts: Array, sigma: float, threshold: int, together: int = 1) -> None:
        self.counts = np.asarray(counts, float)
        self.sigma, self.threshold = sigma, threshold
        rng = stream("noisy", hashlib.sha256(self.counts.tobytes()).hexdigest())
        held = np.maximum(self.counts, 0)
        shape = (DRAWS, *self.counts.shape)
        self.draws = (
            self.counts + together * rng.poisson(held / together, shape) - held + rng.normal(0, sigma, shape)
        )

    @property
    def n(self) -> int:
        return max(round(float(self.counts.sum())), 0)

    def clear(self, *parts: Array) -> bool:
        """Whether these parts of the counts stand clear of the threshold and of their noise."""
        return all(
            part.sum() >= max(self.threshold, CLEAR * self.sigma * math.sqrt(part.size)) for part in parts
        )

    def estimate(
        self, metric: Metric, n: float, *, reach: float = 0.0, variance: float = 0.0,
        bounds: tuple[float, float] = (0.0, 1.0),
    ) -> Leveled:  # fmt: skip
        """The metric with its interval; `reach` widens it outright, `variance` as one more error."""
        value = float(metric(self.counts))
        error = math.sqrt(float(np.nanvar(metric(self.draws))) + variance)
        return partial(_normal, value, error, reach, max(round(n), 0), bounds)


Answer = Leveled | int
"""An estimate, or the number of cases that are too few."""


def _binary(c: Counts, names: tuple[str, ...]) -> Iterator[tuple[str, Answer]]:
    no, yes = c.counts
    half = c.counts.shape[-1] // 2
    chosen = c.counts[:, half:]
    beneath: dict[str, tuple[Array, ...]] = {
        "auc": (no, yes), "tpr": (yes,), "fpr": (no,), "ppv": (chosen,),
    }  # fmt: skip
    for name in names:
        parts = beneath.get(name, (c.counts,))
        n = min(float(part.sum()) for part in parts)
        if not c.clear(*parts):
            yield name, max(round(n), 0)
        elif name == "auc":
            yield name, c.estimate(coarse.auc, c.counts.sum(), reach=coarse.auc_reach(c.counts))
        elif name == "calibration_bias":
            variance = coarse.bias_variance(c.counts)
            yield name, c.estimate(coarse.calibration_bias, n, variance=variance, bounds=(-1, 1))
        else:
            yield name, c.estimate(curve.METRICS[name], n)


def _confusion(c: Counts, _: tuple[str, ...]) -> Iterator[tuple[str, Answer]]:
    yield "accuracy", c.estimate(_trace_share, c.counts.sum()) if c.clear(c.counts) else c.n


def _residual(c: Counts, _: tuple[str, ...]) -> Iterator[tuple[str, Answer]]:
    bins = c.counts.shape[-1]
    for name, of_off, bounds in (("mae", np.abs, (0.0, 2.0)), ("calibration_bias", np.asarray, (-2.0, 2.0))):
        if not c.clear(c.counts):
            yield name, c.n
            continue
        # bins of half the width err a quarter as much: what halving changed says what is left (Richardson 1911)
        fine, wide = of_off(axes.residual_values(bins)), of_off(axes.residual_values(bins // 2)).repeat(2)
        reach = abs(float(_mean((fine - wide) / 3, c.counts)))
        yield (
            name,
            c.estimate(partial(_mean, fine + (fine - wide) / 3), c.counts.sum(), reach=reach, bounds=bounds),
        )


def outcome_drift(now: list[Measurement], reference: list[Measurement]) -> list[Measurement]:
    """Whether the outcome rate moved between two noisy waves, as outcome_drift's measurements."""
    after, before = (
        next((m for m in side if (m.name, m.group) == ("outcome_rate", "")), None)
        for side in (now, reference)
    )
    if after is None or before is None:
        return []
    a, b = _estimate(after), _estimate(before)
    if a is None or b is None:
        return [too_few("outcome_distance", after.n), too_few("outcome_p", after.n)]
    moved = intervals.difference(a, b)
    half = max(moved.high - moved.value, moved.value - moved.low)
    size = abs(moved.value)
    error = half / intervals.z_of(intervals.LEVEL)
    p = 2 * NormalDist().cdf(-size / error) if error > 0 else 1.0
    return [
        Measurement("outcome_distance", size, after.n, max(size - half, 0.0), min(size + half, 1.0)),
        Measurement("outcome_p", p, after.n),
    ]


def _gaps(column: str, found: dict[str, list[Leveled]]) -> Iterator[Measurement]:
    for name, gap in GAPS.items():
        if len(found.get(name, [])) >= 2:
            yield of(gap, intervals.worst_gap(found[name]), group=column)


def _said(name: str, answer: Answer, group: str = "") -> Measurement:
    if isinstance(answer, int):
        return too_few(name, answer, group=group)
    return of(name, answer(intervals.LEVEL), group=group)


def _normal(
    value: float, error: float, reach: float, n: int, bounds: tuple[float, float], level: float
) -> Estimate:
    half = intervals.z_of(intervals.aim(level)) * error + reach
    value, low, high = (min(max(v, bounds[0]), bounds[1]) for v in (value, value - half, value + half))
    return Estimate(value, low, high, n)


def _estimate(m: Measurement) -> Estimate | None:
    if m.value is None or m.low is None or m.high is None:
        return None
    return Estimate(m.value, m.low, m.high, m.n)


def _trace_share(counts: Array) -> Array:
    return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-1, -2)))


def _mean(terms: Array, counts: Array) -> Array:
    return np.asarray((counts * terms).sum(axis=-1) / counts.sum(axis=-1))
