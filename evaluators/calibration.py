"""Do the probabilities mean what they say? Bias, slope, expected calibration error, reliability.

For several classes the probability is that of the chosen class, and the outcome is whether it was
right. For regression the bias alone: the mean of prediction minus outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, cases, curve, intervals, units
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from sandbox.records import Measurement

Array = NDArray[Any]
BINS = 10
DRAWS = 1000


@evaluator("calibration", version=3)
def calibration(context: Context) -> Iterator[Measurement]:
    if context.task.kind == "regression":
        yield _regression_bias(Cases.of(context.tally, "residual"), context.minimum)
        return
    scores = Cases.of(context.tally, "scores" if context.task.kind == "binary" else "confidence")
    n = scores.n
    if scores.units < context.minimum:
        yield from (too_few(name, n) for name in ("calibration_bias", "calibration_slope", "ece"))
        return
    yield of("calibration_bias", bias(scores))
    slope = slope_of(scores)
    few = scores.rarest < context.minimum
    if few or slope is None:
        status = "too few" if few else "undefined"
        yield Measurement("calibration_slope", None, n, status=status)
    else:
        yield of("calibration_slope", slope)
    scores = scores.coarse()
    bins = _tenths(scores.counts)
    yield of("ece", _ece(bins, scores, context.rng("ece")))
    for at, members in enumerate(bins):
        yield from _reliability(f"{at:02d}", scores, members, context.minimum)


def bias(scores: Cases, level: float = intervals.LEVEL) -> Estimate:
    """Mean prediction minus outcome rate, with an interval of the exact kind.

    The outcome rate gets its exact interval at the sample size that gives it the variance of
    prediction - outcome: scores that explain the outcome leave less to chance. Unlike the normal
    interval it holds when the outcome is rare.
    """
    e = scores.effective(curve.calibration_bias, _bias_variance, level)
    n, yes = float(e.sum()), float(e[1].sum())
    smooth = (yes + 2) / (n + 4)
    unexplained = min(
        max(curve.moments(curve.smoothed(e), "calibration_bias")[1] / (smooth * (1 - smooth)), 0.25), 4.0
    )
    rate = intervals.rate(yes / unexplained, n / unexplained, intervals.aim(level))
    predicted = float(curve.mean_prediction(scores.counts))
    return Estimate(predicted - rate.value, predicted - rate.high, predicted - rate.low, scores.n)


def slope_of(scores: Cases, level: float = intervals.LEVEL) -> Estimate | None:
    """How much the log odds of the outcome rise with the log odds predicted; 1 is right, below 1 the
    model is over-confident. A two-parameter logistic regression on the bins, with Wald's interval at as
    many degrees of freedom as there are cases of the rarer outcome;
    None where the outcomes are separated or all scores lie in one bin."""
    value = float(_slopes(scores.counts))
    if math.isnan(value):
        return None
    e = scores.effective(_slopes, lambda c: float(_fit(c)[1]), level)
    half = intervals.t_of(level, max(float(e.sum(axis=1).min()), 2.0) - 1) * math.sqrt(float(_fit(e)[1]))
    return Estimate(value, value - half, value + half, scores.n)


def _slopes(counts: Array) -> Array:
    return _fit(counts)[0]


def _fit(counts: Array) -> tuple[Array, Array]:
    """The slope of the log odds on those predicted, and its variance, by Newton's method; NaN where undefined."""
    p = axes.score_values(counts.shape[-1])
    x, n, yes = np.log(p / (1 - p)), counts.sum(axis=-2).astype(float), counts[..., 1, :].astype(float)
    start, slope = np.zeros(n.shape[:-1]), np.ones(n.shape[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(50):
            fitted = 1 / (1 + np.exp(-np.clip(start[..., None] + slope[..., None] * x, -30, 30)))
            weight, off = n * fitted * (1 - fitted), yes - n * fitted
            a, b, c = weight.sum(axis=-1), weight @ x, weight @ x**2
            spread = a * c - b * b
            largest = (a + c) / 2 + np.sqrt(((a - c) / 2) ** 2 + b * b)
            spread = np.where(largest**2 > 1e10 * spread, np.nan, spread)  # all but singular
            first, second = off.sum(axis=-1), off @ x
            steps = (c * first - b * second) / spread, (a * second - b * first) / spread
            start, slope = (
                old + np.clip(step, -2, 2) for old, step in zip((start, slope), steps, strict=True)
            )
            if not (np.maximum(*map(np.abs, steps)) >= 1e-9).any():
                return slope, a / spread
    return np.where(np.maximum(*map(np.abs, steps)) >= 1e-9, np.nan, slope), a / spread


def _bias_variance(counts: Array) -> float:
    return curve.moments(counts, "calibration_bias")[1] / float(counts.sum())


def ece(counts: Array) -> float:
    """The plain expected calibration error over ten bins of equal size; chance alone makes it positive."""
    n, rates, predicted = _bin_rates(_tenths(counts), counts)
    return float((np.abs(rates - predicted) * n).sum() / n.sum())


def _ece(bins: list[list[int]], scores: Cases, rng: np.random.Generator) -> Estimate:
    """With chance's share taken off: outcomes are drawn again in each bin at its own rate, or the gaps as they
    vary between units."""
    n, rates, predicted = _bin_rates(bins, scores.counts)
    share = n / n.sum()
    if scores.replicates is None:
        smooth = (rates * n + 0.5) / (n + 1)
        noise = (rng.binomial(n, smooth, size=(DRAWS, len(n))) / n - smooth) * share
        errors = np.sqrt(smooth * (1 - smooth) / n) * share
    else:
        moved = units.deviations(scores.replicates, partial(_gaps, bins))
        noise, errors = rng.normal(size=(DRAWS, len(moved))) @ moved, np.sqrt((moved**2).sum(axis=0))
    return intervals.distance((rates - predicted) * share, noise, errors, scores.n)


def _gaps(bins: list[list[int]], counts: Array) -> Array:
    """Of each joined bin the outcomes beyond the predicted ones, as a share of all cases."""
    beyond = counts[..., 1, :] - counts.sum(axis=-2) * axes.score_values(counts.shape[-1])
    joined = np.stack([beyond[..., members].sum(axis=-1) for members in bins], axis=-1)
    return joined / curve.cases(counts)[..., None]


def _bin_rates(bins: list[list[int]], counts: Array) -> tuple[Array, Array, Array]:
    n = np.array([counts[:, b].sum() for b in bins])
    rates = np.array([counts[1, b].sum() for b in bins]) / n
    values = axes.score_values(counts.shape[-1])
    predicted = np.array([(counts[:, b].sum(axis=0) * values[b]).sum() for b in bins]) / n
    return n, rates, predicted


def _tenths(counts: Array) -> list[list[int]]:
    return curve.quantile_groups(counts.sum(axis=0), np.arange(1, BINS) / BINS)


def _reliability(feature: str, scores: Cases, members: list[int], minimum: int) -> Iterator[Measurement]:
    within = scores.part(lambda c: c[..., members].sum(axis=-1))
    if within.units < minimum:
        yield too_few("reliability", within.n, feature=feature)
        yield too_few("reliability_mean", within.n, feature=feature)
        return
    yield of("reliability", cases.rate(within), feature=feature)
    values, weight = axes.score_values(scores.counts.shape[-1])[members], scores.counts[:, members]
    # a mean of scores, not an estimate of anything beyond these records: no interval
    mean = float((weight.sum(axis=0) * values).sum() / weight.sum())
    yield Measurement("reliability_mean", mean, within.n, feature=feature)


def _regression_bias(residual: Cases, minimum: int) -> Measurement:
    if residual.units < minimum:
        return too_few("calibration_bias", residual.n)
    return of("calibration_bias", cases.mean(residual, axes.residual_values))
