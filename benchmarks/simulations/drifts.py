"""Does the drift alarm keep its promise? Years without drift, and shifts and moved categories found in time.

Twenty features, half of them numbers in 64 bins and half categories, weekly waves against a reference of
6,000; looked at over 1, 4 and 13 waves together, exactly as evaluators.drift does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from evaluators.cases import Cases
from evaluators.drift import SCALES
from evaluators.policy import Drift
from evaluators.two_waves import chi_square, joined, noisy_chi_square

FEATURES, WAVES, ROWS, REFERENCE = 20, 52, 1_000, 6_000
ONE_TABLE = 4.5
"""The noise of one table released at epsilon 1, delta 1e-6."""
LIMIT = Drift().p_limit(FEATURES)
EDGES = np.linspace(-4, 4, 65)
CATEGORIES = np.array([0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
Test = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Shown:
    """In how many of `tried` years or histories something was said, and what is promised of that share."""

    what: str
    share: float
    tried: int
    at_most: float = 1.0
    at_least: float = 0.0

    @property
    def missed(self) -> bool:
        return self.share > self.at_most or self.share < self.at_least


def years(count: int, sigma: float = 0.0, seed: int = 4) -> Shown:
    """The share of years without drift in which any feature alarms on any wave."""
    rng = np.random.default_rng([seed, int(sigma)])
    alarmed = sum(any(_alarms(at, 0.0, 0.0, sigma, rng) for at in range(FEATURES)) for _ in range(count))
    return Shown(f"a year of nothing alarms{_noise(sigma)}", alarmed / count, count, at_most=0.05)


def shifts(count: int, sigma: float = 0.0, at_least: float = 0.99, seed: int = 5) -> Shown:
    rng = np.random.default_rng([seed, int(sigma)])
    found = sum(min(_alarms(0, 0.2, 0.0, sigma, rng, 4), default=9) <= 4 for _ in range(count))
    return Shown(f"0.2 SD is found within 4 waves{_noise(sigma)}", found / count, count, at_least=at_least)


def moves(count: int, sigma: float = 0.0, at_least: float = 0.95, seed: int = 6) -> Shown:
    rng = np.random.default_rng([seed, int(sigma)])
    found = sum(bool(_alarms(1, 0.0, 0.1, sigma, rng, 1)) for _ in range(count))
    return Shown(
        f"10 points of a category in the first wave{_noise(sigma)}", found / count, count, at_least=at_least
    )


def _alarms(
    feature: int, shift: float, moved: float, sigma: float, rng: np.random.Generator, waves: int = WAVES
) -> list[int]:
    """The waves (from 1) on which this feature alarms; even features are numbers, odd ones categories."""
    p, q = (_normal(0.0), _normal(shift)) if feature % 2 == 0 else (CATEGORIES, _moved(moved))
    reference, now = rng.multinomial(REFERENCE, p), rng.multinomial(ROWS, q, size=waves)
    if feature % 2 == 0:
        now, reference = _on_tenths(now, reference)
    if sigma:
        now = now + np.rint(rng.normal(0, sigma, now.shape))
        reference = reference + np.rint(rng.normal(0, sigma, reference.shape))
    summed = np.concatenate([np.zeros((1, now.shape[1])), now.cumsum(axis=0)])
    found = set()
    for scale in SCALES:
        together = summed[scale:] - summed[:-scale] if scale <= waves else np.empty((0, now.shape[1]))
        test: Test = (
            _exact
            if not sigma
            else partial(noisy_chi_square, sigma=sigma * scale**0.5, reference_sigma=sigma)
        )
        for at in np.flatnonzero(_rough(together, reference, sigma * scale**0.5, sigma) > _ROUGHLY):
            if test(together[at], reference) * len(SCALES) < LIMIT:
                found.add(int(at) + scale)
    return sorted(found)


_ROUGHLY = 12.0
"""An alarm needs a statistic of 18.6 or more, and the quick look is close to it."""


def _rough(now: Any, reference: Any, sigma: float, other: float) -> Any:
    """A quick look that spares nearly all tests: cell by cell, each with its own variance."""
    n, m = np.maximum(now.sum(axis=1, keepdims=True), 1), max(reference.sum(), 1)
    share = np.maximum((now + reference) / (n + m), 1e-4)
    variance = share * (1 / n + 1 / m) + (sigma / n) ** 2 + (other / m) ** 2
    return ((now / n - reference / m) ** 2 / variance).sum(axis=1)


def _on_tenths(now: Any, reference: Any) -> tuple[Any, Any]:
    sides = [joined(Cases.plain(wave), Cases.plain(reference), True, 0) for wave in now]
    return np.stack([wave.counts for wave, _ in sides]), sides[0][1].counts


def _exact(now: Any, reference: Any) -> float:
    return chi_square(Cases.plain(now), Cases.plain(reference))


def _normal(shift: float) -> Any:
    from scipy.stats import norm

    cells = np.diff(norm.cdf(EDGES, shift))
    return cells / cells.sum()


def _moved(points: float) -> Any:
    q = CATEGORIES.copy()
    q[0], q[-1] = q[0] - points, q[-1] + points
    return q


def _noise(sigma: float) -> str:
    return f", noise of {sigma:g}" if sigma else ""
