"""Have inputs, missingness, categories, volume, scores, outcomes or their relation moved? Different things.

A distance is the total variation distance: the share of records that would have to move to another bin to
look like the reference wave. Fine bins are joined into about ten of equal size in the reference, with a
thin bin (1 %) at each end so that a new tail shows; categories, missing and unknown values stay themselves.
Chance alone makes such a distance positive, so what chance adds is taken off, and the interval accounts for
both samples (bootstrap of both, seeded). The p-value is of a two-sample chi-square test on the same bins. Weighted
records stand for their population, and people with several tell less than others (evaluators.dependence).

A small lasting change is seen sooner in several waves together, so the last 4 and the last 13 are compared,
too (`SCALES`), when there are that many. `..._scale` says which of them speaks the loudest; distance and
p-value are of that one, and the p-value is multiplied by the number of scales there could be, so that
choosing costs the promise of policy nothing. On the reference wave itself all have the status `reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, cases, dependence, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from evaluators.judgement import estimate_of
from evaluators.two_waves import joined, moved, relation
from sandbox.records import Measurement
from sandbox.tally import Tally

Array = NDArray[Any]
SCALES = (1, 4, 13)
"""Waves that are looked at together; the longest says how many earlier ones a context brings."""

_ORDERED = frozenset({"number", "date", "image", "sequence", "text"})


@evaluator("input_drift", version=3)
def input_drift(context: Context) -> Iterator[Measurement]:
    """Have inputs moved, or are more of them missing or unknown?"""
    for feature in [n.removeprefix("input:") for n in context.tally.tables if n.startswith("input:")]:
        kind = context.card.columns[feature].kind
        yield from _compare(context, f"input:{feature}", "input", feature, kind in _ORDERED, 1)
        yield from _share(context, "missing", axes.MISSING, feature)
        if kind == "category":
            yield from _share(context, "unknown", axes.UNKNOWN, feature)


@evaluator("volume", version=3)
def volume(context: Context) -> Iterator[Measurement]:
    """How many records are there for each one in the file that the reference wave was held out of?

    Where units recur, every wave is its held-out share; where they do not, all but the first are whole.
    """
    now = Cases.of(context.tally, "score")
    if context.reference is None:
        yield Measurement("volume_ratio", None, now.n, status="reference")
        return
    before = Cases.of(context.reference, "score")
    if min(now.units, before.units) < context.minimum:
        yield too_few("volume_ratio", now.n)
        return
    effect = dependence.of_totals(now, before)
    share = intervals.rate(now.n / effect, (now.n + before.n) / effect)
    held_out = 1.0 if context.card.recurs else context.card.training.held_out_share
    value, low, high = (held_out * s / (1 - s) for s in (share.value, share.low, share.high))
    yield of("volume_ratio", Estimate(value, low, high, now.n))


@evaluator("score_drift", version=3)
def score_drift(context: Context) -> Iterator[Measurement]:
    """Have the model's scores moved?"""
    yield from _compare(context, "score", "score", "", True, 0)
    scores = Cases.of(context.tally, "score")
    if scores.units < context.minimum:
        yield too_few("score_mean", scores.n)
        return
    said = _numbers if context.task.kind == "regression" else axes.score_values
    yield of("score_mean", cases.mean(scores, said))


@evaluator("outcome_drift", version=3)
def outcome_drift(context: Context) -> Iterator[Measurement]:
    """Have outcomes moved, whatever the model says?"""
    kind = context.task.kind
    yield from _compare(context, "outcome", "outcome", "", kind == "regression", 0)
    labels = context.tally["outcome"].axes[0].labels
    if kind == "binary":
        yield _rate(context.tally, "outcome", labels[1], "outcome_rate", "", context.minimum)
    elif kind == "multiclass":
        for label in labels:
            yield _rate(context.tally, "outcome", label, "outcome_rate", label, context.minimum)


@evaluator("relation_drift", version=2)
def relation_drift(context: Context) -> Iterator[Measurement]:
    """Do outcomes still follow from scores as they did?

    Whether the outcome is as likely at the same score as it was; for a number, whether the errors lie as they did;
    for several classes, whether the chosen class is right as often at the same confidence.
    """
    kind = context.task.kind
    if kind == "regression":
        yield from _compare(context, "residual", "relation", "", True, 0)
        return
    name = "scores" if kind == "binary" else "confidence"
    yield from _compare(context, name, "relation", "", False, 0, related=True)


def _compare(
    context: Context, name: str, what: str, feature: str, ordered: bool, ends: int, related: bool = False
) -> Iterator[Measurement]:
    names = (f"{what}_distance", f"{what}_p", f"{what}_scale")
    n = context.tally[name].total
    if context.reference is None:
        yield from (Measurement(each, None, n, feature=feature, status="reference") for each in names)
        return
    reference = Cases.of(context.reference, name).coarse()
    if min(Cases.of(context.tally, name).units, reference.units) < context.minimum:
        yield from (too_few(each, n, feature=feature) for each in names)
        return
    found = []
    for scale in SCALES:
        if scale > 1 + len(context.earlier):
            break
        rng = context.rng(names[0], feature, scale)
        now = Cases.of(context.tally, name, *context.earlier[: scale - 1]).coarse()
        if related:
            size, p = relation(now, reference, rng)
        else:
            size, p = moved(*joined(now, reference, ordered, ends), rng)
        found.append((p, scale, size))
    p, scale, size = min(found, key=lambda each: each[0])
    yield of(names[0], size, feature=feature)
    # a p-value is itself a statement about chance, and the scale is a choice: no interval
    yield Measurement(names[1], min(p * len(SCALES), 1.0), size.n, feature=feature)
    yield Measurement(names[2], float(scale), size.n, feature=feature)


def _share(context: Context, what: str, label: str, feature: str) -> Iterator[Measurement]:
    """The share of missing or unknown values, and how far it is from the reference wave's."""
    table, name = f"input:{feature}", f"{what}_share"
    now = _rate(context.tally, table, label, name, feature, context.minimum)
    yield now
    if context.reference is None or now.value is None:
        return
    before = _rate(context.reference, table, label, name, feature, context.minimum)
    if before.value is not None:
        yield of(f"{what}_change", intervals.difference(_known(now), _known(before)), feature=feature)


def _rate(tally: Tally, table: str, label: str, name: str, feature: str, minimum: int) -> Measurement:
    """The share of records with one label of a table."""
    at, found = tally[table].axes[0].labels.index(label), Cases.of(tally, table)
    if found.units < minimum:
        return too_few(name, found.n, feature=feature)
    others = [place for place in range(len(found.records)) if place != at]
    counted = found.part(
        lambda counts: np.stack([counts[..., others].sum(axis=-1), counts[..., at]], axis=-1)
    )
    return of(name, cases.rate(counted), feature=feature)


def _known(m: Measurement) -> Estimate:
    estimate = estimate_of(m)
    assert estimate is not None  # the caller looked
    return estimate


def _numbers(bins: int) -> Array:
    """The predicted number that stands for each bin, in units of half the target's range."""
    return (np.arange(bins) + 0.5) * 2 / bins - 1
