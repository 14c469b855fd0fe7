"""Where on its axis does a value lie? Axes come from the card and from fixed rules, never from records.

Scores lie on bins of equal width in arcsin(sqrt(p)): finer near 0 and 1, where a probability of 12 %
or an over-confident model needs it, and 0.5 is always an edge. Adjacent bins merge into the coarser
axes (1,024 into 256 into 16), so the coarse ones are of the same family.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sandbox.catalogue import vectors
from sandbox.catalogue.card import Card, Column
from sandbox.tally import Axis

SCORE_BINS = 1024
GROUP_SCORE_BINS = 256
NUMBER_BINS = 64
COARSE_BINS = 32
PAIR_SCORE_BINS = 64
MOST_PAIR_GROUPS = 400
"""A pair of columns with more combinations than this is not counted: hardly any would have enough cases."""
MISSING, UNKNOWN = "missing", "unknown"
PAIR = " & "
"""Between the names of the two columns of a pair, and between their labels."""

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]


@cache
def score_edges(bins: int) -> Floats:
    """The bins + 1 edges of a score axis, from 0 to 1."""
    edges = np.sin(np.pi / 2 * np.arange(bins + 1) / bins) ** 2
    edges[-1] = 1.0
    if bins % 2 == 0:
        edges[bins // 2] = 0.5
    edges.setflags(write=False)
    return edges


@cache
def score_values(bins: int) -> Floats:
    """The probability that stands for each bin: the middle between its edges."""
    edges = score_edges(bins)
    values = (edges[:-1] + edges[1:]) / 2
    values.setflags(write=False)
    return values


@cache
def score_axis(bins: int) -> Axis:
    return Axis("score", tuple(f"{edge:.6f}" for edge in score_edges(bins)[:-1]))


def score_positions(scores: NDArray[Any]) -> Positions:
    """The bin of each probability among SCORE_BINS; raises ValueError for one outside [0, 1] or NaN."""
    values = np.asarray(scores, np.float64)
    if not bool(np.all((values >= 0) & (values <= 1))):  # NaN fails too
        raise ValueError("a score is not a probability")
    places, upper = _score_starts()[(values * _CELLS).astype(np.int64)], _upper_edges()
    while (further := values >= upper[places]).any():
        places += further
    return places


_CELLS = 32_768


@cache
def _score_starts() -> Positions:
    """For each of _CELLS equal cells of [0, 1], and for 1, the bin in which it starts. From there to the right bin
    is a step or two: several times quicker than a binary search."""
    starts = np.searchsorted(score_edges(SCORE_BINS)[1:-1], np.arange(_CELLS + 1) / _CELLS, side="right")
    return starts.astype(np.int64)


@cache
def _upper_edges() -> Floats:
    """Where each score bin ends; the last one never does."""
    return np.append(score_edges(SCORE_BINS)[1:-1], np.inf)


def coarser(positions: Positions, bins: int) -> Positions:
    """Positions among SCORE_BINS as positions among `bins`, a divisor of it."""
    return positions if bins == SCORE_BINS else positions // (SCORE_BINS // bins)


def uniform_positions(
    values: NDArray[Any], low: float, high: float, bins: int, missing: int = -1
) -> Positions:
    """The bin of each value among equal ones in [low, high]; outside gives a position off the axis, NaN `missing`."""
    share = np.asarray(values, np.float64) - low
    share /= high - low
    if share.size and share.min() >= 0 and share.max() < 1:  # nothing outside and nothing missing: NaN fails
        share *= bins
        return share.astype(np.int64)
    places = np.floor(np.clip(share, -1, 2) * bins)
    places[share == 1] = bins - 1
    places[np.isnan(share)] = missing
    return places.astype(np.int64)


def root_positions(values: NDArray[Any], most: float, bins: int) -> Positions:
    """The bin of each value between -most and most, in bins of equal width of its signed root: finest near 0."""
    return uniform_positions(np.sign(values) * np.sqrt(np.abs(values) / most), -1, 1, bins)


@cache
def root_edges(most: float, bins: int) -> Floats:
    """The bins + 1 edges of such an axis."""
    edges = np.linspace(-1, 1, bins + 1)
    edges = most * edges * np.abs(edges)
    edges.setflags(write=False)
    return edges


RESIDUAL = 2.0
"""The most that a prediction and an outcome can differ by, both being between -1 and 1."""


def residual_axis(bins: int) -> Axis:
    return Axis("residual", tuple(f"{edge:.6g}" for edge in root_edges(RESIDUAL, bins)[:-1]))


@cache
def residual_values(bins: int) -> Floats:
    """The difference prediction - outcome that stands for each bin of a `residual` table."""
    edges = root_edges(RESIDUAL, bins)
    values = (edges[:-1] + edges[1:]) / 2
    values.setflags(write=False)
    return values


DISTANCE_BINS = 512


@cache
def distance_axis(bins: int) -> Axis:
    """How far two answers lie apart, from 0 to 1 in bins of equal width of its root: the finest where it is small."""
    return Axis("moved", tuple(str(at) for at in range(bins)))


def distance_positions(far: NDArray[Any], bins: int) -> Positions:
    """The bin of each distance; more than 1 counts as 1."""
    return uniform_positions(np.sqrt(np.minimum(far, 1)), 0, 1, bins)


def distance_values(bins: int) -> NDArray[np.float64]:
    """The distance that stands for each bin: 0 for the first, since what did not move did not move by half a bin."""
    values = ((np.arange(bins) + 0.5) / bins) ** 2
    values[0] = 0.0
    return values


@lru_cache(maxsize=1024)
def column_axis(name: str, column: Column) -> Axis:
    """The axis of an input column. `missing` is always its last position, `unknown` a category's before."""
    if column.kind == "category":
        return Axis(name, (*column.categories, UNKNOWN, MISSING))
    if column.kind == "boolean":
        return Axis(name, ("false", "true", MISSING))
    if column.kind in ("number", "date"):
        low, high = column.bounds
        return Axis(name, (*_bin_labels(low, high, NUMBER_BINS), MISSING))
    low, high = (0.0, float(column.length or 1)) if column.kind == "text" else column.bounds
    return Axis(name, (*_bin_labels(low, high, COARSE_BINS), MISSING))


