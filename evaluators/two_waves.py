"""Do two waves differ in the same counts? Distances and tests, of exact counts and of noisy ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import curve, dependence, intervals
from evaluators.cases import Cases
from evaluators.dependence import INDEPENDENT, Dependence
from evaluators.intervals import Estimate

Array = NDArray[Any]
SHARES = (0.01, *(i / 10 for i in range(1, 10)), 0.99)
DRAWS = 1000
SPARSE = 10
"""For a test, bins with fewer records in both waves together are joined into one."""


def joined(now: Cases, reference: Cases, ordered: bool, ends: int) -> tuple[Cases, Cases]:
    """Both histograms on the bins that the reference alone decides; the last `ends` positions stay."""
    counts = reference.records
    body = counts[: len(counts) - ends]
    if not ordered or not body.sum():
        return now, reference
    groups = curve.quantile_groups(body, np.array(SHARES))
    groups += [[at] for at in range(len(body), len(counts))]
    return now.part(partial(_merged, groups)), reference.part(partial(_merged, groups))


def moved(now: Cases, reference: Cases, rng: np.random.Generator) -> tuple[Estimate, float]:
    """The distance of two histograms on the same bins, and its p-value."""
    held = dependence.of_shares(now, reference)
    return distance(now.counts, reference.counts, rng, held), chi_square(now, reference)


def distance(
    now: Array, reference: Array, rng: np.random.Generator, held: Dependence = INDEPENDENT
) -> Estimate:
    """The total variation distance of two histograms on the same bins, with chance's part taken off."""
    n, m = (round(float(side.sum())) for side in (now, reference))
    p, q = now / now.sum(), reference / reference.sum()
    errors = np.sqrt(_variance(p, n) + _variance(q, m))
    if held.moves is None:
        noise = (rng.multinomial(n, p, size=DRAWS) / n - p) - (rng.multinomial(m, q, size=DRAWS) / m - q)
    else:
        noise = held.noise(rng, DRAWS)
        errors = np.maximum(errors, noise.std(axis=0))
    return intervals.distance((p - q) / 2, noise / 2, errors / 2, n)


def chi_square(now: Cases, reference: Cases) -> float:
    """The p-value of a two-sample chi-square test; sparse bins are joined, 1.0 when one bin is left."""
    now, reference = _dense(now, reference)
    held, table = dependence.of_shares(now, reference), np.stack([now.counts, reference.counts])
    table = table[:, table.any(axis=0)]
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return held.p_value(statistic, table.shape[1] - 1)


def noisy_chi_square(
    now: Array, reference: Array, sigma: float, reference_sigma: float | None = None, together: int = 1
) -> float:
    """The p-value of the same test on counts that carry noise of these standard deviations in every cell.

    The covariance of the difference of shares holds the noise: what the noise adds to a cell, and takes from
    all others by adding to the total. Cells that do not stand clear of the noise are joined. Up to `together` records
    are one person's.
    """
    from scipy.special import chdtrc

    other = sigma if reference_sigma is None else reference_sigma
    both = np.asarray(now + reference, float)
    thin = both < SPARSE + 3 * np.hypot(sigma, other)
    cells = [[int(at)] for at in np.flatnonzero(~thin)]
    if thin.any():
        cells.append([int(at) for at in np.flatnonzero(thin)])
    if len(cells) < 2:
        return 1.0
    a, b = (_merged(cells, side).astype(float) for side in (now, reference))
    n, m = a.sum(), b.sum()
    if min(n, m) <= 0:
        return 1.0
    shares = np.maximum((a + b) / (n + m), 1e-9)
    shares /= shares.sum()
    sizes = np.array([len(cell) for cell in cells])
    take = np.eye(len(cells)) - shares[:, None]
    noise = (sigma / n) ** 2 + (other / m) ** 2
    covariance = together * (1 / n + 1 / m) * (np.diag(shares) - np.outer(shares, shares))
    covariance += noise * take @ np.diag(sizes) @ take.T
    off = (a / n - b / m)[:-1]
    statistic = float(off @ np.linalg.solve(covariance[:-1, :-1], off))
    return float(chdtrc(len(off), statistic))


def relation(now: Cases, reference: Cases, rng: np.random.Generator) -> tuple[Estimate, float]:
    """How differently outcomes follow from scores: of outcome x score cases, the mean absolute difference
    of the outcome's rate at the same score, as wide as this wave has scores there, and its p-value.

    Which scores there are may have moved: that is another question, and changes nothing here.
    """
    groups = curve.quantile_groups(reference.records.sum(axis=0), np.arange(1, 10) / 10)
    groups = [group for group in groups if _known(now, group) and _known(reference, group)]
    if not groups:
        return Estimate(0.0, 0.0, 1.0, now.n), 1.0
    now, reference = (side.part(partial(_merged, groups)) for side in (now, reference))
    (p, n), (q, m) = (_rates(side.counts) for side in (now, reference))
    pooled = (p * n + q * m + 1) / (n + m + 2)
    independent = pooled * (1 - pooled) * (1 / n + 1 / m)
    held = dependence.of_rates(now, reference, independent)
    statistic = float(((p - q) ** 2 / independent).sum())
    share = n / n.sum()
    n, m = (np.maximum(np.rint(side), 1).astype(np.int64) for side in (n, m))
    own, theirs = (p * n + 0.5) / (n + 1), (q * m + 0.5) / (m + 1)
    errors = np.sqrt(own * (1 - own) / n + theirs * (1 - theirs) / m)
    if held.moves is None:
        noise = rng.binomial(n, own, (DRAWS, len(n))) / n - own
        noise -= rng.binomial(m, theirs, (DRAWS, len(m))) / m - theirs
    else:
        noise = held.noise(rng, DRAWS)
        errors = np.maximum(errors, noise.std(axis=0))
    size = intervals.distance((p - q) * share, noise * share, errors * share, int(n.sum()))
    return size, held.p_value(statistic, len(groups))


def _known(side: Cases, group: list[int]) -> bool:
    return side.part(lambda counts: counts[..., group].sum(axis=-1)).units >= SPARSE


def _rates(counts: Array) -> tuple[Array, Array]:
    """Of each column of outcome x score, the rate of the outcome and the number of records."""
    n = counts.sum(axis=0)
    return counts[1] / n, n


def _dense(now: Cases, reference: Cases) -> tuple[Cases, Cases]:
    """Both with the bins joined into one that hold few records."""
    sparse = now.records + reference.records < SPARSE
    if not sparse.any():
        return now, reference
    groups = [[int(at)] for at in np.flatnonzero(~sparse)] + [[int(at) for at in np.flatnonzero(sparse)]]
    return now.part(partial(_merged, groups)), reference.part(partial(_merged, groups))


def _variance(shares: Array, n: int) -> Array:
    """Of each bin's share; a bin that happened to be empty has some, too."""
    smooth = (shares * n + 0.5) / (n + 1)
    return np.asarray(smooth * (1 - smooth) / n)


def _merged(groups: list[list[int]], counts: Array) -> Array:
    """Bins of the last axis added together."""
    return np.stack([counts[..., group].sum(axis=-1) for group in groups], axis=-1)
