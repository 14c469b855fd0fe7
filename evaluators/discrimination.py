"""Does the model tell cases apart? AUC, average precision, accuracy, F1, log loss, Brier score, errors.

Intervals: AUC and average precision by score type and influence on the log odds; accuracy and F1 exact;
losses and errors Student's, mended for skewness; macro AUC the mean of its classes' bounds (safe whatever
the classes' dependence); macro F1 by its influence function, R2 by a jackknife. See evaluators.intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, cases, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.intervals import Estimate
from sandbox.records import Measurement

Array = NDArray[Any]
_MOST = 700.0  # exp of more than 709 is no double
_PART = 0.5
"""A record that holds more of all square error than this counts as holding so much: nothing is known without it."""


@evaluator("discrimination", version=5)
def discrimination(context: Context) -> Iterator[Measurement]:
    report = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
    yield from report[context.task.kind](context)


def auc_of(scores: Cases, minimum: int, level: float = intervals.LEVEL) -> Estimate | None:
    """The AUC of outcome x score cases, or None with fewer than `minimum` of either outcome."""
    if scores.rarest < minimum:
        return None
    e = scores.effective(curve.auc, curve.auc_variance, level)
    no, yes = (float(n) for n in e.sum(axis=-1))
    found = intervals.auc(float(curve.auc(scores.counts)), yes, no, level, curve.auc_variance(e))
    return replace(found, n=scores.n)


def macro_auc_of(own: Sequence[Cases], minimum: int, level: float = intervals.LEVEL) -> Estimate | None:
    """The mean AUC of the classes, each against all others; None with fewer than `minimum` cases in or out of one.

    `own` has for each class is it this x score cases, of the same records."""
    aucs = [auc_of(scores, minimum, level) for scores in own]
    known = [a for a in aucs if a is not None]
    if len(known) < len(aucs):
        return None
    value, low, high = (float(np.mean([getattr(a, f) for a in known])) for f in ("value", "low", "high"))
    return Estimate(value, low, high, own[0].n)


def loss_of(scores: Cases, name: str, level: float = intervals.LEVEL) -> Estimate:
    """Log loss or Brier score of outcome x score cases."""
    metric = curve.METRICS[name]
    e = scores.effective(metric, lambda c: curve.moments(c, name)[1] / float(c.sum()), level)
    value = float(metric(scores.counts))
    mean, variance, _ = curve.moments(curve.smoothed(e), name)
    bounds = intervals.mean(mean, variance, float(e.sum()), level)
    return Estimate(value, min(max(bounds.low, 0.0), value), max(bounds.high, value), scores.n)


def average_precision_of(scores: Cases, level: float = intervals.LEVEL) -> Estimate:
    e = scores.effective(curve.average_precision, curve.average_precision_variance, level)
    value, variance = float(curve.average_precision(scores.counts)), curve.average_precision_variance(e)
    return intervals.logit_share(value, float(e[1].sum()), scores.n, level, variance)


def f1_of(scores: Cases, minimum: int, level: float = intervals.LEVEL) -> Estimate | None:
    """F1 = 2J / (1 + J), with J the share TP / (TP + FP + FN); None with fewer than `minimum` cases in that."""
    counted = scores.part(_wrong_and_found)
    if counted.units < minimum:
        return None
    return intervals.f1(cases.rate(counted, level), scores.n)


def of(name: str, estimate: Estimate, group: str = "", feature: str = "") -> Measurement:
    """An estimate as a measurement."""
    return Measurement(name, estimate.value, estimate.n, estimate.low, estimate.high, group, feature)


def _binary(context: Context) -> Iterator[Measurement]:
    scores = Cases.of(context.tally, "scores")
    n, auc = scores.n, auc_of(scores, context.minimum)
    if auc is None:
        yield too_few("auc", n)
        yield too_few("average_precision", n)
    else:
        yield of("auc", auc)
        yield of("average_precision", average_precision_of(scores))
    if scores.units < context.minimum:
        yield from (too_few(name, n) for name in ("accuracy", "f1", "log_loss", "brier"))
        return
    yield of("accuracy", cases.rate(scores.part(wrong_and_right)))
    f1 = f1_of(scores, context.minimum)
    yield of("f1", f1) if f1 else too_few("f1", n)
    for name in ("log_loss", "brier"):
        yield of(name, loss_of(scores, name))


def _multiclass(context: Context) -> Iterator[Measurement]:
    confusion = Cases.of(context.tally, "confusion")
    n = confusion.n
    if confusion.units < context.minimum:
        yield from (too_few(name, n) for name in ("accuracy", "macro_auc", "log_loss", "f1"))
        return
    yield of("accuracy", accuracy_of(confusion))
    own = [Cases.of(context.tally, name) for name in context.tally.tables if name.startswith("own:")]
    auc = macro_auc_of(own, context.minimum)
    yield of("macro_auc", auc) if auc else too_few("macro_auc", n)
    yield of("log_loss", cases.mean(Cases.of(context.tally, "likelihood"), _losses))
    f1 = macro_f1_of(confusion, context.minimum)
    yield of("f1", f1) if f1 else too_few("f1", n)


def _regression(context: Context) -> Iterator[Measurement]:
    """Errors in units of half the target's range, as the card's bounds give it."""
    residual = Cases.of(context.tally, "residual")
    n = residual.n
    if residual.units < context.minimum:
        yield from (too_few(name, n) for name in ("mae", "rmse", "r2"))
        return
    yield of("mae", cases.mean(residual, absolute))
    square_error = cases.mean(residual, _squares)
    root, low, high = (max(v, 0) ** 0.5 for v in (square_error.value, square_error.low, square_error.high))
    yield of("rmse", Estimate(root, low, high, n))
    outcome, both = (Cases.of(context.tally, name) for name in ("outcome", "outcome & residual"))
    r2 = r2_of(residual, outcome, both)
    yield of("r2", r2) if r2 else Measurement("r2", None, n, status="undefined")


def accuracy_of(confusion: Cases, level: float = intervals.LEVEL) -> Estimate:
    """The share on the diagonal of (outcome, predicted) cases."""
    return cases.rate(confusion.part(_off_and_on_the_diagonal), level)


def r2_of(residual: Cases, outcome: Cases, both: Cases, level: float = intervals.LEVEL) -> Estimate | None:
    """1 - square error / variance of the outcome; None where the outcome does not vary.

    Records far out may add to both, or to either alone: how much each moves the logarithm of the ratio is read off
    `both`, the outcome x residual cases (Tukey's jackknife), whose variance is known to fewer degrees of freedom
    the longer the tails of these moves are (Satterthwaite).
    """
    square = float((residual.counts * _squares(residual.counts.size)).sum() / residual.counts.sum())
    variance = curve.moments_of(outcome.counts, _outcome_values(outcome.counts.size))[1]
    if variance <= 1e-12 or square <= 0:
        return None
    e = both.effective(_log_ratio, lambda c: curve.moments_of(c, _moves(c))[1] / float(c.sum()), level)
    n, moves = float(e.sum()), _moves(e)
    mean, spread, _ = curve.moments_of(e, moves)
    tails = float((e * (moves - mean) ** 4).sum()) / n / spread**2 if spread > 1e-24 else 3.0
    freedom = max(min(2 * n / max(tails - 1, 2 / n), n - 1), 1.0)
    half = intervals.t_of(level, freedom) * math.sqrt(spread / (n - 1))
    ratio = square / variance
    low, high = (1 - ratio * math.exp(min(end, _MOST)) for end in (half, -half))
    return Estimate(1 - ratio, low, high, residual.n)


def _log_ratio(both: Array) -> Array:
    """The logarithm of square error / variance of the outcome, from outcome x residual counts."""
    n = both.sum(axis=(-2, -1))
    square = curve.ratio((both.sum(axis=-2) * _squares(both.shape[-1])).sum(axis=-1), n)
    outcome, values = both.sum(axis=-1), _outcome_values(both.shape[-2])
    mean = curve.ratio((outcome * values).sum(axis=-1), n)
    variance = curve.ratio((outcome * values**2).sum(axis=-1), n) - mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(curve.ratio(square, variance))


def _moves(both: Array) -> Array:
    """How much leaving out a record of each cell moves the logarithm of the ratio, times the number of others."""
    n, squares, values = both.sum(), _squares(both.shape[-1]), _outcome_values(both.shape[-2])
    mean, spread, _ = curve.moments_of(both.sum(axis=1), values)
    of_square = squares / (both.sum(axis=0) * squares).sum()
    of_variance = (values - mean) ** 2 / (spread * (n - 1))
    parts = of_square, of_variance[:, None]
    square, variance = (np.log1p(-np.minimum(part, _PART)) for part in parts)
    return np.asarray((n - 1) * (variance - square))


def absolute(bins: int) -> Array:
    """How far off each bin of a `residual` table is."""
    return np.abs(axes.residual_values(bins))


def _squares(bins: int) -> Array:
    return np.asarray(axes.residual_values(bins) ** 2)


def _outcome_values(bins: int) -> Array:
    """The outcome that stands for each bin of an `outcome` table."""
    return (np.arange(bins) + 0.5) * 2 / bins - 1


def macro_f1_of(confusion: Cases, minimum: int, level: float = intervals.LEVEL) -> Estimate | None:
    """The mean F1 of the classes, over (outcome, predicted) cases; None where fewer than `minimum` cases are of a
    class or were taken for it.

    Its interval follows from how much each record moves it: the hull of that of these records and of that with two
    more, which lie as if outcomes and predictions had nothing to do with each other. Of few errors, many samples
    hold none, and seem sure.
    """
    if min(confusion.part(partial(_of_class, at)).units for at in range(len(confusion.records))) < minimum:
        return None
    e = confusion.effective(_mean_f1, _mean_f1_variance, level)
    more = e + 2 * np.outer(e.sum(axis=1), e.sum(axis=0)) / e.sum() ** 2
    value, n = float(_mean_f1(confusion.counts)), float(e.sum())
    here, there = (
        intervals.on_log_odds(float(_mean_f1(c)), _mean_f1_variance(c), n, confusion.n, level)
        for c in (e, more)
    )
    return Estimate(value, min(here.low, there.low, value), max(here.high, there.high, value), confusion.n)


def _of_class(at: int, confusion: Array) -> Array:
    """How many cases are of a class or were taken for it, as one cell."""
    either = confusion[..., at, :].sum(axis=-1) + confusion[..., :, at].sum(axis=-1)
    return np.asarray(either - confusion[..., at, at])[..., None]


def _mean_f1(confusion: Array) -> Array:
    hits, total = _hits_and_total(confusion)
    return np.asarray((2 * hits / total).mean(axis=-1))


def _mean_f1_variance(confusion: Array) -> float:
    (hits, total), n = _hits_and_total(confusion), float(confusion.sum())
    loss = 2 * hits / total**2
    influence = (np.diag(2 / total) - loss[:, None] - loss[None, :]) / len(hits)
    return float((confusion * influence**2).sum()) * n / (n - 1)


def _hits_and_total(confusion: Array) -> tuple[Array, Array]:
    """For each class, the cases found, and those seen and those predicted together."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return hits, np.where(total > 0, total, 1)


def _losses(bins: int) -> Array:
    return np.asarray(-np.log(axes.score_values(bins)))


def wrong_and_right(counts: Array) -> Array:
    no, yes = curve.selected(counts)
    return np.stack([no[..., 1] + yes[..., 0], no[..., 0] + yes[..., 1]], axis=-1)


def _wrong_and_found(counts: Array) -> Array:
    no, yes = curve.selected(counts)
    return np.stack([no[..., 1] + yes[..., 0], yes[..., 1]], axis=-1)


def _off_and_on_the_diagonal(confusion: Array) -> Array:
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return np.stack([confusion.sum(axis=(-2, -1)) - right, right], axis=-1)
