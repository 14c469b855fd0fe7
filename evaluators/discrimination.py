"""Does the model tell cases apart? AUC, average precision, accuracy, F1, log loss, Brier score, errors.

Intervals: AUC and average precision by score and logit type; accuracy and F1 Wilson; losses and mean
absolute error by the central limit theorem; macro AUC the mean of its classes' bounds (safe whatever
the classes' dependence); macro F1 by a seeded multinomial bootstrap over the cells of the confusion table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.intervals import Estimate
from sandbox.records import Measurement

Array = NDArray[Any]
DRAWS = 400


@evaluator("discrimination", version=1)
def discrimination(context: Context) -> Iterator[Measurement]:
    report = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
    yield from report[context.task.kind](context)


def auc_of(counts: Array, minimum: int, level: float = intervals.LEVEL) -> Estimate | None:
    """The AUC of outcome x score counts, or None with fewer than `minimum` of either outcome."""
    no, yes = (int(n) for n in counts.sum(axis=-1))
    if min(no, yes) < minimum:
        return None
    return intervals.auc(float(curve.auc(counts)), yes, no, level)


def of(name: str, estimate: Estimate, group: str = "", feature: str = "") -> Measurement:
    """An estimate as a measurement."""
    return Measurement(name, estimate.value, estimate.n, estimate.low, estimate.high, group, feature)


def _binary(context: Context) -> Iterator[Measurement]:
    counts = context.tally["scores"].counts
    n, yes = int(counts.sum()), int(counts[1].sum())
    auc = auc_of(counts, context.minimum)
    if auc is None:
        yield too_few("auc", n)
        yield too_few("average_precision", n)
    else:
        yield of("auc", auc)
        precision = float(curve.average_precision(counts))
        yield of("average_precision", intervals.logit_share(precision, yes, n))
    if n < context.minimum:
        yield from (too_few(name, n) for name in ("accuracy", "f1", "log_loss", "brier"))
        return
    half = counts.shape[1] // 2
    hits, wrong = int(counts[1, half:].sum()), int(counts[0, half:].sum() + counts[1, :half].sum())
    yield of("accuracy", intervals.rate(n - wrong, n))
    enough = hits + wrong >= context.minimum
    yield of("f1", intervals.f1(hits, wrong, n)) if enough else too_few("f1", n)
    for name in ("log_loss", "brier"):
        value = float(curve.METRICS[name](counts))
        yield of(name, intervals.mean(value, curve.spread(counts, name), n))


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
    yield of("f1", _resampled(confusion, _macro_f1, context.rng("macro f1")))


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
    outcome = context.tally["outcome"].counts
    middles = (np.arange(len(outcome)) + 0.5) * 2 / len(outcome) - 1
    variance = float((outcome * middles**2).sum() / n - ((outcome * middles).sum() / n) ** 2)
    if variance <= 0:
        yield Measurement("r2", None, n, status="undefined")
        return
    # the outcome's variance is taken as known: the interval is of the model's error alone
    value, low, high = (1 - v / variance for v in (square_error.value, square_error.high, square_error.low))
    yield of("r2", Estimate(value, low, high, n))


def residual_values(bins: int) -> Array:
    """The difference prediction - outcome that stands for each bin of a `residual` table."""
    return (np.arange(bins) + 0.5) * 4 / bins - 2


def _mean_of(counts: Array, terms: Array) -> Estimate:
    n = int(counts.sum())
    value = float((counts * terms).sum() / n)
    return intervals.mean(value, float((counts * terms**2).sum() / n) - value**2, n)


def _macro_f1(confusion: Array) -> Array:
    """Over the last two axes (outcome, predicted); a class neither seen nor predicted counts 0."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray((2 * hits / np.maximum(total, 1)).mean(axis=-1))


def _resampled(counts: Array, metric: Callable[[Array], Array], rng: np.random.Generator) -> Estimate:
    n, value = int(counts.sum()), float(metric(counts))
    draws = rng.multinomial(n, (counts / n).ravel(), size=DRAWS).reshape(DRAWS, *counts.shape)
    low, high = np.quantile(metric(draws), [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), n)
