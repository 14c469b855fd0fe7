"""What do counts in 16 or 32 wide score bins say, and how far could their width mislead?

Counting the records of a wide bin as tied is right when a model gives few distinct scores and too low
when scores lie smoothly in it (by 0.002 to 0.02). Nobody outside knows which, so the AUC is put half
way and its interval reaches both. The mean score of a bin's records is taken where the slope of its
neighbours puts it, and may lie anywhere in the bin: that is one more variance. Shapes are as in
evaluators.curve.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import curve
from evaluators.axes import score_edges, score_values

Array = NDArray[Any]
_POINTS = 201


def auc(counts: Array) -> Array:
    """Half way between ties within bins and scores lying smoothly in them; see `auc_reach`."""
    return np.asarray((curve.auc(counts) + smooth_auc(counts)) / 2)


def auc_reach(counts: Array) -> float:
    """How far either answer is from `auc`."""
    return abs(float(smooth_auc(counts) - curve.auc(counts))) / 2


def smooth_auc(counts: Array) -> Array:
    """As curve.auc, with pairs in the same bin counted by how often the right one would be ahead, if
    scores lie smoothly in it and the odds of the outcome rise as the odds of the score do."""
    no, yes = np.asarray(counts[..., 0, :], float), np.asarray(counts[..., 1, :], float)
    pairs = yes.sum(axis=-1) * no.sum(axis=-1)
    tied = (yes * no * (_ahead(counts.shape[-1]) - 0.5)).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(curve.auc(counts) + np.where(pairs > 0, tied / pairs, np.nan))


def calibration_bias(counts: Array) -> Array:
    """As curve.calibration_bias, with each bin's mean read off the slope of its neighbours."""
    total = counts.sum(axis=(-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (counts.sum(axis=-2) * _means(counts.shape[-1])).sum(axis=-1) / total
    return np.where(total > 0, mean - curve.outcome_rate(counts), np.nan)


def bias_variance(counts: Array) -> float:
    """The variance that the bins' width adds to the mean score: each bin's mean anywhere in it."""
    shares = np.maximum(counts.sum(axis=-2), 0) / max(counts.sum(), 1)
    return float((shares**2 * np.diff(score_edges(counts.shape[-1])) ** 2).sum() / 12)


@cache
def _ahead(bins: int) -> Array:
    """For each bin, the chance that of a pair of both outcomes in it the right one scores higher."""
    edges = np.arcsin(np.sqrt(score_edges(bins)))
    chances = []
    for low, high in pairwise(edges):
        steps = low + (high - low) * (np.arange(_POINTS) + 0.5) / _POINTS
        yes = np.sin(steps) ** 2
        no = 1 - yes
        below = no.cumsum() - no / 2
        chances.append(float((yes * below).sum() / (yes.sum() * no.sum())))
    return np.array(chances)


@cache
def _means(bins: int) -> Array:
    """Values whose weighted mean is that of a density that is linear within each bin.

    The slope in a bin is the difference of its neighbours' densities, so the correction of the mean is
    linear in the counts and can be moved onto the values.
    """
    values, width = score_values(bins).copy(), np.diff(score_edges(bins))
    middles = score_values(bins)
    for at in range(bins):
        left, right = max(at - 1, 0), min(at + 1, bins - 1)
        weight = width[at] ** 3 / 12 / (middles[right] - middles[left])
        values[right] += weight / width[right]
        values[left] -= weight / width[left]
    return values
