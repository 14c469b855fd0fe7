"""How far could chance have moved this number? Intervals for rates, AUC, means, differences and distances.

Every function takes `level` (0.95 unless told) and keeps it in each setting that `benchmarks/statistics.py`
simulates, not on average over settings. So rates have the exact interval of Clopper and Pearson: Wilson's,
which is right on average, falls to 88 % for a share of 1 % of 50. The price in width is 1 / n: 8 % at 50
records, 3 % at 1,000. Where two approximations err in different places (AUC, average precision, skewed
means), the interval is the hull of both.

Sources: Clopper & Pearson 1934; Newcombe, Stat. Med. 25 (2006) 559, method 5, and DeLong 1988 (AUC); Hall
1992 (skewed means); Fay & Feuer, Stat. Med. 16 (1997) 791 (weighted rates); Newcombe 1998 and Zou & Donner 2008
(square-and-add for differences).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LEVEL = 0.95
_MOST_ODDS = 700.0  # exp of more than 709 is no double
_HALVINGS = 50  # of an interval from 0 to 1, to 1e-15
_EDGE = 1e-9  # an AUC of exactly 1 (or 0) is itself a root; the bound we want lies before it


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and the number of cases behind it."""

    value: float
    low: float
    high: float
    n: int


Leveled = Callable[[float], Estimate]
"""An estimate whose interval can be asked for at any level."""


def z_of(level: float) -> float:
    """The two-sided normal quantile: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def t_of(level: float, df: float) -> float:
    """Student's two-sided quantile for an approximate interval, which aims a little higher (`aim`)."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + aim(level) / 2))


def aim(level: float) -> float:
    """95.5 % for 95 %, so that an approximation may err by half a point and the promise still stands."""
    return 1 - 0.9 * (1 - level)


def rate(cases: float, n: float, level: float = LEVEL) -> Estimate:
    """A share with the exact interval of Clopper and Pearson; `n` may be an effective sample size."""
    from scipy.special import betaincinv

    share, tail = cases / n, (1 - level) / 2
    low = float(betaincinv(cases, n - cases + 1, tail)) if cases > 0 else 0.0
    high = float(betaincinv(cases + 1, n - cases, 1 - tail)) if cases < n else 1.0
    return Estimate(share, min(low, share), max(high, share), round(n))


def told_by(share: float, width: float, n: float, level: float = LEVEL) -> float:
    """How many independent cases tell of a share as much as an interval this wide: n, or fewer where it is wider than
    the exact one of n; at least 2."""

    def wider(cases: float) -> float:
        exact = rate(share * cases, cases, level)
        return exact.high - exact.low - width

    if n <= 2 or wider(n) > -_EDGE:
        return n
    return _root(wider, 2.0, n) if wider(2.0) > 0 else 2.0


def most_with_unseen(share: float, variance: float, unseen: float, level: float = LEVEL) -> float:
    """The upper bound of a share of unequal weights, as if one more case of the weight `unseen` (of all together 1)
    had been found: the heaviest cases are the fewest, and mostly missed where a share is small (Fay and Feuer 1997,
    with the beta distribution in place of the gamma)."""
    from scipy.special import betaincinv

    more, spread = min(share + unseen, 1 - _EDGE), variance + unseen**2
    return float(betaincinv(more**2 / spread, more * (1 - more) / spread, (1 + level) / 2))


def auc(
    value: float, positives: float, negatives: float, level: float = LEVEL, variance: float = 0.0
) -> Estimate:
    """An AUC with the hull of its score-type interval (Newcombe's method 5: right also near 0 and 1) and of
    DeLong's on the log odds, if given his `variance`: right also for scores of unusual shape.

    The score-type bounds are the a for which |value - a| = z sqrt(V(a)), with Hanley and McNeil's V in the
    form that treats both samples as (positives + negatives) / 2 large.
    """
    z, half_n = z_of(aim(level)), (positives + negatives) / 2

    def excess(a: float) -> float:
        spread = (1 - a) / (2 - a) + a / (1 + a)
        of_a = a * (1 - a) * (1 + (half_n - 1) * spread) / (positives * negatives)
        return (value - a) ** 2 - z * z * of_a

    low = _root(excess, 0.0, min(value, 1 - _EDGE)) if value > 0 else 0.0
    high = _root(excess, max(value, _EDGE), 1.0) if value < 1 else 1.0
    n = round(positives + negatives)
    score_type = Estimate(value, low, high, n)
    return hull(score_type, on_log_odds(value, variance, min(positives, negatives), n, level))


def on_log_odds(value: float, variance: float, df: float, n: int, level: float = LEVEL) -> Estimate:
    """A share-like value of this variance, with an interval of Student's kind on its log odds."""
    if not 0 < value < 1 or df <= 1:
        return Estimate(value, value, value, n)
    eta, half = math.log(value / (1 - value)), t_of(level, df - 1) * math.sqrt(variance)
    reach = half / (value * (1 - value))
    low, high = (1 / (1 + math.exp(min(-(eta + side * reach), _MOST_ODDS))) for side in (-1, 1))
    return Estimate(value, low, high, n)


