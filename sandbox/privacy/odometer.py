"""How far has the running total of a pool's charges come? A reading, and no promise about what comes.

The odometer is a ladder of filters, fixed with the pool's budget before anything is asked: one for each hundredth
of the promised epsilon, each at the Rényi order that suits it. It reads the lowest whose bound still holds all
that was charged. Its meaning: for a level *named in advance*, all that is released before the reading passes it
is (that level, delta)-DP, however requests depended on results, because stopping there is a filter (Feldman and
Zrnic 2021, arXiv 2008.11193). It is no statement at a moment, or at a level, chosen by what was seen: filters and
odometers are two things (Rogers, Roth, Ullman and Vadhan 2016, arXiv 1605.08294).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sandbox.privacy import accounting
from sandbox.privacy.budgets import Budget
from sandbox.privacy.filter import RenyiFilter, order_for, rdp_bound

STEPS = 100
"""Levels up to the promise; above it, where only a plan of slots can come, there are twice as many more."""


@dataclass(frozen=True)
class Odometer:
    """The ladder: each level's epsilon, its Rényi order, and the total at that order which it holds."""

    levels: tuple[float, ...]
    orders: tuple[float, ...]
    bounds: tuple[float, ...]

    @classmethod
    def of(cls, budget: Budget) -> Odometer:
        """A function of the budget alone. The level of a filter's promise is the filter itself."""
        return _ladder(
            budget.epsilon, budget.delta, budget.rule.order if isinstance(budget.rule, RenyiFilter) else None
        )

    def reading(self, events: Mapping[str, int]) -> float:
        """The reading for these events (as JSON text) and how often each was charged; 0 for none, and
        infinite where even the highest level is passed."""
        return self.level(
            sum((n * self.cost(event) for event, n in events.items()), np.zeros(len(self.orders)))
        )

    def cost(self, event: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The event's Rényi cost at the order of each level."""
        different = tuple(sorted(set(self.orders)))
        known = dict(zip(different, _costs(event, different), strict=True))
        return np.array([known[order] for order in self.orders])

    def level(self, total: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        """The lowest level that holds these totals."""
        if not total.any():
            return 0.0
        holds = np.flatnonzero(total <= np.array(self.bounds) * (1 + 1e-12))
        return self.levels[int(holds[0])] if len(holds) else math.inf


@lru_cache(maxsize=64)
def _ladder(epsilon: float, delta: float, order: float | None) -> Odometer:
    levels = [epsilon * step / STEPS for step in range(1, STEPS + 1 if order else 3 * STEPS + 1)]
    orders = [order_for(level, delta) for level in levels]
    if order:
        orders[-1] = order
    bounds = [rdp_bound(level, delta, each) for level, each in zip(levels, orders, strict=True)]
    return Odometer(tuple(levels), tuple(orders), tuple(bounds))


@lru_cache(maxsize=4096)
def _costs(event: str, orders: tuple[float, ...]) -> tuple[float, ...]:
    """At several orders at once: much quicker than one by one."""
    if '"RepeatAndSelect"' in event:  # bounded through other orders: as the filter does it
        return tuple(accounting.rdp_at_text(event, order) for order in orders)
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(list(orders))
    accountant.compose(accounting.to_dp_event(json.loads(event)))
    return tuple(float(cost) for cost in accountant._rdp)
