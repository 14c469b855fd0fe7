"""Does the model tell cases apart? AUC, average precision, accuracy, F1, log loss, Brier score, errors.

Intervals: AUC and average precision by score type and influence on the log odds; accuracy and F1 exact;
losses and errors Student's, mended for skewness; macro AUC the mean of its classes' bounds (safe whatever
the classes' dependence); macro F1 by its influence function. See evaluators.intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.intervals import Estimate
from sandbox.records import Measurement

Array = NDArray[Any]


@evaluator("discrimination", version=2)
def discrimination(context: Context) -> Iterator[Measurement]:
    report = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
    yield from report[context.task.kind](context)


def auc_of(counts: Array, minimum: int, level: float = intervals.LEVEL) -> Estimate | None:
    """The AUC of outcome x score counts, or None with fewer than `minimum` of either outcome."""
    no, yes = (int(n) for n in counts.sum(axis=-1))
    if min(no, yes) < minimum:
        return None
    return intervals.auc(float(curve.auc(counts)), yes, no, level, curve.auc_variance(counts))


def loss_of(counts: Array, name: str, level: float = intervals.LEVEL) -> Estimate:
    """Log loss or Brier score of outcome x score counts."""
    n, value = int(counts.sum()), float(curve.METRICS[name](counts))
    mean, variance, _ = curve.moments(curve.smoothed(counts), name)
    bounds = intervals.mean(mean, variance, n, level)
    return Estimate(value, min(max(bounds.low, 0.0), value), max(bounds.high, value), n)


def average_precision_of(counts: Array, level: float = intervals.LEVEL) -> Estimate:
    value, variance = float(curve.average_precision(counts)), curve.average_precision_variance(counts)
    return intervals.logit_share(value, int(counts[1].sum()), int(counts.sum()), level, variance)


def of(name: str, estimate: Estimate, group: str = "", feature: str = "") -> Measurement:
    """An estimate as a measurement."""
    return Measurement(name, estimate.value, estimate.n, estimate.low, estimate.high, group, feature)


def _binary(context: Context) -> Iterator[Measurement]:
    counts = context.tally["scores"].counts
    n = int(counts.sum())
    auc = auc_of(counts, context.minimum)
    if auc is None:
        yield too_few("auc", n)
        yield too_few("average_precision", n)
    else:
        yield of("auc", auc)
        yield of("average_precision", average_precision_of(counts))
    if n < context.minimum:
        yield from (too_few(name, n) for name in ("accuracy", "f1", "log_loss", "brier"))
        return
    half = counts.shape[1] // 2
    hits, wrong = int(counts[1, half:].sum()), int(counts[0, half:].sum() + counts[1, :half].sum())
    yield of("accuracy", intervals.rate(n - wrong, n))
    enough = hits + wrong >= context.minimum
    yield of("f1", intervals.f1(hits, wrong, n)) if enough else too_few("f1", n)
    for name in ("log_loss", "brier"):
        yield of(name, loss_of(counts, name))


def _multiclass(context: Context) -> Iterator[Measurement]:
    confusion = context.tally["confusion"].counts
    n = int(confusion.sum())
    if n < context.minimum:
        yield from (too_few(name, n) for name in ("accuracy", "macro_auc", "log_loss", "f1"))
        return
    yield of("accuracy", intervals.rate(int(np.trace(confusion)), n))
    own = [t.counts for name, t in context.tally.tables.items() if name.startswith("own:")]
    aucs = [auc_of(counts, context.minimum) for counts in own]
    known = [a for a in aucs if a is not None]
    if len(known) == len(aucs):
        value, low, high = (float(np.mean([getattr(a, f) for a in known])) for f in ("value", "low", "high"))
        yield of("macro_auc", Estimate(value, low, high, n))
    else:
        yield too_few("macro_auc", n)
    likelihood = context.tally["likelihood"].counts
    losses = -np.log(axes.score_values(len(likelihood)))
    yield of("log_loss", _mean_of(likelihood, losses))
    yield of("f1", macro_f1(confusion))


def _regression(context: Context) -> Iterator[Measurement]:
    """Errors in units of half the target's range, as the card's bounds give it."""
    residual = context.tally["residual"].counts
    n = int(residual.sum())
    if n < context.minimum:
        yield from (too_few(name, n) for name in ("mae", "rmse", "r2"))
        return
    off = residual_values(len(residual))
    yield of("mae", _mean_of(residual, np.abs(off)))
    square_error = _mean_of(residual, off**2)
    root, low, high = (max(v, 0) ** 0.5 for v in (square_error.value, square_error.low, square_error.high))
    yield of("rmse", Estimate(root, low, high, n))
    r2 = r2_of(square_error, context.tally["outcome"].counts)
    yield of("r2", r2) if r2 else Measurement("r2", None, n, status="undefined")


def r2_of(square_error: Estimate, outcome: Array) -> Estimate | None:
    """1 - square error / variance of the outcome; None where the outcome does not vary.

    Both are estimated, from the same records. Records far out usually add to both, so that taking the two
    errors for independent, on the scale of logarithms, errs on the wide side.
    """
    middles = (np.arange(len(outcome)) + 0.5) * 2 / len(outcome) - 1
    mean, variance, _ = curve.moments_of(outcome, middles)
    if variance <= 1e-12 or square_error.value <= 0:
        return None
    of_variance = _mean_of(outcome, (middles - mean) ** 2)
    ratio = square_error.value / variance
    bounds = []
    for error, against in ((square_error.high, of_variance.low), (square_error.low, of_variance.high)):
        logs = (math.log(max(e, 1e-12) / v) for e, v in ((error, square_error.value), (against, variance)))
        bounds.append(1 - ratio * math.exp(math.copysign(math.hypot(*logs), error - square_error.value)))
    return Estimate(1 - ratio, min(bounds), max(bounds), square_error.n)


def residual_values(bins: int) -> Array:
    """The difference prediction - outcome that stands for each bin of a `residual` table."""
    return (np.arange(bins) + 0.5) * 4 / bins - 2


def macro_f1(confusion: Array, level: float = intervals.LEVEL) -> Estimate:
    """The mean F1 of the classes, over (outcome, predicted) counts; one neither seen nor predicted counts 0.

    Its interval follows from how much each record moves it.
    """
    hits = np.diagonal(confusion).astype(float)
    total = np.maximum(confusion.sum(axis=1) + confusion.sum(axis=0), 1)
    value, n = float((2 * hits / total).mean()), int(confusion.sum())
    loss = 2 * hits / total**2
    influence = (np.diag(2 / total) - loss[:, None] - loss[None, :]) / len(hits)
    variance = float((confusion * influence**2).sum()) * n / (n - 1)
    return intervals.on_log_odds(value, variance, n, n, level)


def _mean_of(counts: Array, terms: Array) -> Estimate:
    value, variance, skew = curve.moments_of(counts, terms)
    return intervals.mean(value, variance, int(counts.sum()), skew=skew)
