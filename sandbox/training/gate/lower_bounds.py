"""How much epsilon does guessing which canaries took part prove? Two lower bounds from one training.

Each canary took part by the toss of a coin. Guesses are made for some of them and compared with the coins.

* `formal`: Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023
  (arXiv 2305.08846): whatever the mechanism is, with delta, and with abstention.
* `gaussian`: Mahloujifar, Melis and Chaudhuri, "Auditing f-differential privacy in one run", 2024
  (arXiv 2410.22235), for the trade-off curves of the Gaussian mechanism: higher, and true only of what
  these curves describe.

A lower bound is not what a training gave away, and says nothing when it is low.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

CONFIDENCE = 0.95


def formal(canaries: int, guesses: int, right: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """With this confidence the mechanism is not (epsilon, delta)-private for any smaller epsilon."""
    return _largest(
        lambda epsilon: p_value(canaries, guesses, right, epsilon, delta) < 1 - confidence, most=60.0
    )


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """At most how likely so many right guesses are under (epsilon, delta) (their theorem 5.2)."""
    if not 0 <= right <= guesses <= canaries:
        raise ValueError("there are at most as many right guesses as guesses, and as canaries")
    chance = 1 / (1 + math.exp(-epsilon))
    tail = float(stats.binom.sf(right - 1, guesses, chance))
    below = np.cumsum(stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, chance))
    worst = float(np.max(below / np.arange(1, right + 1), initial=0.0))
    return min(1.0, tail + 2 * canaries * delta * worst)


def gaussian(canaries: int, guesses: int, right: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """The same, read from the largest mu for which mu-GDP is ruled out."""
    mu = _largest(lambda mu: _ruled_out(canaries, guesses, right, mu, 1 - confidence), most=20.0)
    return gdp_epsilon(mu, delta)


def gdp_epsilon(mu: float, delta: float) -> float:
    """The epsilon of mu-GDP at delta (Dong, Roth and Su 2022, corollary 2.13)."""
    if mu <= 0 or _gdp_delta(mu, 0.0) <= delta:
        return 0.0
    return _largest(lambda epsilon: _gdp_delta(mu, epsilon) > delta, most=mu * (mu + 40))


def _gdp_delta(mu: float, epsilon: float) -> float:
    upper = stats.norm.logcdf(-epsilon / mu - mu / 2) + epsilon
    return float(ndtr(-epsilon / mu + mu / 2) - math.exp(upper))


def _ruled_out(canaries: int, guesses: int, right: int, mu: float, level: float) -> bool:
    """Whether mu-GDP makes `right` or more of `guesses` right less likely than `level`.

    Supposes the likelihood is `level` and follows what the curve then forces on every smaller number of
    right guesses: flipping the coin of one canary, chosen at random, turns "right, and at least i right"
    into "wrong, and at least i - 1 right". More than all of the probability would be needed if it is not so.
    """
    hits, misses = level * right / canaries, level * (guesses - right) / canaries
    whole = guesses / canaries
    for i in range(right - 1, -1, -1):
        needed = max(misses, float(ndtr(ndtri(min(hits, 1.0)) - mu)))
        hits += i / (guesses - i) * (needed - misses)
        misses = needed
        if hits + misses > whole:
            return True
    return False


def best_guesses(canaries: int, separation: float, delta: float) -> int:
    """How many guesses promise the highest formal bound, if scores of the two kinds lie so many deviations apart.

    Fixed before the training, from the plan alone: choosing by what was seen would undo the confidence.
    """
    promised = {}
    for guesses in sorted({max(2, canaries // share) // 2 * 2 for share in (1, 2, 4, 8, 16, 32, 64, 128)}):
        cut = -float(ndtri(guesses / canaries / 2)) if guesses < canaries else 0.0
        cut += separation / 2 * (guesses < canaries)
        hit, false = float(ndtr(separation - cut)), float(ndtr(-cut))
        promised[guesses] = formal(canaries, guesses, math.floor(guesses * hit / (hit + false)), delta)
    return max(promised, key=lambda guesses: (promised[guesses], guesses))


def _largest(holds: Callable[[float], bool], most: float) -> float:
    """The end of the interval from nought on which `holds`, to 0.001, from below."""
    if not holds(0.0):
        return 0.0
    low, high = 0.0, most
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
