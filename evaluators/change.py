"""Has a figure that is watched for ever changed? A Shiryaev-Roberts detector that keeps an alarm budget.

The evidence is a number that, while nothing has changed, grows by 1 a check on average, whenever one looks:
so an alarm at evidence `threshold` comes at most once in `threshold` checks, for ever. After a change it
grows by itself, whatever the day of the change; four sizes of change are considered at once.

What the figure was before is not known but estimated, from the reference wave and from every check since.
So the evidence is the average of Shiryaev and Roberts's over what the figure could have been, weighed by
how well each value explains all checks so far without a change. That keeps the promise on average over
reference waves, which is what an estate of many streams needs, without waiting for a large reference.

Nothing here remembers anything: the evidence is made again from the checks, in order, each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CHANGES = {0.01: 1 / 6, 0.02: 2 / 3, 0.04: 1 / 12, 0.08: 1 / 12}
"""How large a change may be, and the weight of each. Most is put on two points, which is to be seen within days; one of
four or eight is seen as soon with little weight, and closer neighbours of two (1.5, 2.5) would see nothing sooner."""
_REACH = 6.0
"""How many standard deviations of the reference on either side are considered as the figure before."""
_NODES = 33, 513


@dataclass(frozen=True)
class Check:
    """A figure on one wave: of how many independent records, and its variance as an estimate."""

    value: float
    n: float
    variance: float


def share_evidence(cases: Array, n: Array, reference_cases: float, reference_n: float) -> Array:
    """The evidence, check by check, that a share has risen. `cases` is (..., checks), leading axes are streams
    with the same reference. Cases may be a sum of values in [0, 1] (a loss): the evidence is then less than
    it could be, never more than it should be."""
    cases, n = np.asarray(cases, float), np.asarray(n, float)
    total = float(n.sum(axis=-1).max()) if n.size else 0.0
    centre = math.asin(math.sqrt((reference_cases + 0.375) / (reference_n + 0.75)))
    reach = _REACH / (2 * math.sqrt(reference_n))
    low, high = max(centre - reach, 1e-4), min(centre + reach, math.pi / 2 - 1e-4)
    angle = np.linspace(low, high, _nodes(total / reference_n))
    p = np.sin(angle) ** 2
    prior = (reference_cases + 0.5) * np.log(p) + (reference_n - reference_cases + 0.5) * np.log1p(-p)
    risen = np.minimum(p[:, None] + np.array(list(CHANGES)), 1 - 1e-6)
    for_case, against = np.log(risen / p[:, None]), np.log((1 - risen) / (1 - p[:, None]))
    on_case, on_none = np.log(p), np.log1p(-p)

    def ratio(at: int) -> Array:
        k, rest = cases[..., at, None, None], (n - cases)[..., at, None, None]
        return np.asarray(k * for_case + rest * against)

    def likelihood(at: int) -> Array:
        return np.asarray(cases[..., at, None] * on_case + (n - cases)[..., at, None] * on_none)

    return _evidence(cases.shape[-1], cases.shape[:-1], prior, _shares(1), ratio, likelihood)


def mean_evidence(value: Array, variance: Array, before: Check, signs: Sequence[int]) -> Array:
    """The evidence, check by check, that an estimate that is about normal has moved, in the directions of
    `signs` (-1 a fall, 1 a rise)."""
    value, variance = np.asarray(value, float), np.maximum(np.asarray(variance, float), 1e-12)
    spread = math.sqrt(max(before.variance, 1e-12))
    gained = float((spread**2 / variance).sum(axis=-1).max()) if variance.size else 0.0
    mean = before.value + spread * np.linspace(-_REACH, _REACH, _nodes(gained))
    prior = -((mean - before.value) ** 2) / (2 * spread**2)
    moves = np.array([sign * change for sign in signs for change in CHANGES])

    def ratio(at: int) -> Array:
        off = value[..., at, None, None] - mean[:, None]
        return np.asarray((moves * off - moves**2 / 2) / variance[..., at, None, None])

    def likelihood(at: int) -> Array:
        return np.asarray(-((value[..., at, None] - mean) ** 2) / (2 * variance[..., at, None]))

    return _evidence(value.shape[-1], value.shape[:-1], prior, _shares(len(signs)), ratio, likelihood)


def onset(checks: Sequence[Check], before: Check) -> int:
    """The check from which on a lasting change is most likely to have begun."""
    weights = np.array([1 / max(c.variance, 1e-12) for c in checks])
    values = np.array([c.value for c in checks])
    best, at = -1.0, 0
    for start in range(len(checks)):
        early = pooled([before, *checks[:start]])
        late = float((weights[start:] * values[start:]).sum() / weights[start:].sum())
        z = (late - early.value) ** 2 / (1 / weights[start:].sum() + early.variance)
        if z > best:
            best, at = z, start
    return at


def pooled(checks: Sequence[Check]) -> Check:
    """Several checks of the same figure as one, each by its number of records."""
    n = sum(c.n for c in checks)
    value = sum(c.value * c.n for c in checks) / n
    return Check(value, n, sum(c.variance * c.n**2 for c in checks) / n**2)


def _evidence(
    checks: int, shape: tuple[int, ...], prior: Array, shares: Array, ratio: Any, likelihood: Any
) -> Array:
    """`ratio(check)` is (..., nodes, moves), `likelihood(check)` (..., nodes), both logarithms."""
    found = np.zeros((*shape, checks))
    grown = np.full((*shape, len(prior), len(shares)), -np.inf)
    weight = np.broadcast_to(prior - prior.max(), (*shape, len(prior))).copy()
    for at in range(checks):
        grown = np.logaddexp(grown, 0.0) + ratio(at)
        weight += likelihood(at)
        weight -= weight.max(axis=-1, keepdims=True)
        both = weight[..., None] + grown
        top = both.max(axis=(-1, -2), keepdims=True)
        summed = (np.exp(both - top) @ shares).sum(axis=-1) / np.exp(weight).sum(axis=-1)
        found[..., at] = np.exp(np.minimum(np.log(summed) + top[..., 0, 0], 600.0))
    return found


def _shares(signs: int) -> Array:
    """The weight of each change in each of so many directions."""
    return np.tile(list(CHANGES.values()), signs) / signs


def _nodes(gained: float) -> int:
    """Fine enough for how sharply the figure before will be known in the end."""
    least, most = _NODES
    return int(min(max(2 * _REACH * math.sqrt(1 + gained) + 1, least), most)) | 1
