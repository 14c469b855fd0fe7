"""What did a model say about a wave? Scores the records in batches and counts them into a tally.

Tables, by task kind (C: columns of the card; only records with a known outcome unless said):

    every kind      input:<column>    one axis each, all records
                    score             256 bins of the score, all records: probability of the positive
                                      class, of the chosen class, or the predicted number
                    outcome           known outcomes
    binary          scores            outcome x 1,024 score bins
    multiclass      confusion         outcome x predicted class
                    own:<class>       is it this class x 256 bins of this class's probability
                    confidence        was the chosen class right x 256 bins of its probability
                    likelihood        1,024 bins of the probability given to what happened
    regression      residual          1,024 bins of prediction - outcome, on the card's scale / range; finest near 0
                    outcome & residual  64 bins of the outcome x 256 of the residual

    and of the bases (scores; confusion and confidence; residual), with score and residual in 256 bins:
                    <base>:<group>    group x base
                    <base>:<a> & <b>  both groups x base, in 64 bins (axes.pairs)
                    own by <group>:<class>, own by <a> & <b>:<class>  group, or both groups x own:<class>

Where the card has a weight, every table has a sibling `weighted:<table>` in steps of weight (units.step). Where it
has a weight, or units of several records, it has another, `replicates:<table>`: replicate x table, weighted where
there are weights, with a quarter of the score bins (units.jackknife).

A record outside an axis is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial, reduce
from operator import add
from pathlib import Path
from time import thread_time
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evaluators import axes, units
from evaluators.base import stream
from sandbox.catalogue import vectors
from sandbox.catalogue.encoding import Encoding
from sandbox.tally import Axis, Counts, Table, Tally

SCORING_VERSION = 5
"""Grows when a table changes its meaning: then every tally is counted anew."""

BATCH_ROWS = 32_768
JOINT_CELLS = 8_192
"""Columns are counted together up to so many cells, which a processor's nearest memory holds."""
REPLICATED = 4
"""Replicates have so many times fewer score bins than the table they are of."""
Array = NDArray[Any]
EVERY = slice(None)


class Scorer(Protocol):
    def probabilities(self, features: dict[str, Array]) -> Array:
        """Binary: n; multiclass: n x classes; regression: n, scaled to [-1, 1] by the target's bounds."""


@dataclass(frozen=True)
class Batch:
    """Some records, what the model said of each, and what is known to have happened."""

    table: pa.Table
    encoding: Encoding
    said: Array
    labelled: Array
    outcome: Array
    weight: Counts | None = None
    """Of each record, in steps; None where the card has no weight."""
    replicate: Array | None = None
    """Of each record; None where each is a unit of its own and counts as much as any other."""
    features: Mapping[str, Array] = field(default_factory=dict)
    """What the model was given."""
    scorer: Scorer | None = None
    beside: Mapping[str, Scorer] = field(default_factory=dict)
    """Other versions by what they are to this one (origins.versions_beside), for who asks for them."""
    seconds: float = 0.0
    """Of this thread's CPU, for reading and encoding the records and asking the model; of a sample, for all."""
    key: str = ""

    def places(self, name: str) -> Array:
        """Where each record lies on the axis of a column."""
        column, encoded = self.encoding.card.columns[name], self.features.get("categories")
        if encoded is not None and name in self.encoding.category_names:
            codes = encoded[:, self.encoding.category_names.index(name)]
            return axes.category_positions(codes, len(column.categories))
        return axes.column_positions(self.table.column(name), column)

    def ask(self, features: Mapping[str, Array]) -> Array:
        """What the model says of other records, encoded as `features` are."""
        assert self.scorer is not None
        return np.asarray(self.scorer.probabilities(dict(features)))

    def rng(self, *purpose: object) -> np.random.Generator:
        """The random stream for one purpose; the same records of a file and purpose give the same numbers."""
        return stream(self.key, *purpose)

    def family(
        self, name: str, places: Places, of: Array | slice, joined: Places | None = None
    ) -> dict[str, Table]:
        """A table of some records, and its weighted and replicated siblings where the card has them.

        `of` is a mask, or their places in the batch, which may repeat; `joined` the axes of the replicated table,
        where they are coarser."""
        tables = {name: _table(places)}
        weight = None if self.weight is None else self.weight[of]
        if weight is not None:
            tables[f"weighted:{name}"] = _table(places, weight)
        if self.replicate is not None:
            replicated = [(units.REPLICATE_AXIS, self.replicate[of]), *(joined or places)]
            tables[f"replicates:{name}"] = _table(replicated, weight)
        return tables


