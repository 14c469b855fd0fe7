"""Do the inputs, the scores or the outcomes differ from the reference wave? Three different things.

A distance is the total variation distance: the share of records that would have to move to another
bin. Fine bins are joined into about ten of equal size in the reference, with a thin bin (1 %) at
each end so that a new tail shows; categories, missing and unknown values stay themselves. Chance alone
makes such a distance positive, so what chance adds is taken off, and the interval accounts for both
samples (bootstrap of both, seeded). The p-value is of a two-sample chi-square test on the same bins.
On the reference wave itself a distance has the status `reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from sandbox.records import Measurement
from sandbox.tally import Table

Array = NDArray[Any]
SHARES = (0.01, *(i / 10 for i in range(1, 10)), 0.99)
DRAWS = 1000
SPARSE = 10
"""For the test, bins with fewer records in both waves together are joined into one."""

_ORDERED = frozenset({"number", "date", "image", "sequence", "text"})


@evaluator("input_drift", version=1)
def input_drift(context: Context) -> Iterator[Measurement]:
    for feature in [n.removeprefix("input:") for n in context.tally.tables if n.startswith("input:")]:
        kind = context.card.columns[feature].kind
        table = context.tally[f"input:{feature}"]
        names = ("input_distance", "input_p")
        yield from _compare(context, f"input:{feature}", names, feature, kind in _ORDERED, 1)
        yield _share("missing_share", table, axes.MISSING, feature, context.minimum)
        if kind == "category":
            yield _share("unknown_share", table, axes.UNKNOWN, feature, context.minimum)


@evaluator("score_drift", version=1)
def score_drift(context: Context) -> Iterator[Measurement]:
    yield from _compare(context, "score", ("score_distance", "score_p"), "", True, 0)
    counts = context.tally["score"].counts
    n = int(counts.sum())
    if n < context.minimum:
        yield too_few("score_mean", n)
        return
    values = axes.score_values(len(counts))
    if context.task.kind == "regression":
        values = (np.arange(len(counts)) + 0.5) * 2 / len(counts) - 1
    mean = float((counts * values).sum() / n)
    yield of("score_mean", intervals.mean(mean, float((counts * values**2).sum() / n) - mean**2, n))


@evaluator("outcome_drift", version=1)
def outcome_drift(context: Context) -> Iterator[Measurement]:
    kind = context.task.kind
    names = ("outcome_distance", "outcome_p")
    yield from _compare(context, "outcome", names, "", kind == "regression", 0)
    table = context.tally["outcome"]
    if kind == "binary":
        yield _share("outcome_rate", table, table.axes[0].labels[1], "", context.minimum)
    elif kind == "multiclass":
        for label in table.axes[0].labels:
            yield _share("outcome_rate", table, label, label, context.minimum)


def joined(now: Array, reference: Array, ordered: bool, ends: int) -> tuple[Array, Array]:
    """Both histograms on the bins that the reference alone decides; the last `ends` positions stay."""
    if not ordered:
        return now, reference
    body = reference[: len(reference) - ends] if ends else reference
    if not body.sum():
        return now, reference
    groups = curve.quantile_groups(body, np.array(SHARES))
    groups += [[at] for at in range(len(body), len(reference))]
    return _merged(now, groups), _merged(reference, groups)


def distance(now: Array, reference: Array, rng: np.random.Generator) -> Estimate:
    """The total variation distance of two histograms on the same bins, with chance's part taken off."""
    n, m = int(now.sum()), int(reference.sum())
    p, q = now / n, reference / m
    noise = (rng.multinomial(n, p, size=DRAWS) / n - p) - (rng.multinomial(m, q, size=DRAWS) / m - q)
    errors = np.sqrt(_variance(now, n) + _variance(reference, m))
    return intervals.distance((p - q) / 2, noise / 2, errors / 2, n)


def chi_square(now: Array, reference: Array) -> float:
    """The p-value of a two-sample chi-square test; sparse bins are joined, 1.0 when one bin is left."""
    from scipy.stats import chi2

    both = now + reference
    sparse = both < SPARSE
    table = np.stack([now[~sparse], reference[~sparse]]).astype(float)
    rest = np.array([[now[sparse].sum()], [reference[sparse].sum()]], float)
    if rest.sum():
        table = np.concatenate([table, rest], axis=1)
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(chi2.sf(((table - expected) ** 2 / expected).sum(), table.shape[1] - 1))


def _variance(counts: Array, n: int) -> Array:
    """Of each bin's share; a bin that happened to be empty has some, too."""
    smooth = (counts + 0.5) / (n + 1)
    return np.asarray(smooth * (1 - smooth) / n)


def _merged(counts: Array, groups: list[list[int]]) -> Array:
    return np.array([counts[group].sum() for group in groups])


def _compare(
    context: Context, name: str, names: tuple[str, str], feature: str, ordered: bool, ends: int
) -> Iterator[Measurement]:
    now = context.tally[name].counts
    n = int(now.sum())
    if context.reference is None:
        yield from (Measurement(each, None, n, feature=feature, status="reference") for each in names)
        return
    reference = context.reference[name].counts
    if min(n, int(reference.sum())) < context.minimum:
        yield from (too_few(each, n, feature=feature) for each in names)
        return
    now, reference = joined(now, reference, ordered, ends)
    yield of(names[0], distance(now, reference, context.rng(names[0], feature)), feature=feature)
    # a p-value is itself a statement about chance: no interval
    yield Measurement(names[1], chi_square(now, reference), n, feature=feature)


def _share(name: str, table: Table, label: str, feature: str, minimum: int) -> Measurement:
    n = table.total
    if n < minimum:
        return too_few(name, n, feature=feature)
    cases = int(table.counts[table.axes[0].labels.index(label)])
    return of(name, intervals.rate(cases, n), feature=feature)
