"""When is a pool's budget gone? The arithmetic of the filter at one fixed Rényi order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.privacy import accounting
from sandbox.records import Json

ORDERS = (*range(2, 129), *range(132, 513, 4), *range(528, 2049, 16))
"""Whole orders only: there the cost of a subsampled Gaussian is a finite sum, computed exactly."""


@dataclass(frozen=True)
class RenyiFilter:
    """Admits while the Rényi costs at `order` sum to at most the bound that converts to (epsilon, delta)."""

    order: float

    def bound(self, epsilon: float, delta: float) -> float:
        """The Rényi divergence at `order` that converts to (epsilon, delta); the filter's limit."""
        return rdp_bound(epsilon, delta, self.order)

    def used(self, events: Mapping[str, int]) -> float:
        """The cost of these events (as JSON text) and how often each was charged."""
        return math.fsum(n * accounting.rdp_at_text(event, self.order) for event, n in events.items())

    def to_json(self) -> Json:
        return {"rule": "filter", "order": self.order}


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
