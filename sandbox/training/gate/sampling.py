"""Was every unit drawn by its own coin in every step? Poisson sampling, not shuffling, and at the claimed rate.

Under Poisson sampling the batch sizes are binomial and independent, so are the times each unit was
drawn, and two batches in a row share as many units as chance has it. Shuffled or fixed batches are too
regular; a unit drawn twice in a step is never right.
"""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import gammaln

from sandbox.training.gate import tails
from sandbox.training.gate.check import Check, exact
from sandbox.training.resumable import Sums
from sandbox.training.sampler import Whole

_MOST_UNITS = 2**20
"""Of this many units it is counted how often each was drawn."""


class Draws(Sums):
    """Watches who is drawn, step by step. `planted` is how many canaries are drawn along with the people."""

    _KEPT = ("_last", "_times", "_sizes", "_whole", "_shared", "_twice", "_strange")

    def __init__(self, units: int, rate: float, planted: int = 0) -> None:
        self._units, self._rate, self._everybody = units, rate, units + planted
        counted = units if rate < 1 else 0
        self._last = np.zeros(counted, bool)
        self._times = np.zeros(min(counted, _MOST_UNITS), np.int32)
        self._sizes: list[int] = []
        self._whole: list[int] = []
        self._shared: list[int] = []
        self._twice = self._strange = False

    def note(self, drawn: Whole, planted: int = 0) -> None:
        """The people of a step, and how many canaries were drawn with them."""
        if len(drawn) and not 0 <= drawn.min() <= drawn.max() < self._units:
            self._strange = True
            return
        if (
            self._rate >= 1
        ):  # nothing but who is missing matters, and a look at a million people takes its time
            there = np.zeros(self._units, bool)
            there[drawn] = True
            self._sizes.append(int(there.sum()))
            self._twice |= len(drawn) > self._sizes[-1]
            return
        self._shared.append(int(np.count_nonzero(self._last[drawn])))
        self._last[:] = False
        self._last[drawn] = True
        self._times[drawn[drawn < len(self._times)]] += 1  # once, also for who was drawn twice
        self._sizes.append(len(drawn))
        self._whole.append(len(drawn) + planted)
        self._twice |= len(drawn) > 1 and bool((np.diff(np.sort(drawn)) == 0).any())

    def checks(self, generator: np.random.Generator) -> list[Check]:
        known = [
            exact("units drawn once", not self._twice, "a unit was drawn more than once in a step"),
            exact("units known", not self._strange, "a unit was drawn that is not in the data"),
        ]
        if self._strange or not self._sizes:
            return known
        if self._rate >= 1:
            everyone = all(size == self._units for size in self._sizes)
            return [*known, exact("sampling rate", everyone, "not everybody was drawn in every step")]
        steps, sizes = len(self._sizes), np.array(self._sizes)
        sizes_of = ((sizes, self._units), (np.array(self._whole), self._everybody))
        empty = tails.binomial(int((sizes == 0).sum()), steps, (1 - self._rate) ** self._units)
        spread = [_dispersion(self._scores(found, n, generator)) for found, n in sizes_of]
        time_scores = self._scores(self._times.astype(np.int64), steps, generator)
        return [
            *known,
            Check(
                "sampling rate", "records", tails.binomial(int(sizes.sum()), self._units * steps, self._rate),
                "units were drawn more or less often than claimed",
            ),
            Check(
                "batch sizes", "records", tails.least([empty, *spread]),
                "batch sizes are not those of Poisson sampling",
            ),
            Check(
                "times drawn", "records", _dispersion(time_scores),
                "how often units were drawn is not what Poisson sampling gives; shuffled batches are too regular",
            ),
            Check(
                "batches in a row", "records", self._overlaps(sizes, generator),
                "successive batches share more or fewer units than independent ones",
            ),
        ]  # fmt: skip

    def _scores(self, counts: Whole, n: int, generator: np.random.Generator) -> tails.Numbers:
        values, places = np.unique(counts, return_inverse=True)
        below = stats.binom.cdf(values - 1, n, self._rate)
        at = stats.binom.pmf(values, n, self._rate)
        return tails.normal_scores(below[places], at[places], generator)

    def _overlaps(self, sizes: Whole, generator: np.random.Generator) -> float:
        """Given both sizes, the number shared by two batches in a row is hypergeometric."""
        pairs = list(zip(sizes[:-1], sizes[1:], self._shared[1:], strict=True))
        found = [_hypergeometric(self._units, int(a), int(b), k) for a, b, k in pairs]
        if not found:
            return tails.SURE
        below, at = np.array(found).T
        scores = tails.normal_scores(below, at, generator)
        return tails.least([_mean(scores), _dispersion(scores)])


def _mean(scores: tails.Numbers) -> float:
    return tails.normal(float(scores.sum()) / len(scores) ** 0.5)


def _dispersion(scores: tails.Numbers) -> float:
    return tails.chi_squared(float(np.square(scores).sum()), len(scores))


def _hypergeometric(units: int, one: int, other: int, shared: int) -> tuple[float, float]:
    """P(fewer) and P(as many), from the terms within 40 standard deviations."""
    mean = one * other / units
    spread = 40 * (mean**0.5 + 1)
    low = max(0, one + other - units, int(mean - spread))
    high = min(one, other, int(mean + spread))
    ways = np.arange(low, high + 1)
    logs = _choose(one, ways) + _choose(units - one, other - ways) - _choose(units, np.array(other))
    terms = np.exp(logs)
    terms /= terms.sum()
    if not low <= shared <= high:
        return (0.0 if shared < low else 1.0), 0.0
    return float(terms[: shared - low].sum()), float(terms[shared - low])


def _choose(n: int, k: tails.Numbers | Whole) -> tails.Numbers:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), np.float64)
