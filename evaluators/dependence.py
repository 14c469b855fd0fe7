"""How much less do two waves tell than as many independent records? The design effect of what is compared.

Where several records are of one person, or records weigh differently, differences between waves vary by more than
independent records would make them. By how much is read off the replicates of persons (evaluators.units), left out
one at a time in both waves at once, so that people who are in both count once. A chi-square statistic is divided by
the mean of that over what is compared, and its degrees of freedom by how uneven it is (Rao & Scott, Annals of
Statistics 12 (1984) 46), and held against an F distribution for what the replicates leave open (Thomas & Rao, JASA 82
(1987) 630). Of independent records nothing changes.
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
    """`effect` is how many times the variance of what is compared is that of independent records, on average and
    never less than 1; `uneven` the squared coefficient of variation of that; `freedom` the degrees of freedom that
    stand behind it; `moves` (replicates x what is compared) are the moves by each replicate (units.deviations), None
    of independent records."""

    effect: float = 1.0
    uneven: float = 0.0
    freedom: float = math.inf
    moves: Array | None = None

    def noise(self, rng: np.random.Generator, draws: int) -> Array:
        """What chance does between units to what is compared: draws x what is compared."""
        assert self.moves is not None  # the caller looked
        level, each = intervals.LEVEL, self.freedom / self.moves.shape[1]
        surer = intervals.t_of(level, each) / intervals.z_of(intervals.aim(level))
        return np.asarray(rng.normal(0, surer, (draws, len(self.moves))) @ self.moves)

    def p_value(self, statistic: float, compared: int) -> float:
        """Of a chi-square statistic, divided by `effect` already, over so many things compared."""
        from scipy.special import chdtrc, fdtrc

        if math.isinf(self.freedom):
            return float(chdtrc(compared, statistic))
        return float(fdtrc(compared / (1 + self.uneven), self.freedom, statistic / compared))


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


def of_totals(now: Cases, reference: Cases) -> Dependence:
    """Of how many records there are."""
    told = sum(1 / min(side.effective_units, side.n) for side in (now, reference))
    return Dependence(max(told / (1 / now.n + 1 / reference.n), 1.0))


def _dependence(
    now: Cases, reference: Cases, metric: Callable[[Array], Array], independent: Array, compared: int
) -> Dependence:
    if now.replicates is None or reference.replicates is None or compared < 1:
        return INDEPENDENT
    both = np.stack([now.replicates, reference.replicates], axis=1)
    moves = units.deviations(both, lambda waves: metric(waves[:, 0]) - metric(waves[:, 1]))
    moved = moves / np.sqrt(independent)
    of_each = (moved**2).sum(axis=1)
    total = float(of_each.sum())
    if not total > 0:
        return INDEPENDENT
    uneven = compared * float(((moved.T @ moved) ** 2).sum()) / total**2 - 1
    unsure, most = float((of_each**2).sum()) / total**2 - 1 / len(moved), compared * (len(moved) - 1.0)
    freedom = min(2 / unsure, most) if unsure > 0 else most
    return Dependence(max(total / compared, 1.0), max(uneven, 0.0), freedom, moves)


def _shares(counts: Array) -> Array:
    return curve.ratio(counts, counts.sum(axis=-1, keepdims=True))


def _rates(counts: Array) -> Array:
    return curve.ratio(counts[..., 1, :], counts.sum(axis=-2))