def column_positions(values: pa.ChunkedArray, column: Column) -> Positions:
    """Where each record lies on `column_axis`: numbers by value, images and sequences by their mean,
    texts by their length in bytes."""
    if column.kind == "category":
        return category_positions(vectors.codes(values, column.categories), len(column.categories))
    if column.kind == "boolean":
        return uniform_positions(vectors.truths(values), 0, 2, 2, missing=2)
    if column.kind in ("number", "date"):
        numbers = vectors.numeric(values, column.kind)
        return uniform_positions(numbers, *column.bounds, NUMBER_BINS, missing=NUMBER_BINS)
    if column.kind == "text":
        longest = float(column.length or 1)
        lengths = vectors.numbers(pc.binary_length(pc.cast(values, pa.large_binary())))
        return uniform_positions(np.minimum(lengths, longest), 0, longest, COARSE_BINS, missing=COARSE_BINS)
    means = vectors.rectangles(values, column.size)[0].mean(axis=1)
    return uniform_positions(means, *column.bounds, COARSE_BINS, missing=COARSE_BINS)


def category_positions(codes: NDArray[np.int64], listed: int) -> Positions:
    """Where these codes of an encoding (0 missing, 1 unknown, then as listed) lie on `column_axis`."""
    return np.array([listed + 1, listed, *range(listed)], np.int64)[codes]


@lru_cache(maxsize=1024)
def group_axis(name: str, column: Column) -> Axis:
    """The axis of a subgroup column: only the positions the card allows."""
    listed = column_axis(name, column).labels
    barred = {UNKNOWN} - ({UNKNOWN} if column.open else set()) | (
        {MISSING} - ({MISSING} if column.missing else set())
    )
    return Axis(name, tuple(label for label in listed if label not in barred))


def group_positions(places: Positions, name: str, column: Column) -> Positions:
    """Positions on `column_axis` as those on `group_axis`; -1, which a table refuses, where the card forbids it."""
    at = {label: number for number, label in enumerate(group_axis(name, column).labels)}
    wide = column_axis(name, column).labels
    return np.array([at.get(label, -1) for label in wide], np.int64)[places]


def pairs(card: Card) -> tuple[tuple[str, str], ...]:
    """The pairs of group columns that are counted together, such as sex & town."""
    sizes = {name: len(group_axis(name, card.columns[name])) for name in card.groups}
    return tuple((a, b) for a, b in combinations(sizes, 2) if sizes[a] * sizes[b] <= MOST_PAIR_GROUPS)


@lru_cache(maxsize=1024)
def pair_axis(first: Axis, second: Axis) -> Axis:
    """One axis `a & b` with a label `x & y` for each combination, the second running faster."""
    labels = tuple(f"{x}{PAIR}{y}" for x in first.labels for y in second.labels)
    return Axis(f"{first.name}{PAIR}{second.name}", labels)


def _bin_labels(low: float, high: float, bins: int) -> tuple[str, ...]:
    return tuple(f"{low + (high - low) * i / bins:.6g}" for i in range(bins))
