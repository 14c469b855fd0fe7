"""What stands behind a figure? The records in each cell, what they weigh, and how they hang together by unit.

A figure of weighted records is that of the population which the weights stand for. Its interval is that of
independent records, of which there are fewer: as many as give the variance that the figure has between units
(the design effect; Kish 1965). So an interval that is right at the edges of its range or for skewed terms stays
so, and its width is the units'. Korn and Graubard (Survey Methodology 24 (1998) 193) do so for shares, and correct
for the degrees of freedom of the variance as is done here. Without weights, and with one record a unit,
the effective counts are the counts themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import curve, intervals, units
from evaluators.intervals import Estimate
from sandbox.tally import Tally

Array = NDArray[Any]
HEAVIER = 1.25
"""How many times as much as others a record weighs that was not seen: where heavy ones are the cases, fewer are."""
Metric = Callable[[Array], Array]
"""From counts (..., cells) to one number for each of the leading axes."""


@dataclass(frozen=True)
class Cases:
    """One table, or one group's part of it.

    `records` are whole numbers. `counts` are the records, or their weights scaled to the same total. `replicates`
    (replicates x cells, which may be wider) is None where every record is a unit of its own and weighs the same.
    `weighted`, where some weigh more than others: of a part that all records are in, `counts` cannot tell.
    """

    records: Array
    counts: Array
    replicates: Array | None = None
    weighted: bool = False

    @classmethod
    def plain(cls, records: Array) -> Cases:
        return cls(records, records)

    @classmethod
    def of(cls, tally: Tally, name: str, *more: Tally) -> Cases:
        """A table with its weighted and replicated siblings, where it has them, of these tallies together.

        A unit is in the same replicate in every wave, so that one with records in several still counts as one."""
        records, weighted, replicates = (
            np.sum([each[key].counts for each in (tally, *more)], axis=0) if key in tally.tables else None
            for key in (name, f"weighted:{name}", f"replicates:{name}")
        )
        if records is None:
            raise KeyError(name)
        counts = records if weighted is None else _scaled(weighted, records)
        return cls(records, counts, replicates, weighted is not None)

    @property
    def n(self) -> int:
        """How many records there are, whatever they weigh."""
        return int(self.records.sum())

    @property
    def units(self) -> int:
        """How many units there are at least: the records, or the replicates that hold any, or as many units of
        equal weight as tell as much as these."""
        if self.replicates is None:
            return self.n
        holding = np.count_nonzero(self.replicates.reshape(len(self.replicates), -1).sum(axis=1))
        return min(self.n, int(holding), round(self.effective_units))

    @property
    def effective_units(self) -> float:
        """How many units of equal weight tell as much as these (units.effective)."""
        if self.replicates is None:
            return self.n
        return units.effective(self.replicates.reshape(len(self.replicates), -1).sum(axis=1))

    @property
    def rarest(self) -> int:
        """How many units at least there are of the outcome (first axis) that has the fewest."""
        return min(self.group(at).units for at in range(len(self.records)))

    def part(self, cells: Callable[[Array], Array]) -> Cases:
        """Some of the cells, or sums of them: `cells` maps counts of any width to counts of the part."""
        if self.replicates is None:
            return Cases.plain(cells(self.records))
        records = cells(self.records)
        counts, replicates = _scaled(cells(self.counts), records), cells(self.replicates)
        return Cases(records, counts, replicates, self.weighted)

    def group(self, at: int) -> Cases:
        """The part at one position of the first axis."""
        if self.replicates is None:
            return Cases.plain(self.records[at])
        records, replicates = self.records[at], self.replicates[:, at]
        return Cases(records, _scaled(self.counts[at], records), replicates, self.weighted)

    def coarse(self) -> Cases:
        """The same in the cells of the replicates; itself without any."""
        if self.replicates is None:
            return self
        shape = (*self.replicates.shape[1:], -1)
        records, counts = (a.reshape(shape).sum(axis=-1) for a in (self.records, self.counts))
        return replace(self, records=records, counts=counts)

    def effective(
        self, metric: Metric, variance: Callable[[Array], float], level: float = intervals.LEVEL
    ) -> Array:
        """The counts that independent records would have, for the metric to vary as it does between units.

        `variance` is that of the metric of independent records with these counts. Never more than there are
        records, nor fewer than two. Where nothing varies, or one replicate holds all that the metric needs, every
        unit counts once.
        """
        if self.replicates is None:
            return self.counts
        error, freedom = units.jackknife(self.replicates, metric)
        independent = variance(_scaled(self.replicates.sum(axis=0), self.records))
        if error > 0 and independent > 0:
            surer = intervals.t_of(level, max(self.n - 1, 1)) / intervals.t_of(level, freedom)
            share = independent / error**2 * surer**2
        else:
            share = self.effective_units / max(self.n, 1)
        return self.counts * min(max(share, 2 / max(self.n, 1)), 1.0)


def rate(cases: Cases, level: float = intervals.LEVEL) -> Estimate:
    """The share of the second of two cells, with its exact interval; of weighted records also one that allows for a
    record that was not seen and weighs more than those that were."""
    e = cases.effective(_share, partial(share_variance, _share), level)
    found = replace(intervals.rate(float(e[1]), float(e.sum()), level), n=cases.n)
    if not cases.weighted:
        return found
    unseen, variance = HEAVIER / min(cases.effective_units, cases.n), share_variance(_share, e)
    low = 1 - intervals.most_with_unseen(1 - found.value, variance, unseen, level)
    high = intervals.most_with_unseen(found.value, variance, unseen, level)
    return replace(found, low=min(found.low, low), high=max(found.high, high))


def mean(cases: Cases, terms: Callable[[int], Array], level: float = intervals.LEVEL) -> Estimate:
    """The mean of a term that has one value in each of so many cells."""
    e = cases.effective(partial(_mean, terms), partial(_mean_variance, terms), level)
    value, variance, skew = curve.moments_of(e, terms(e.shape[-1]))
    return replace(intervals.mean(value, variance, float(e.sum()), level, skew), n=cases.n)


def _share(counts: Array) -> Array:
    return curve.ratio(counts[..., 1], counts.sum(axis=-1))


def share_variance(share_of: Metric, counts: Array) -> float:
    """Of a share of all these records, were they independent."""
    share = float(share_of(counts))
    return share * (1 - share) / float(counts.sum())


def _mean(terms: Callable[[int], Array], counts: Array) -> Array:
    return curve.ratio((counts * terms(counts.shape[-1])).sum(axis=-1), counts.sum(axis=-1))


def _mean_variance(terms: Callable[[int], Array], counts: Array) -> float:
    return curve.moments_of(counts, terms(counts.shape[-1]))[1] / float(counts.sum())


def _scaled(counts: Array, records: Array) -> Array:
    """Counts with the records' total; as they are where nothing weighs anything."""
    weight = counts.sum()
    return counts * (records.sum() / weight) if weight else counts