Place = tuple[Axis, Array]
Places = list[Place]
Base = Callable[[int], Places]
"""The axes of a table and where the records lie on them, with its scores in this many bins."""
Count = Callable[[Batch], Tally]


def tally_wave(path: Path, scorer: Scorer, encoding: Encoding, groups: Sequence[int] | None = None) -> Tally:
    """Scores a wave's Parquet file, or these row groups of it; memory is bounded by the largest row group."""
    return reduce(add, map(count, score(read(path, encoding, groups), scorer, encoding)))


def read(path: Path, encoding: Encoding, groups: Sequence[int] | None = None) -> Iterator[pa.Table]:
    """The columns that are needed, in tables of at most BATCH_ROWS records; at least one table."""
    card = encoding.card
    wanted = [*encoding.feature_columns, *card.groups, encoding.task.target, *units.columns(card)]
    needed = list(dict.fromkeys(wanted))
    with pq.ParquetFile(path) as file:
        if not file.metadata.num_rows:
            yield file.schema_arrow.empty_table().select(needed)
        for group in range(file.metadata.num_row_groups) if groups is None else groups:
            yield from _portions(file, group, needed)
            pa.default_memory_pool().release_unused()  # or the most that any row group took stays taken


def _portions(file: pq.ParquetFile, group: int, needed: Sequence[str]) -> Iterator[pa.Table]:
    """Of one row group, each column read by itself: what unpacking takes beside the records is of one of them only."""
    columns = (file.read_row_group(group, columns=[name], use_threads=False).column(0) for name in needed)
    table = pa.table(dict(zip(needed, columns, strict=True)))
    for start in range(0, table.num_rows, BATCH_ROWS):
        yield table.slice(start, BATCH_ROWS)


def score(records: Iterable[pa.Table], scorer: Scorer, encoding: Encoding) -> Iterator[Batch]:
    """Asks the model about every record; outcomes are read only where they are known."""
    began = thread_time()
    for table in records:
        yield _asked(table, scorer, encoding, began)
        del table  # or the last part of a row group keeps all of it while the next one is read
        began = thread_time()


def _asked(table: pa.Table, scorer: Scorer, encoding: Encoding, began: float) -> Batch:
    outputs = encoding.inputs.outputs
    said, features = np.empty((0, outputs) if outputs > 1 else 0), dict[str, Array]()
    if table.num_rows:
        features = encoding.features(table)
        said = np.asarray(scorer.probabilities(features))
    if said.shape != ((table.num_rows, outputs) if outputs > 1 else (table.num_rows,)):
        raise ValueError("the model's answer has not one row for each record")
    batch = batch_of(table, encoding, said, features, scorer)
    return replace(batch, seconds=thread_time() - began)


def batch_of(
    table: pa.Table, encoding: Encoding, said: Array, features: Mapping[str, Array], scorer: Scorer | None
) -> Batch:
    """These records with what the model said of them, and the outcomes that are known."""
    target = table.column(encoding.task.target)
    labelled = ~vectors.absent(target)
    outcome = encoding.target(table.filter(target.is_valid()) if not labelled.all() else table)
    weight, replicate = units.weights(table, encoding.card), units.replicates(table, encoding.card)
    return Batch(table, encoding, said, labelled, outcome, weight, replicate, features, scorer)


