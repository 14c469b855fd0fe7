"""What does a record count for, and which records stand or fall together?

A weight is counted in whole steps of a 65,536th of the card's largest, so that sums are exact in any
order. Records of one unit (a person) are not independent of each other: every unit falls into one of 64
replicates by a hash of its name, the same in every wave, batch and process. Leaving the replicates out
one at a time (delete-a-group jackknife) gives the variance between units of any metric, weighted or not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.catalogue import vectors
from sandbox.catalogue.card import Card
from sandbox.tally import Axis, Counts

WEIGHT_STEPS = 65_536
REPLICATES = 64
REPLICATE_AXIS = Axis("replicate", tuple(str(number) for number in range(REPLICATES)))

Metric = Callable[[NDArray[Any]], NDArray[Any]]
"""From counts (..., cells) to a value for each of the leading axes."""


def clustered(card: Card) -> bool:
    """Whether tallies of this card have replicates: rows weigh differently, or several are of one unit."""
    return card.weight is not None or card.max_rows_per_unit > 1


def columns(card: Card) -> tuple[str, ...]:
    """The columns that say what a record counts for, and with whom."""
    return (card.unit, *((card.weight,) if card.weight else ())) if clustered(card) else ()


def step(card: Card) -> float:
    """The weight that one step of a weighted table stands for; 1 without weights."""
    return 1.0 if card.weight is None else card.columns[card.weight].bounds[1] / WEIGHT_STEPS


def weights(table: pa.Table, card: Card) -> Counts | None:
    """Each record's weight in steps, at least one for whatever weighs anything; None without weights.

    Raises ValueError for a weight that is missing or outside the card's bounds.
    """
    if card.weight is None:
        return None
    raw = vectors.numbers(table.column(card.weight))
    low, high = card.columns[card.weight].bounds
    if not bool(np.all((raw >= low) & (raw <= high))):  # NaN fails too
        raise ValueError("a weight is missing or outside the card's bounds")
    steps = np.rint(raw / step(card)).astype(np.int64)
    return np.where((raw > 0) & (steps == 0), 1, steps)


def replicates(table: pa.Table, card: Card) -> NDArray[np.int64] | None:
    """The replicate of each record: that of its unit; None where `clustered` says there are none."""
    if not clustered(card):
        return None
    encoded = vectors.plain(table.column(card.unit)).dictionary_encode(null_encoding="encode")
    names = encoded.dictionary.to_pylist()
    places = np.array(
        [hashlib.blake2b(str(name).encode(), digest_size=1).digest()[0] % REPLICATES for name in names],
        np.int64,
    )
    return places[encoded.indices.to_numpy(zero_copy_only=False)] if len(names) else np.zeros(0, np.int64)


def _place(name: str) -> int:
    """By chance, whatever names look like: names in sequence must not be spread more evenly than chance does."""
    return hashlib.blake2b(name.encode(), digest_size=1).digest()[0] % REPLICATES


def jackknife(replicates: NDArray[Any], metric: Metric) -> tuple[float, float]:
    """A metric's standard error between units, from counts (replicates x cells), and its degrees of freedom.

    Those are Satterthwaite's (1946), from the fourth moment of what the replicates do: where a few of them do
    it all, because they hold the few cases there are or weigh most, the error is no surer than those few.
    The error is NaN where fewer than two replicates hold anything, or where the metric is not defined
    without one of them.
    """
    moved = deviations(replicates, metric)
    variance = float((moved**2).sum())
    if len(moved) < 2 or not variance > 0:
        return (0.0 if variance == 0 and len(moved) > 1 else math.nan), 1.0
    uneven = float((moved**4).sum()) / variance**2 - 1 / len(moved)
    most = len(moved) - 1.0
    return math.sqrt(variance), min(max(2 / uneven, 1.0), most) if uneven > 0 else most


def deviations(replicates: NDArray[Any], metric: Metric) -> NDArray[Any]:
    """How far each replicate that holds anything moves a metric (held x the metric's own axes), scaled so
    that the products of these sum to its variances between units."""
    held = replicates[replicates.any(axis=tuple(range(1, replicates.ndim)))]
    if not len(held):
        return np.empty(0)
    without = np.asarray(metric(replicates.sum(axis=0) - held), float)
    return np.asarray(without - without.mean(axis=0)) * math.sqrt((len(held) - 1) / len(held))


def effective(totals: NDArray[Any]) -> float:
    """How many units of equal weight tell as much as these, by what each of the replicates weighs altogether:
    (sum of weights)^2 / sum of squares over units, each unit in a replicate by chance (Kish 1965)."""
    squares = float(((totals - totals.mean()) ** 2).sum()) / (1 - 1 / len(totals))
    return float(totals.sum()) ** 2 / squares if squares > 0 else float(np.count_nonzero(totals))
