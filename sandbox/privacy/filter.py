"""When is a pool's budget gone? The arithmetic of the filter at one fixed Rényi order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from sandbox.errors import Refused

ORDERS = (*range(2, 129), *range(132, 513, 4), *range(528, 2049, 16))
"""Whole orders only: there the cost of a subsampled Gaussian is a finite sum, computed exactly."""


@dataclass(frozen=True)
class Budget:
    """What a custodian allows about the people of one pool, and the order its filter was fixed at."""

    pool: str
    epsilon: float
    delta: float
    order: float

    @cached_property
    def bound(self) -> float:
        """The Rényi divergence at `order` that converts to (epsilon, delta); the filter's limit."""
        return rdp_bound(self.epsilon, self.delta, self.order)

    def must_admit(self) -> None:
        """Raises Refused when this budget would admit nothing at all."""
        if not self.bound > 0:
            raise Refused(
                f"A budget of ε = {self.epsilon:g} at δ = {self.delta:g} admits nothing at order "
                f"{self.order:g}. Ask the data custodian for a larger one."
            )

    def as_gaussian(self, cost: float) -> float:
        """This Rényi cost in the words of a request: see `gaussian_epsilon`."""
        return gaussian_epsilon(max(0.0, cost), self.order, self.delta)


def rdp_bound(epsilon: float, delta: float, order: float) -> float:
    """The largest Rényi divergence of `order` that implies (epsilon, delta)-DP.

    Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), Proposition 12, solved for the divergence:
    epsilon = rho + log(1 - 1/order) - log(delta order) / (order - 1). dp_accounting uses the same.
    """
    return epsilon - math.log1p(-1 / order) + math.log(delta * order) / (order - 1)


def order_for(epsilon: float, delta: float) -> float:
    """The order at which most small mechanisms fit: it maximises bound(order) / order.

    A training or release that is small beside the budget costs about c x order at the orders in
    question (a Gaussian exactly, DP-SGD at the usual noise nearly), so the choice depends on the
    budget alone, as it must: it is made once, before anything is asked.
    """
    return float(max(ORDERS, key=lambda order: rdp_bound(epsilon, delta, order) / order))


def gaussian_epsilon(cost: float, order: float, delta: float) -> float:
    """The epsilon at `delta` of one Gaussian release with this Rényi cost at `order`.

    With noise multiplier s the cost is order / (2 s^2), and the epsilon is the analytic one of Balle
    and Wang 2018 (arXiv 1805.06083), Theorem 8, in terms of mu = 1 / s.
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr

    mu = math.sqrt(2 * cost / order)
    most = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # the tail bound: never too little
    if not mu < 100:
        return most  # so large that only its size matters

    def excess(epsilon: float) -> float:
        above = math.exp(log_ndtr(mu / 2 - epsilon / mu))
        return above - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)) - delta

    if mu == 0 or excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, most, xtol=1e-12))