def count(batch: Batch) -> Tally:
    """One batch as a tally; tallies of batches add."""
    kind = batch.encoding.task.kind
    by_kind = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[kind]
    return Tally({**_inputs(batch), **by_kind(batch)})


def _inputs(batch: Batch) -> dict[str, Table]:
    """Each column's table is a margin of a joint one of several: to count that costs hardly more than one column."""
    card, tables = batch.encoding.card, dict[str, Table]()
    cells = JOINT_CELLS // (1 if batch.replicate is None else units.REPLICATES)
    columns = (
        (axes.column_axis(name, card.columns[name]), batch.places(name))
        for name in batch.encoding.feature_columns
    )
    for places in _together(columns, cells):
        for name, joint in batch.family("input", places, EVERY).items():
            before = range(len(joint.axes) - len(places))
            for at, (axis, _) in enumerate(places, len(before)):
                tables[f"{name}:{axis.name}"] = joint.margin(*before, at)
    return tables


def _together(columns: Iterable[Place], cells: int) -> Iterator[Places]:
    """The columns in portions of at most so many joint cells, or of one column."""
    portion: Places = []
    for axis, at in columns:
        if portion and math.prod(len(other) for other, _ in portion) * len(axis) > cells:
            yield portion
            portion = []
        portion.append((axis, at))
    if portion:
        yield portion


def _binary(batch: Batch) -> dict[str, Table]:
    places = axes.score_positions(batch.said)
    known, outcome = places[batch.labelled], batch.outcome
    classes = Axis("outcome", batch.encoding.classes)

    @cache
    def base(bins: int) -> Places:
        return [(classes, outcome), *_at_scores(known, bins)]

    tables = _score(batch, partial(_at_scores, places)) | _classes(batch, classes)
    return tables | _known(batch, "scores", base, axes.SCORE_BINS) | _by_group("scores", batch, base)


def _classes(batch: Batch, axis: Axis) -> dict[str, Table]:
    return _known(batch, "outcome", lambda _: [(axis, batch.outcome)], len(axis))


def _multiclass(batch: Batch) -> dict[str, Table]:
    classes, outcome = batch.encoding.classes, batch.outcome
    # a softmax in float32 may pass 1 by a rounding error
    said = np.clip(batch.said, 0, np.where(np.abs(batch.said - 1) < 1e-5, 1, np.inf))
    chosen = said.argmax(axis=1)
    confidence = axes.score_positions(said.max(axis=1, initial=0.0))
    known, picked = said[batch.labelled], chosen[batch.labelled]
    happened, predicted = Axis("outcome", classes), Axis("predicted", classes)
    likelihood = axes.score_positions(known[np.arange(len(outcome)), outcome])

    def confusion(_: int) -> Places:
        return [(happened, outcome), (predicted, picked)]

    tables = _score(batch, partial(_at_scores, confidence)) | _classes(batch, happened)
    tables |= _known(batch, "confusion", confusion, axes.SCORE_BINS)
    right = partial(_truths, "correct", picked == outcome, confidence[batch.labelled])
    tables |= _known(batch, "confidence", right, axes.GROUP_SCORE_BINS)
    tables |= _known(batch, "likelihood", partial(_at_scores, likelihood), axes.SCORE_BINS)
    groups = _groups(batch)
    for at, name in enumerate(classes):
        own = partial(_truths, "is_class", outcome == at, axes.score_positions(known[:, at]))
        tables |= _known(batch, f"own:{name}", own, axes.GROUP_SCORE_BINS)
        for column, (group, bins) in groups.items():
            tables |= _known(batch, f"own by {column}:{name}", own, bins, group)
    return tables | _by_group("confusion", batch, confusion) | _by_group("confidence", batch, right)


