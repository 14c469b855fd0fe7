"""How is noise added to counts so that a release costs what its charge says?

Exact discrete Gaussian noise by OpenDP, from the operating system's randomness, on whole numbers: no
floating-point gap for an attack to use. Canonne, Kamath and Steinke 2020 (arXiv 2004.00010) prove
that noise of scale sigma on integers with L2 sensitivity D is (D^2 / 2 sigma^2)-concentrated DP, in
any dimension, exactly as the continuous Gaussian is. Its Rényi cost at order a is therefore at most
a D^2 / 2 sigma^2, and that is charged: the event `DiscreteGaussian` with noise multiplier sigma / D. It is not
the event `Gaussian`, whose privacy loss distribution is the continuous one's: that the discrete curve lies nowhere
above it is not proved, and in whole numbers it is not true (a test holds the example).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import Refused, Unfit
from sandbox.privacy import accounting, checks
from sandbox.records import Json
from sandbox.tally import Table

MECHANISM = "discrete Gaussian"


@dataclass(frozen=True)
class DiscreteGaussian:
    """Noise of standard deviation `sigma` for counts of this L2 sensitivity; `event` is its charge."""

    sigma: float
    sensitivity: float
    event: Json

    def release(self, tables: Mapping[str, Table]) -> dict[str, Table]:
        """The tables with noise in every cell, together one release. Cells may become negative."""
        draw = self.prepare()
        flat = np.concatenate([table.counts.ravel() for table in tables.values()])
        noisy = np.asarray(draw([int(count) for count in flat]), np.int64)
        parts = np.split(noisy, np.cumsum([table.counts.size for table in tables.values()])[:-1])
        return {
            name: Table(table.axes, part.reshape(table.counts.shape))
            for (name, table), part in zip(tables.items(), parts, strict=True)
        }

    def prepare(self) -> Callable[[list[int]], list[int]]:
        """The mechanism itself; raises Unfit where OpenDP or its accounting is not what we rely on."""
        try:
            import opendp.prelude as dp
        except ImportError:
            raise Unfit("OpenDP is not installed, so no noise can be drawn. Run `make install`.") from None
        dp.enable_features("contrib")
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
        measurement = dp.m.make_gaussian(*space, scale=self.sigma)
        rho = 1 / (2 * self.event["noise_multiplier"] ** 2)
        if measurement.map(self.sensitivity) > rho:
            raise Unfit("OpenDP accounts more for this noise than is charged; nothing was drawn.")
        draw: Callable[[list[int]], list[int]] = measurement
        return draw


def discrete_gaussian(epsilon: float, delta: float, sensitivity: float) -> DiscreteGaussian:
    """The least noise, rounded up to three decimals, with which a release is (epsilon, delta)-DP."""
    sensitivity = checks.positive(sensitivity, "A sensitivity")
    sigma = math.ceil(noise_multiplier(epsilon, delta) * sensitivity * 1000) / 1000
    multiplier = sigma / sensitivity * (1 - 1e-12)  # below the quotient, so that rounding never undercharges
    return DiscreteGaussian(sigma, sensitivity, accounting.discrete_gaussian_event(multiplier))


def l2_sensitivity(max_rows_per_unit: int, tables: int) -> float:
    """How far, in L2, one unit can move `tables` tables counted over the same wave: m sqrt(T).

    Adjacency is add-or-remove-one unit. A unit brings k <= m records to a wave, and a record lands in
    at most one cell of each table. Removing the unit therefore lowers each table by a vector of
    non-negative integers summing to at most k; the L2 norm of such a vector is at most its sum, with
    equality when all k records share a cell. The T tables laid side by side change by at most
    sqrt(T k^2) = k sqrt(T) <= m sqrt(T). Merging cells keeps all of this true. Rounded up.
    """
    if max_rows_per_unit < 1 or tables < 1:
        raise Refused("A release has at least one table and a unit at least one record.")
    return math.nextafter(max_rows_per_unit * math.sqrt(tables), math.inf)


@lru_cache(maxsize=64)
def noise_multiplier(epsilon: float, delta: float) -> float:
    """The least sigma / D at which zCDP implies (epsilon, delta)-DP.

    By the conversion of Canonne, Kamath and Steinke (Proposition 12), minimised over orders. The
    analytic Gaussian formula would ask for 6 to 10 % less, but is proved for continuous noise only.
    """
    epsilon, delta = checks.positive(epsilon, "An epsilon"), checks.share(delta, "A delta")
    low, high = 1e-3, 1.0
    while concentrated_epsilon(high, delta) > epsilon:
        high *= 2
        if high > 1e9:
            raise Refused(f"No noise gives an epsilon of {epsilon:g} at a delta of {delta:g}.")
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if concentrated_epsilon(middle, delta) <= epsilon else (middle, high)
    return high


def concentrated_epsilon(multiplier: float, delta: float) -> float:
    """The epsilon at `delta` of one release with this sigma / D, by the same conversion."""
    orders, offset = _conversion(delta)
    return max(0.0, float(np.min(orders / (2 * multiplier**2) + offset)))


@lru_cache(maxsize=8)
def _conversion(delta: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    orders = 1 + np.logspace(-3, 7, 20_001)
    return orders, np.log1p(-1 / orders) - np.log(delta * orders) / (orders - 1)
