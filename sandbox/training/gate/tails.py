"""How unlikely is what was seen, if training is as claimed? Upper bounds on tail probabilities, as log10.

Every bound here holds for any number of draws: exact distributions, Chernoff's bound, or that of
Dvoretzky, Kiefer and Wolfowitz with Massart's constant (1990). None is an approximation for large
samples, which would be wrong by orders of magnitude at the levels used here. Log10, because what is
refused is often rarer than a float can say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
NEVER = -math.inf
SURE = 0.0
_LOG10 = math.log(10)


def normal(z: float) -> float:
    """Two-sided, of a standard normal. What is no number never happens."""
    if math.isnan(z):
        return NEVER
    return _capped((math.log(2) + float(stats.norm.logsf(abs(z)))) / _LOG10)


def chi_squared(value: float, freedom: int, slack: float = 0.0) -> float:
    """Two-sided. A value within the relative `slack` of the claim's is given the benefit of it."""
    if not freedom:
        return SURE
    if math.isnan(value):
        return NEVER
    below = float(stats.chi2.logcdf(value * (1 + slack), freedom))
    above = float(stats.chi2.logsf(value / (1 + slack), freedom))
    return _capped((math.log(2) + min(below, above)) / _LOG10)


def binomial(count: int, n: int, rate: float) -> float:
    """Two-sided."""
    if not 0 <= count <= n:
        return NEVER
    below, above = stats.binom.logcdf(count, n, rate), stats.binom.logsf(count - 1, n, rate)
    return _capped((math.log(2) + float(min(below, above))) / _LOG10)


def uniform(largest_gap: float, n: int) -> float:
    """Of the largest gap between an empirical distribution function of `n` draws and the true one."""
    return _capped((math.log(2) - 2 * n * max(largest_gap, 0.0) ** 2) / _LOG10)


def sampled_gaussian(total: float, n: int, rate: float, deviation: float) -> float:
    """Two-sided, of a sum of `n` terms, each one with probability `rate` else nought, plus Gaussian noise."""
    if not n:
        return SURE
    spread = math.sqrt(n * (rate * (1 - rate) + deviation**2)) or 1.0
    steps = np.concatenate([np.geomspace(1e-3, 60, 400), -np.geomspace(1e-3, 60, 400)]) / spread
    cumulants = np.log1p(rate * np.expm1(steps)) + 0.5 * (steps * deviation) ** 2
    return _capped((math.log(2) + float(np.min(n * cumulants - steps * total))) / _LOG10)


def normal_scores(below: Numbers, at: Numbers, generator: np.random.Generator) -> Numbers:
    """Standard normal numbers from discrete draws, of which P(less) is `below` and P(equal) is `at`.

    A draw's place within its own probability is chosen at random, so that these are exactly normal.
    """
    place = np.clip(below + generator.random(len(below)) * at, 0.0, 1.0)
    return np.asarray(stats.norm.ppf(place), np.float64)


def least(found: Sequence[float]) -> float:
    """Of several bounds together: the smallest, times how many there are."""
    return _capped(min(found) + math.log10(len(found))) if found else SURE


def _capped(log10: float) -> float:
    return min(log10, SURE)