def hull(a: Estimate, b: Estimate) -> Estimate:
    """The value of the first, with bounds that hold both intervals."""
    return Estimate(a.value, min(a.low, b.low), max(a.high, b.high), a.n)


def logit_share(
    value: float, effective: float, n: int, level: float = LEVEL, variance: float = 0.0
) -> Estimate:
    """A share-like value whose log odds have variance 1 / (effective p (1 - p)), or this one if that is more.

    For average precision `effective` is the number of positives (Boyd, Eng & Page, ECML 2013), which is too
    little where scores tell little; there the `variance` of its influence function is right.
    """
    if not 0 < value < 1:
        bounds = rate(value * effective, effective, level)
        return Estimate(value, bounds.low, bounds.high, n)
    variance = max(variance, value * (1 - value) / effective)
    return on_log_odds(value, variance, effective, n, level)


def mean(value: float, variance: float, n: float, level: float = LEVEL, skew: float = 0.0) -> Estimate:
    """A mean of n independent terms of this variance and skewness.

    The hull of Student's interval and of Hall's transformation of it, which undoes the skewness: of a few
    terms with a long tail on one side, most samples miss the tail and seem surer than they are.
    """
    if n <= 1:
        return Estimate(value, -math.inf, math.inf, round(n))
    t, error = t_of(level, n - 1), math.sqrt(max(variance, 0) / (n - 1))
    bend = skew / math.sqrt(n)
    low, high = value - error * t, value + error * t
    if abs(bend) > _EDGE:
        untilted = (3 / bend * (math.cbrt(1 + bend * (x - bend / 6)) - 1) for x in (t, -t))
        ends = [value - error * x for x in untilted]
        low, high = min(low, *ends), max(high, *ends)
    return Estimate(value, low, high, round(n))


def f1(share: Estimate, n: int) -> Estimate:
    """F1 = 2J / (1 + J), with J = TP / (TP + FP + FN) a plain share, so that share's interval carries over."""
    value, low, high = (2 * j / (1 + j) for j in (share.value, share.low, share.high))
    return Estimate(value, low, high, n)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b for independent estimates, by squaring and adding the distances to their bounds."""
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high, a.n + b.n)


def worst_gap(groups: Sequence[Leveled], level: float = LEVEL) -> Estimate:
    """The widest difference between any two groups, with bounds that hold for all pairs at once.

    Looking for the worst pair finds one even where there is none; so each pair gets its interval at
    1 - (1 - level) / pairs (Bonferroni), and the bounds are the greatest lower and the greatest upper.
    """
    pairs = len(groups) * (len(groups) - 1) // 2
    if not pairs:
        raise ValueError("a gap needs two groups")
    strict = [group(1 - (1 - level) / pairs) for group in groups]
    value, low, high = (np.array([getattr(g, part) for g in strict]) for part in ("value", "low", "high"))
    a, b = np.nonzero(~np.eye(len(strict), dtype=bool))  # either way round: the gap has no sign
    gap = value[a] - value[b]  # as `difference`, for all at once
    least = float((gap - np.hypot(value[a] - low[a], high[b] - value[b])).max())
    most = float((gap + np.hypot(high[a] - value[a], value[b] - low[b])).max())
    return Estimate(float(gap.max()), max(least, 0.0), most, sum(g.n for g in strict))


def distance(gaps: Array, noise: Array, errors: Array, n: int, level: float = LEVEL) -> Estimate:
    """A sum of absolute gaps, which chance alone makes positive, with what chance adds taken off.

    `noise` holds draws (draws x gaps) of the gaps' sampling errors, `errors` their standard errors. How
    much chance adds depends on which gaps are truly zero, which nobody knows; so the lower bound takes
    every gap within 2.5 standard errors for zero (chance then adds most), the upper bound takes all for
    large (it adds nothing on average, and only moves the sum), and the value lies between (1 standard
    error). Bounds stay in [0, 1].
    """
    seen, tail = float(np.abs(gaps).sum()), (1 - level) / 4

    def added(least: float) -> Array:
        kept = np.where(np.abs(gaps) > least * errors, gaps, 0)
        return np.asarray(np.abs(kept + noise).sum(axis=1) - np.abs(kept).sum())

    value = min(max(seen - float(added(1.0).mean()), 0.0), 1.0)
    low = seen - float(np.quantile(added(2.5), 1 - tail))
    moved = (noise * np.where(gaps < 0, -1, 1)).sum(axis=1)
    high = seen - float(np.quantile(moved, tail))
    return Estimate(value, min(max(low, 0.0), value), max(min(high, 1.0), value), n)


def _root(function: Callable[[float], float], left: float, right: float) -> float:
    """Where it crosses 0 between these places, at which its signs differ. By bisection: scipy's would load all of
    scipy.optimize."""
    rises = function(right) > 0
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        if (function(middle) > 0) == rises:
            right = middle
        else:
            left = middle
    return (left + right) / 2
