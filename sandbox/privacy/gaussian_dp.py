"""What is the mu of Gaussian differential privacy of these events: how well can anyone tell one person's part?

mu-GDP: telling two neighbouring populations apart is at least as hard as telling N(0, 1) from N(mu, 1) by one
draw (Dong, Roth and Su 2022, arXiv 1905.02383). Two answers, never to be confused:

* `dominating_mu` is a bound: the least mu whose curve of (epsilon, delta) lies nowhere below that of the
  events' pessimistic privacy loss distribution, for every delta of FLOOR or more. Exact for Gaussians. Below
  FLOOR nothing is said: the far tail of subsampled Gaussians has a larger mu, which no one could act on.
* `central_limit_mu` is an approximation for many small steps, and no bound: p sqrt(T (exp(1 / sigma^2) - 1))
  (Bu, Dong, Long and Su 2020, arXiv 1911.11607, for Poisson sampling).

All are for add-or-remove-one adjacency and parameters fixed in advance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sandbox.privacy import accounting
from sandbox.privacy.domination import GRID, curves
from sandbox.records import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sandbox.privacy.domination import Curve

FLOOR = 1e-10
_LARGEST = 50.0


def dominating_mu(event: Json) -> float | None:
    """The bound, rounded up to 1e-4; None where the event has no PLD, or hardly any privacy."""
    if not accounting.has_pld(event) or accounting.worthless(event):
        return None
    profiles = [_profile(curve) for curve in curves(accounting.canonical(event))]
    if not all(_covers(_LARGEST, *profile) for profile in profiles):
        return None
    if not any(len(delta) for _, delta in profiles):
        return 0.0
    low, high = 0.0, _LARGEST
    while high - low > 1e-4:
        middle = (low + high) / 2
        inside = all(_covers(middle, *profile) for profile in profiles)
        low, high = (low, middle) if inside else (middle, high)
    return math.ceil(high * 1e4) / 1e4


def central_limit_mu(event: Json) -> float | None:
    """The approximation; infinite for noise too small to be told, None for "best of K" and discrete noise."""
    squared = _mu_squared(event)
    return None if squared is None else math.sqrt(squared)


def gaussian_delta(mu: float, epsilon: NDArray[np.float64]) -> NDArray[np.float64]:
    """The delta of a mu-GDP mechanism at each epsilon >= 0 (Balle and Wang 2018, Theorem 8)."""
    from scipy.special import log_ndtr

    far = np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))
    found: NDArray[np.float64] = np.exp(log_ndtr(mu / 2 - epsilon / mu)) - far
    return found


def _profile(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epsilons from 0 up, and delta at each, while it is FLOOR or more.

    From losses above 0 alone: of those far below, rounding leaves too little to be multiplied by exp(-loss).
    """
    start = max(0, -curve.first)
    mass = np.concatenate([np.zeros(max(0, curve.first)), curve.mass[start:]])
    epsilon = GRID * np.arange(len(mass) + 1)
    above = np.append(mass[::-1].cumsum()[::-1], 0.0)
    weighed = np.append((mass * np.exp(-epsilon[:-1]))[::-1].cumsum()[::-1], 0.0)
    delta = curve.infinite + above - np.exp(np.minimum(epsilon, 700)) * weighed
    known = delta >= FLOOR
    return epsilon[known], delta[known]


def _covers(mu: float, epsilon: NDArray[np.float64], delta: NDArray[np.float64]) -> bool:
    """Whether mu's curve is nowhere below. Each delta is held against mu's at the *next* epsilon of the grid:
    both curves fall, so between the points it is nowhere below either."""
    return not len(delta) or (mu > 0 and bool(np.all(delta <= gaussian_delta(mu, epsilon + GRID))))


def _mu_squared(event: Json) -> float | None:
    match event["event"]:
        case "Gaussian":
            return 1 / float(event["noise_multiplier"]) ** 2
        case "PoissonSampled" if event["of"]["event"] == "Gaussian" and event["sampling_probability"] < 1:
            exponent = 1 / event["of"]["noise_multiplier"] ** 2
            grown = math.expm1(exponent) if exponent < 700 else math.inf
            return float(event["sampling_probability"] ** 2 * grown)
        case "PoissonSampled" if event["sampling_probability"] == 1:
            return _mu_squared(event["of"])
        case "SelfComposed":
            inner = _mu_squared(event["of"])
            return None if inner is None else float(event["count"] and event["count"] * inner)
        case "Composed":
            parts = [_mu_squared(part) for part in event["of"]]
            return None if None in parts else math.fsum(part for part in parts if part is not None)
    return None
