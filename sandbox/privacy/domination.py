"""May this mechanism stand in for that one? Only if nobody could learn more from it, whatever he looks for.

A dominates B when, for every threshold e^x, the hockey-stick divergence of A between neighbours is at least
that of B, in both directions; then B is A with something done to its output (Blackwell 1953; Zhu, Dong and
Wang 2022, arXiv 2106.08567). One epsilon does not decide it: the curves of two mechanisms may cross.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sandbox.privacy import accounting, checks
from sandbox.records import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = 1e-4
"""Losses are rounded to multiples of this, pessimistically, as everywhere in dp_accounting."""
SLACK = 1e-11
"""A slot is its mechanism with this probability of revealing everything: room for rounding, and charged."""


def dominates(one: Json, other: Json) -> bool:
    """Whether whoever sees the output of `one` could make up that of `other`.

    Where both repeat one kind of step and `other` takes no more of them, each with at most the sampling
    rate and at least the noise, it is certain: noise can be added, and a unit's part be left out at
    random. Everything else is decided on the whole privacy loss distributions, which takes up to seconds
    and is remembered. Discrete noise has none, so the most that its concentration allows is put in its place.
    False for whatever else has none ("best of K"), or hardly any privacy.
    """
    return _at_a_glance(one, other) or _on_the_curves(accounting.canonical(one), accounting.canonical(other))


def _at_a_glance(one: Json, other: Json) -> bool:
    ours, theirs = _steps(one), _steps(other)
    if ours is None or theirs is None or len(ours) != 1:
        return False
    ((rate, noise), count), *_ = ours.items()
    return all(q <= rate and sigma >= noise for q, sigma in theirs) and theirs.total() <= count


def _steps(event: Json) -> Counter[tuple[float, float]] | None:
    """How many steps of each (sampling rate, noise multiplier); None for what is no such list."""
    match event["event"]:
        case "Gaussian":
            return Counter({(1.0, event["noise_multiplier"]): 1})
        case "PoissonSampled" if event["of"]["event"] == "Gaussian":
            return Counter({(event["sampling_probability"], event["of"]["noise_multiplier"]): 1})
        case "SelfComposed":
            inner = _steps(event["of"])
            return inner and Counter({step: count * event["count"] for step, count in inner.items()})
        case "Composed":
            parts = [_steps(part) for part in event["of"]]
            return None if None in parts else sum((part for part in parts if part), Counter())
    return None


@lru_cache(maxsize=1024)
def _on_the_curves(one: str, other: str) -> bool:
    events = [json.loads(event) for event in (one, other)]
    discrete = events[1]["event"] == "DiscreteGaussian"
    have = all(map(accounting.has_pld, events[: 1 if discrete else 2]))
    if not (have and all(map(_in_proportion, events))):
        return False
    if any(cost > 1.001 * most for most, cost in zip(*map(_renyi_costs, (one, other)), strict=True)):
        return False  # what dominates has the larger divergence at every Rényi order too: seen at once
    if discrete:
        rho = accounting.concentration(events[1])
        return all(_above_concentrated(ours, rho) for ours in curves(one))
    return all(above(ours, theirs) for ours, theirs in zip(curves(one), curves(other), strict=True))


@dataclass(frozen=True)
class Curve:
    """A discrete privacy loss distribution: `mass` at the losses GRID * (first, first + 1, ...), and at infinity."""

    first: int
    mass: NDArray[np.float64]
    infinite: float

    def divergences(self, first: int, size: int) -> NDArray[np.float64]:
        """The hockey-stick divergence at each threshold x = GRID * (first, ...), seen from the side that is small.

        H(e^x) where x > 0, and below that the divergence the other way round, H(P, Q) = 1 - e^x + e^x H(Q, P):
        the same statement without subtracting from 1. The range must hold all of `mass`.
        """
        x = GRID * np.arange(first, first + size)
        p = np.zeros(size)
        p[self.first - first : self.first - first + len(self.mass)] = self.mass
        q = p * np.exp(-x)
        p_above = p[::-1].cumsum()[::-1]
        q_above = q[::-1].cumsum()[::-1]
        forward = self.infinite + p_above - np.exp(np.minimum(x, 700)) * q_above
        only_there = max(0.0, 1 - q.sum())  # where the first distribution has nothing at all
        backward = only_there + q.cumsum() - np.exp(np.minimum(-x, 700)) * p.cumsum()
        found: NDArray[np.float64] = np.where(x > 0, forward, backward)
        return found


def above(one: Curve, other: Curve, slack: float = SLACK) -> bool:
    """Whether `one`, with this probability of revealing everything, is nowhere below `other`.

    Exact for these distributions: between neighbouring losses both curves are straight lines in e^x, and
    outside all losses they are constant.
    """
    first = min(one.first, other.first) - 1
    size = max(c.first + len(c.mass) for c in (one, other)) + 1 - first
    ours, theirs = (c.divergences(first, size) for c in (one, other))
    return bool(np.all(theirs <= slack + (1 - slack) * ours))


def _in_proportion(event: Json) -> bool:
    steps = _steps(event)
    return not accounting.worthless(event) and (steps is None or steps.total() <= checks.MOST_STEPS)


def _renyi_costs(event: str) -> list[float]:
    return [accounting.rdp_at_text(event, order) for order in (2, 8, 32)]


def concentrated_divergence(rho: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The most that the divergence at threshold e^x >= 1 of a rho-concentrated mechanism can be.

    By Canonne, Kamath and Steinke's Proposition 12, each of whose orders is a bound, and by Pinsker's inequality.
    """
    most = np.full_like(x, min(1.0, math.sqrt(rho / 2)))
    for order in 1 + np.logspace(-2, 4, 400):
        factor = order * math.log1p(-1 / order) - math.log(order - 1)
        np.minimum(most, np.exp(np.minimum((order - 1) * (order * rho - x) + factor, 0.0)), out=most)
    return most


def _above_concentrated(one: Curve, rho: float) -> bool:
    """As `above`, of any mechanism of this concentration, in both directions alike. Both are convex in e^x, and
    between neighbouring losses ours is a straight line: what lies below it at both ends does so in between."""
    first, size = one.first - 1, len(one.mass) + 2
    ours = one.divergences(first, size)
    theirs = concentrated_divergence(rho, np.abs(GRID * np.arange(first, first + size)))
    return bool(np.all(theirs <= SLACK + (1 - SLACK) * ours))


@lru_cache(maxsize=16)
def curves(event: str) -> tuple[Curve, Curve]:
    """The event's pessimistic distributions for a unit removed and for one added."""
    from dp_accounting import pld

    accountant = pld.PLDAccountant(value_discretization_interval=GRID)
    accountant.compose(accounting.to_dp_event(json.loads(event)))
    found = accountant._pld
    return _curve(found._pmf_remove), _curve(found._pmf_add)


def _curve(pmf: Any) -> Curve:
    dense = pmf.to_dense_pmf()
    return Curve(dense._lower_loss, np.asarray(dense._probs), float(dense._infinity_mass))
