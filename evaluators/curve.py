"""What do counts of outcome by score bin say? Pure functions of counts shaped (..., 2, bins).

Position 0 is the outcome that did not happen, 1 the one that did. Leading axes are other tables of
the same shape (groups, resampled tables) and stay. Counts may be noisy: fractional or below zero.
A bin's records count as if their score were the middle of the bin; half the score axis is selected
(probability 0.5 and above). Where a metric is undefined it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.axes import score_values

Array = NDArray[Any]


def cases(counts: Array) -> Array:
    """All records."""
    return np.asarray(counts.sum(axis=(-1, -2)), np.float64)


def auc(counts: Array) -> Array:
    """The share of pairs (one of each outcome) ranked rightly; ties within a bin count a half."""
    no, yes = _split(counts)
    below = no.cumsum(axis=-1) - no / 2
    return ratio((yes * below).sum(axis=-1), yes.sum(axis=-1) * no.sum(axis=-1))


def average_precision(counts: Array) -> Array:
    """Precision at each threshold, weighted by the recall it adds; no interpolation."""
    no, yes = (side[..., ::-1].cumsum(axis=-1) for side in _split(counts))
    gained = np.diff(yes, axis=-1, prepend=0)
    precision = np.divide(yes, yes + no, out=np.zeros_like(yes), where=yes + no > 0)
    return ratio((gained * precision).sum(axis=-1), yes[..., -1])


def accuracy(counts: Array) -> Array:
    no, yes = selected(counts)
    return ratio(no[..., 0] + yes[..., 1], cases(counts))


def f1(counts: Array) -> Array:
    no, yes = selected(counts)
    return ratio(2 * yes[..., 1], 2 * yes[..., 1] + no[..., 1] + yes[..., 0])


def tpr(counts: Array) -> Array:
    _, yes = selected(counts)
    return ratio(yes[..., 1], yes.sum(axis=-1))


def fpr(counts: Array) -> Array:
    no, _ = selected(counts)
    return ratio(no[..., 1], no.sum(axis=-1))


def ppv(counts: Array) -> Array:
    no, yes = selected(counts)
    return ratio(yes[..., 1], yes[..., 1] + no[..., 1])


def selection_rate(counts: Array) -> Array:
    no, yes = selected(counts)
    return ratio(yes[..., 1] + no[..., 1], cases(counts))


def outcome_rate(counts: Array) -> Array:
    return ratio(counts[..., 1, :].sum(axis=-1), cases(counts))


def mean_prediction(counts: Array) -> Array:
    return ratio((counts.sum(axis=-2) * score_values(counts.shape[-1])).sum(axis=-1), cases(counts))


def calibration_bias(counts: Array) -> Array:
    """Mean prediction minus outcome rate: above zero, the model expects too many."""
    return mean_prediction(counts) - outcome_rate(counts)


def log_loss(counts: Array) -> Array:
    return _mean(counts, _log_losses(counts.shape[-1]))


def brier(counts: Array) -> Array:
    return _mean(counts, _brier_losses(counts.shape[-1]))


METRICS: dict[str, Callable[[Array], Array]] = {
    "auc": auc,
    "average_precision": average_precision,
    "accuracy": accuracy,
    "f1": f1,
    "log_loss": log_loss,
    "brier": brier,
    "outcome_rate": outcome_rate,
    "selection_rate": selection_rate,
    "tpr": tpr,
    "fpr": fpr,
    "ppv": ppv,
    "calibration_bias": calibration_bias,
}


def moments(counts: Array, metric: str) -> tuple[float, float, float]:
    """Mean, variance and skewness, from record to record, of a metric that is a mean."""
    terms = {
        "log_loss": _log_losses,
        "brier": _brier_losses,
        "calibration_bias": _differences,
    }[metric](counts.shape[-1])
    return moments_of(counts, terms)


def moments_of(counts: Array, terms: Array) -> tuple[float, float, float]:
    """Mean, variance and skewness of a term that has one value in each cell."""
    n = counts.sum()
    mean = float((counts * terms).sum() / n)
    variance = float((counts * (terms - mean) ** 2).sum() / n)
    third = float((counts * (terms - mean) ** 3).sum() / n)
    return mean, variance, third / variance**1.5 if variance > 1e-24 else 0.0


def smoothed(counts: Array, more: float = 2.0) -> Array:
    """With `more` records of each outcome added at the scores there are: a rare outcome that this sample
    happens to lack is not taken for impossible (Agresti and Coull's idea, for losses)."""
    return np.asarray(counts + more * counts.sum(axis=-2, keepdims=True) / counts.sum())


def auc_variance(counts: Array) -> float:
    """DeLong's variance of the AUC, which from counts equals that from records with tied scores."""
    no, yes = _split(counts)
    ahead, behind = placements(counts)
    value = float((yes * ahead).sum() / yes.sum())
    return sum(
        float((side * (placed - value) ** 2).sum() / side.sum() / max(side.sum() - 1, 1))
        for side, placed in ((yes, ahead), (no, behind))
    )


def placements(counts: Array) -> tuple[Array, Array]:
    """For each bin: the share of the other outcome that a record there is ranked rightly against, first of
    records where it happened, then of those where it did not."""
    no, yes = _split(counts)
    return (no.cumsum() - no / 2) / no.sum(), 1 - (yes.cumsum() - yes / 2) / yes.sum()


def average_precision_variance(counts: Array) -> float:
    """The variance of the average precision by its influence function: how much each record moves it."""
    no, yes = (side[..., ::-1] for side in _split(counts))
    hits, chosen = yes.cumsum(), yes.cumsum() + no.cumsum()
    precision = np.divide(hits, chosen, out=np.zeros_like(hits), where=chosen > 0)
    value, positives = float((yes * precision).sum() / yes.sum()), yes.sum()
    per = np.divide(yes, chosen, out=np.zeros_like(yes), where=chosen > 0)
    later_yes, later_no = ((per * part)[::-1].cumsum()[::-1] for part in (1 - precision, -precision))
    of_yes, of_no = (precision - value + later_yes) / positives, later_no / positives
    moved = float((yes * of_yes**2).sum() + (no * of_no**2).sum())
    return moved * float(positives / max(positives - 1, 1))


def quantile_groups(weights: Array, shares: Array) -> list[list[int]]:
    """Adjacent bins joined so that each group ends as near as may be to these cumulative shares.

    Every bin is in exactly one group; no group is empty of weight, so a lumpy table gives fewer groups.
    """
    cumulative = np.cumsum(weights) / weights.sum()
    ends = {int(np.abs(cumulative - share).argmin()) for share in shares}
    groups: list[list[int]] = [[]]
    for bin_ in range(len(weights)):
        groups[-1].append(bin_)
        if bin_ in ends and bin_ < len(weights) - 1:
            groups.append([])
    return _without_empty(groups, weights)


def _without_empty(groups: list[list[int]], weights: Array) -> list[list[int]]:
    kept: list[list[int]] = []
    waiting: list[int] = []
    for group in groups:
        waiting += group
        if weights[waiting].sum() > 0:
            kept.append(waiting)
            waiting = []
    if waiting:
        kept[-1] += waiting
    return kept


def selected(counts: Array) -> tuple[Array, Array]:
    """Per outcome, how many were not selected and how many were: (..., 2) each."""
    half = counts.shape[-1] // 2
    merged = np.stack([counts[..., :half].sum(axis=-1), counts[..., half:].sum(axis=-1)], axis=-1)
    return merged[..., 0, :], merged[..., 1, :]


def ratio(top: Array, bottom: Array) -> Array:
    """The quotient, NaN where there is nothing beneath it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(bottom) > 0, np.divide(top, bottom), np.nan)


def _split(counts: Array) -> tuple[Array, Array]:
    values = np.asarray(counts, np.float64)
    return values[..., 0, :], values[..., 1, :]


def _log_losses(bins: int) -> Array:
    p = score_values(bins)
    return np.stack([-np.log1p(-p), -np.log(p)])


def _brier_losses(bins: int) -> Array:
    p = score_values(bins)
    return np.stack([p**2, (1 - p) ** 2])


def _differences(bins: int) -> Array:
    p = score_values(bins)
    return np.stack([p, p - 1])


def _mean(counts: Array, terms: Array) -> Array:
    return ratio((counts * terms).sum(axis=(-1, -2)), cases(counts))
