"""Do the probabilities mean what they say? Bias, slope, expected calibration error, reliability.

For several classes the probability is that of the chosen class, and the outcome is whether it was
right. For regression the bias alone: the mean of prediction minus outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.discrimination import of, residual_values
from evaluators.intervals import Estimate
from sandbox.records import Measurement

Array = NDArray[Any]
BINS = 10
DRAWS = 1000


@evaluator("calibration", version=2)
def calibration(context: Context) -> Iterator[Measurement]:
    if context.task.kind == "regression":
        yield _regression_bias(context.tally["residual"].counts, context.minimum)
        return
    counts = context.tally["scores" if context.task.kind == "binary" else "confidence"].counts
    n = int(counts.sum())
    if n < context.minimum:
        yield from (too_few(name, n) for name in ("calibration_bias", "calibration_slope", "ece"))
        return
    yield of("calibration_bias", bias(counts))
    slope = slope_of(counts)
    few = min(counts.sum(axis=1)) < context.minimum
    if few or slope is None:
        status = "too few" if few else "undefined"
        yield Measurement("calibration_slope", None, n, status=status)
    else:
        yield of("calibration_slope", slope)
    bins = _tenths(counts)
    yield of("ece", _ece(bins, counts, context.rng("ece")))
    for at, members in enumerate(bins):
        yield from _reliability(f"{at:02d}", counts, members, context.minimum)


def bias(counts: Array, level: float = intervals.LEVEL) -> Estimate:
    """Mean prediction minus outcome rate, with an interval of the exact kind.

    The outcome rate gets its exact interval at the sample size that gives it the variance of
    prediction - outcome: scores that explain the outcome leave less to chance. Unlike the normal
    interval it holds when the outcome is rare.
    """
    n, yes = int(counts.sum()), int(counts[1].sum())
    smooth = (yes + 2) / (n + 4)
    unexplained = min(
        max(curve.moments(curve.smoothed(counts), "calibration_bias")[1] / (smooth * (1 - smooth)), 0.25), 4.0
    )
    rate = intervals.rate(yes / unexplained, n / unexplained, intervals.aim(level))
    predicted = float(curve.mean_prediction(counts))
    return Estimate(predicted - rate.value, predicted - rate.high, predicted - rate.low, n)


def slope_of(counts: Array, level: float = intervals.LEVEL) -> Estimate | None:
    """How much the log odds of the outcome rise with the log odds predicted; 1 is right, below 1 the
    model is over-confident. A two-parameter logistic regression on the bins, with Wald's interval at as
    many degrees of freedom as there are cases of the rarer outcome;
    None where the outcomes are separated or all scores lie in one bin."""
    p = axes.score_values(counts.shape[-1])
    n, yes = counts.sum(axis=0).astype(float), counts[1].astype(float)
    used = n > 0
    if used.sum() < 2:
        return None
    x, n, yes = np.log(p / (1 - p))[used], n[used], yes[used]
    design = np.stack([np.ones_like(x), x])
    beta = np.array([0.0, 1.0])
    for _ in range(50):
        fitted = 1 / (1 + np.exp(-np.clip(beta @ design, -30, 30)))
        information = (design * (n * fitted * (1 - fitted))) @ design.T
        if np.linalg.cond(information) > 1e10:
            return None
        step = np.linalg.solve(information, design @ (yes - n * fitted))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            rarer = max(float(min(yes.sum(), (n - yes).sum())), 2.0)
            half = intervals.t_of(level, rarer - 1) * math.sqrt(np.linalg.inv(information)[1, 1])
            return Estimate(float(beta[1]), float(beta[1] - half), float(beta[1] + half), int(n.sum()))
    return None


def ece(counts: Array) -> float:
    """The plain expected calibration error over ten bins of equal size; chance alone makes it positive."""
    n, rates, predicted = _bin_rates(_tenths(counts), counts)
    return float((np.abs(rates - predicted) * n).sum() / n.sum())


def _ece(bins: list[list[int]], counts: Array, rng: np.random.Generator) -> Estimate:
    """With chance's share taken off: outcomes are drawn again in each bin at its own rate."""
    n, rates, predicted = _bin_rates(bins, counts)
    share, smooth = n / n.sum(), (rates * n + 0.5) / (n + 1)
    noise = rng.binomial(n, smooth, size=(DRAWS, len(n))) / n - smooth
    errors = np.sqrt(smooth * (1 - smooth) / n)
    return intervals.distance((rates - predicted) * share, noise * share, errors * share, int(n.sum()))


def _bin_rates(bins: list[list[int]], counts: Array) -> tuple[Array, Array, Array]:
    n = np.array([counts[:, b].sum() for b in bins])
    rates = np.array([counts[1, b].sum() for b in bins]) / n
    values = axes.score_values(counts.shape[-1])
    predicted = np.array([(counts[:, b].sum(axis=0) * values[b]).sum() for b in bins]) / n
    return n, rates, predicted


def _tenths(counts: Array) -> list[list[int]]:
    return curve.quantile_groups(counts.sum(axis=0), np.arange(1, BINS) / BINS)


def _reliability(feature: str, counts: Array, members: list[int], minimum: int) -> Iterator[Measurement]:
    n, yes = int(counts[:, members].sum()), int(counts[1, members].sum())
    if n < minimum:
        yield too_few("reliability", n, feature=feature)
        yield too_few("reliability_mean", n, feature=feature)
        return
    yield of("reliability", intervals.rate(yes, n), feature=feature)
    values = axes.score_values(counts.shape[-1])[members]
    # a mean of scores, not an estimate of anything beyond these records: no interval
    mean = float((counts[:, members].sum(axis=0) * values).sum() / n)
    yield Measurement("reliability_mean", mean, n, feature=feature)


def _regression_bias(residual: Array, minimum: int) -> Measurement:
    n = int(residual.sum())
    if n < minimum:
        return too_few("calibration_bias", n)
    off = residual_values(len(residual))
    value, variance, skew = curve.moments_of(residual, off)
    return of("calibration_bias", intervals.mean(value, variance, n, skew=skew))
