"""How much less do two waves tell than as many independent records? The design effect of what is compared.

Where several records are of one person, or records weigh differently, differences between waves vary by more than
independent records would make them. By how much is read off the replicates of persons (evaluators.units), left out
one at a time in both waves at once, so that people who are in both count once. A chi-square statistic is then a sum of
unequal parts (Rao & Scott, Annals of Statistics 12 (1984) 46): its tail is that of the chi-square with the same three
moments (Pearson, Biometrika 46 (1959) 364), or rather of the F distribution that allows for what the replicates leave
open. Two moments are too few so far out: alarms need p-values of one in 60,000. Of independent records nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import curve, intervals, units
from evaluators.cases import Cases

Array = NDArray[Any]


@dataclass(frozen=True)
class Dependence:
    """`moves` (replicates x what is compared) are the moves by each replicate (units.deviations), None of independent
    records; `parts` the sums of the parts' variances, of their squares and of their cubes, each variance over that of
    independent records; `freedom` the degrees of freedom that stand behind them."""

    moves: Array | None = None
    parts: tuple[float, float, float] = (1.0, 1.0, 1.0)
    freedom: float = math.inf

    def noise(self, rng: np.random.Generator, draws: int) -> Array:
        """What chance does between units to what is compared: draws x what is compared."""
        assert self.moves is not None  # the caller looked
        surer = intervals.t_of(intervals.LEVEL, self.freedom) / intervals.z_of(intervals.aim(intervals.LEVEL))
        return np.asarray(rng.normal(0, surer, (draws, len(self.moves))) @ self.moves)

    def p_value(self, statistic: float, compared: int) -> float:
        """Of a chi-square statistic over so many things compared, each by the variance of independent records."""
        from scipy.special import chdtrc, fdtrc

        if self.moves is None:
            return float(chdtrc(compared, statistic))
        first, second, third = self.parts
        degrees = second**3 / third**2
        beyond = degrees + (statistic - first) * math.sqrt(degrees / second)
        return float(fdtrc(degrees, self.freedom, beyond / degrees)) if beyond > 0 else 1.0


INDEPENDENT = Dependence()


def of_shares(now: Cases, reference: Cases) -> Dependence:
    """Of the shares of records in the cells of two histograms."""
    shares = (now.counts + reference.counts) / (now.n + reference.n)
    # what is in no cell does not vary, whatever stands beneath it
    independent = np.where(shares > 0, shares, 1) * (1 / now.n + 1 / reference.n)
    return _dependence(now, reference, _shares, independent, int(np.count_nonzero(shares)) - 1)


def of_rates(now: Cases, reference: Cases, independent: Array) -> Dependence:
    """Of the rate of the second outcome in each column of outcome x score; its differences between two waves of
    independent records have these variances."""
    return _dependence(now, reference, _rates, independent, len(independent))


def of_totals(now: Cases, reference: Cases) -> float:
    """How many times as much as of independent records the number of records varies, compared with the other wave's."""
    told = sum(1 / min(side.effective_units, side.n) for side in (now, reference))
    return max(told / (1 / now.n + 1 / reference.n), 1.0)


def _dependence(
    now: Cases, reference: Cases, metric: Callable[[Array], Array], independent: Array, compared: int
) -> Dependence:
    if now.replicates is None or reference.replicates is None or compared < 1:
        return INDEPENDENT
    both = np.stack([now.replicates, reference.replicates], axis=1)
    moves = units.deviations(both, lambda waves: metric(waves[:, 0]) - metric(waves[:, 1]))
    scaled = moves / np.sqrt(independent)
    of_each = (scaled**2).sum(axis=1)
    total = float(of_each.sum())
    if not total > 0:
        return INDEPENDENT
    together = scaled.T @ scaled * max(compared / total, 1.0)  # never surer than independent records
    square = together @ together
    first, second, third = (float(sums.trace()) for sums in (together, square, square @ together))
    unsure = float((of_each**2).sum()) / total**2 - 1 / len(moves)
    freedom = len(moves) - 1.0
    if unsure > 0:  # Satterthwaite's, of the total; by how few directions make it up, those of one
        freedom = max(min(2 / unsure * second / first**2, freedom), 1.0)
    return Dependence(moves, (first, second, third), freedom)


def _shares(counts: Array) -> Array:
    return curve.ratio(counts, counts.sum(axis=-1, keepdims=True))


def _rates(counts: Array) -> Array:
    return curve.ratio(counts[..., 1, :], counts.sum(axis=-2))
