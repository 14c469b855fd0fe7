"""Do two waves differ in the same counts? Distances and tests, of exact counts and of noisy ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import curve, intervals
from evaluators.intervals import Estimate

Array = NDArray[Any]
SHARES = (0.01, *(i / 10 for i in range(1, 10)), 0.99)
DRAWS = 1000
SPARSE = 10
"""For a test, bins with fewer records in both waves together are joined into one."""


def joined(now: Array, reference: Array, ordered: bool, ends: int) -> tuple[Array, Array]:
    """Both histograms on the bins that the reference alone decides; the last `ends` positions stay."""
    if not ordered:
        return now, reference
    body = reference[: len(reference) - ends] if ends else reference
    if not body.sum():
        return now, reference
    groups = curve.quantile_groups(body, np.array(SHARES))
    groups += [[at] for at in range(len(body), len(reference))]
    return _merged(now, groups), _merged(reference, groups)


def distance(now: Array, reference: Array, rng: np.random.Generator) -> Estimate:
    """The total variation distance of two histograms on the same bins, with chance's part taken off."""
    n, m = int(now.sum()), int(reference.sum())
    p, q = now / n, reference / m
    noise = (rng.multinomial(n, p, size=DRAWS) / n - p) - (rng.multinomial(m, q, size=DRAWS) / m - q)
    errors = np.sqrt(_variance(now, n) + _variance(reference, m))
    return intervals.distance((p - q) / 2, noise / 2, errors / 2, n)


def chi_square(now: Array, reference: Array) -> float:
    """The p-value of a two-sample chi-square test; sparse bins are joined, 1.0 when one bin is left."""
    from scipy.stats import chi2

    both = now + reference
    sparse = both < SPARSE
    table = np.stack([now[~sparse], reference[~sparse]]).astype(float)
    rest = np.array([[now[sparse].sum()], [reference[sparse].sum()]], float)
    if rest.sum():
        table = np.concatenate([table, rest], axis=1)
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(chi2.sf(((table - expected) ** 2 / expected).sum(), table.shape[1] - 1))


def noisy_chi_square(
    now: Array,
    reference: Array,
    sigma: float,
    reference_sigma: float | None = None,
    parts: Array | None = None,
) -> float:
    """The p-value of the same test on counts that carry noise of these standard deviations in every cell.

    The covariance of the difference of shares holds the noise: what the noise adds to a cell, and takes from
    all others by adding to the total. Cells that do not
    stand clear of the noise are joined.
    """
    from scipy.stats import chi2

    other = sigma if reference_sigma is None else reference_sigma
    both = np.asarray(now + reference, float)
    thin = both < SPARSE + 3 * np.hypot(sigma, other)
    cells = [[int(at)] for at in np.flatnonzero(~thin)]
    if thin.any():
        cells.append([int(at) for at in np.flatnonzero(thin)])
    if len(cells) < 2:
        return 1.0
    a, b = _merged(now, cells).astype(float), _merged(reference, cells).astype(float)
    n, m = a.sum(), b.sum()
    if min(n, m) <= 0:
        return 1.0
    shares = np.maximum((a + b) / (n + m), 1e-9)
    shares /= shares.sum()
    sizes = np.array([len(cell) for cell in cells])
    take = np.eye(len(cells)) - shares[:, None]
    noise = (sigma / n) ** 2 + (other / m) ** 2
    covariance = (1 / n + 1 / m) * (np.diag(shares) - np.outer(shares, shares))
    covariance += noise * take @ np.diag(sizes) @ take.T
    off = (a / n - b / m)[:-1]
    statistic = float(off @ np.linalg.solve(covariance[:-1, :-1], off))
    return float(chi2.sf(statistic, len(off)))


def relation(now: Array, reference: Array, rng: np.random.Generator) -> tuple[Estimate, float]:
    """How differently outcomes follow from scores: of outcome x score counts, the mean absolute difference
    of the outcome's rate at the same score, as wide as this wave has scores there, and its p-value.

    Which scores there are may have moved: that is another question, and changes nothing here.
    """
    from scipy.stats import chi2

    groups = curve.quantile_groups(reference.sum(axis=0), np.arange(1, 10) / 10)
    a, b = (np.stack([_merged(side, groups) for side in counts]) for counts in (now, reference))
    known = (a.sum(axis=0) >= SPARSE) & (b.sum(axis=0) >= SPARSE)
    a, b = a[:, known], b[:, known]
    if not known.any():
        return Estimate(0.0, 0.0, 1.0, int(now.sum())), 1.0
    n, m = a.sum(axis=0), b.sum(axis=0)
    p, q, pooled = a[1] / n, b[1] / m, (a[1] + b[1] + 1) / (n + m + 2)
    statistic = float(((p - q) ** 2 / (pooled * (1 - pooled) * (1 / n + 1 / m))).sum())
    share = n / n.sum()
    own, theirs = (a[1] + 0.5) / (n + 1), (b[1] + 0.5) / (m + 1)
    noise = (
        rng.binomial(n, own, (DRAWS, len(n))) / n
        - own
        - rng.binomial(m, theirs, (DRAWS, len(m))) / m
        + theirs
    )
    errors = np.sqrt(own * (1 - own) / n + theirs * (1 - theirs) / m)
    size = intervals.distance((p - q) * share, noise * share, errors * share, int(n.sum()))
    return size, float(chi2.sf(statistic, int(known.sum())))


def _variance(counts: Array, n: int) -> Array:
    """Of each bin's share; a bin that happened to be empty has some, too."""
    smooth = (counts + 0.5) / (n + 1)
    return np.asarray(smooth * (1 - smooth) / n)


def _merged(counts: Array, groups: list[list[int]]) -> Array:
    return np.array([counts[group].sum() for group in groups])