def _truths(name: str, truth: Array, scores: Array, bins: int) -> Places:
    """Whether something is so, by the probability that was given to it."""
    return [(Axis(name, ("no", "yes")), truth.astype(np.int64)), *_at_scores(scores, bins)]


def _regression(batch: Batch) -> dict[str, Table]:
    said = np.clip(np.asarray(batch.said, np.float64), -1, 1)
    if np.isnan(said).any():
        raise ValueError("a prediction is not a number")
    off = said[batch.labelled] - batch.outcome
    fine = axes.root_positions(off, axes.RESIDUAL, axes.SCORE_BINS)
    spread = axes.uniform_positions(batch.outcome, -1, 1, axes.NUMBER_BINS)
    whole = axes.uniform_positions(said, -1, 1, axes.GROUP_SCORE_BINS)

    def score(bins: int) -> Places:
        return [(_uniform_axis("score", -1, 1, bins), whole // (axes.GROUP_SCORE_BINS // bins))]

    def outcome(_: int) -> Places:
        return [(_uniform_axis("outcome", -1, 1, axes.NUMBER_BINS), spread)]

    @cache
    def base(bins: int) -> Places:
        return [(axes.residual_axis(bins), axes.coarser(fine, bins))]

    def both(bins: int) -> Places:
        return [*outcome(bins), *base(bins)]

    tables = _score(batch, score) | _known(batch, "outcome", outcome, axes.NUMBER_BINS)
    tables |= _known(batch, "outcome & residual", both, axes.GROUP_SCORE_BINS)
    return tables | _known(batch, "residual", base, axes.SCORE_BINS) | _by_group("residual", batch, base)


def _by_group(name: str, batch: Batch, base: Base) -> dict[str, Table]:
    """The base for each group and pair of groups, in fewer bins."""
    tables = dict[str, Table]()
    for column, (group, bins) in _groups(batch).items():
        tables |= _known(batch, f"{name}:{column}", base, bins, group)
    return tables


def _groups(batch: Batch) -> dict[str, tuple[Place, int]]:
    """Of each sensitive column and pair the group of every record whose outcome is known, and bins for its scores."""
    card, single = batch.encoding.card, dict[str, Place]()
    for column in card.groups:
        places = axes.group_positions(batch.places(column), column, card.columns[column])
        single[column] = (axes.group_axis(column, card.columns[column]), places[batch.labelled])
    found = {column: (group, axes.GROUP_SCORE_BINS) for column, group in single.items()}
    for first, second in axes.pairs(card):
        (a, at_a), (b, at_b) = single[first], single[second]
        both = axes.pair_axis(a, b)
        found[both.name] = ((both, at_a * len(b) + at_b), axes.PAIR_SCORE_BINS)
    return found


def _known(batch: Batch, name: str, base: Base, bins: int, *group: Place) -> dict[str, Table]:
    """A table of known outcomes, and its weighted and replicated siblings where the card has them."""
    return _family(batch, name, base, bins, batch.labelled, *group)


def _score(batch: Batch, base: Base) -> dict[str, Table]:
    """The table of what was said of all records."""
    return _family(batch, "score", base, axes.GROUP_SCORE_BINS, EVERY)


def _family(
    batch: Batch, name: str, base: Base, bins: int, of: Array | slice, *group: Place
) -> dict[str, Table]:
    joined = None if batch.replicate is None else [*group, *base(bins // REPLICATED)]
    return batch.family(name, [*group, *base(bins)], of, joined)


def _table(places: Places, weights: Counts | None = None) -> Table:
    return Table.count([axis for axis, _ in places], *(at for _, at in places), weights=weights)


def _at_scores(positions: Array, bins: int) -> Places:
    return [(axes.score_axis(bins), axes.coarser(positions, bins))]


@cache
def _uniform_axis(name: str, low: float, high: float, bins: int) -> Axis:
    return Axis(name, tuple(f"{low + (high - low) * i / bins:.6g}" for i in range(bins)))
