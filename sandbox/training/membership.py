"""What do a model, and models that never saw them, say of people who were in its training and of people who were not?

The raw material of a membership attack, gathered inside the vault: a random sample of the training side (the
members), one of the held-out side (the others), and shadow models that learn from random halves of a pool: units of
the training side that are not attacked. Which side a unit is on was decided by a keyed hash, so members and others
differ in nothing but membership. What comes of it leaves as rates only, and for overseers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.catalogue import files, stored
from sandbox.catalogue.encoding import Encoding
from sandbox.records import Dataset, Submission, TrainingRun
from sandbox.submissions import admission
from sandbox.threads import one_thread
from sandbox.training.fitting import Arrays, tensors
from sandbox.training.plan import Plan
from sandbox.training.sampler import UnitRows, Whole

if TYPE_CHECKING:
    from sandbox.records import ModelVersion, Wave
    from sandbox.settings import Settings
    from sandbox.storage import Store
    from sandbox.submissions.graph.lift import Model

SHADOWS = 16
TARGETS, POOL = 10_000, 6_000
"""Units of either side that are attacked, and units that shadows learn from, at most."""
FEWEST = 50
"""Units of either side and of the pool below which nothing is attacked."""
MOST_SECONDS = 60.0
"""Of one thread, by the estimate; all samples are halved until they keep to it."""
MOST_NUMBERS = 2**27
"""Of the encoded records, held at once: half a gigabyte."""

_FLOP, _VALUE, _NODE = 8e-11, 1.5e-9, 1e-4
"""Seconds: of a record under a model and of a step, there and back, on the high side for five recipes."""

Array = NDArray[Any]


class NotGathered(Exception):
    """Why there is nothing to attack with: `too few` units, or `too costly` a model."""


@dataclass(frozen=True)
class Said:
    """Of the attacked records: [records, outputs] by the model, [shadows, records, outputs] by the shadows.

    `owners` numbers the unit of each record, 0, 1, 2 ..., and `member` says of each unit whether it was in the
    training. `target` is what happened to each record.
    """

    kind: str
    owners: Whole
    member: NDArray[np.bool_]
    target: Array
    model: NDArray[np.float64]
    shadows: NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """A file of records, the digest it was accepted with, and what it is called."""

    path: str
    digest: str
    name: str


def gather(
    store: Store, settings: Settings, version: ModelVersion, wave: Wave, model: Model, rng: np.random.Generator
) -> Said:  # fmt: skip
    """What `model`, the registered one, and its shadows say. `wave` is the held-out side of the file that was split.

    Raises NotGathered; NDLError where a file is gone or not what it was.
    """
    dataset = store.get(Dataset, version.dataset)
    if min(dataset.training_units, wave.units) < FEWEST:
        raise NotGathered("too few")
    run = store.get(TrainingRun, version.run)
    graph = admission.graph_of(store, settings, store.get(Submission, run.submission))
    encoding = Encoding(stored.card_of(dataset), version.task)
    training = Side(dataset.training_path, dataset.training_digest, f"the training side of {dataset.name}")
    from sandbox.submissions.graph.lift import Model

    return said_of(Model(graph), model, Plan(**run.plan), encoding, training,
                   Side(wave.path, wave.digest, f"the wave {wave.id}"), rng)  # fmt: skip


def said_of(
    start: Model, model: Model, plan: Plan, encoding: Encoding, training: Side, held_out: Side,
    rng: np.random.Generator,
) -> Said:  # fmt: skip
    """As `gather`; `start` is the model as it was before it was trained by this plan."""
    import torch

    from sandbox.training import shadows

    targets, pool = affordable(start, plan)
    count, most = min(targets, plan.units // 3), plan.max_rows_per_unit
    inside = _read(training, encoding, most, lambda units: rng.permutation(units)[: count + pool])
    others = _read(held_out, encoding, most, lambda units: rng.permutation(units)[:targets])
    members, learned = inside.first(count), inside.after(count)
    if min(members.units, others.units, learned.units) < FEWEST:
        raise NotGathered("too few")
    with one_thread():
        rows = UnitRows(learned.owners, plan.max_rows_per_unit)
        own = shadows.halves(SHADOWS, learned.units, rng)
        weights = shadows.train(
            start, tensors(learned.features), torch.from_numpy(learned.target), rows, own, plan, rng
        )
        both = members.joined(others)
        features = tensors(both.features)
        return Said(
            kind=plan.loss,
            owners=both.owners,
            member=np.arange(both.units) < members.units,
            target=both.target,
            model=np.asarray(model.answers(features).numpy(), np.float64),
            shadows=np.asarray(shadows.answers(start, weights, features).numpy(), np.float64),
        )


def affordable(start: Model, plan: Plan) -> tuple[int, int]:
    """How many units of either side may be attacked, and how many a pool may hold. Raises NotGathered.

    By an estimate from the graph and the plan alone, so that it is the same on every machine.
    """
    from sandbox.submissions.graph.verify import verify
    from sandbox.training import shadows

    summary, rows = verify(start.graph), plan.max_rows_per_unit
    record = _FLOP * summary.flops_per_record + _VALUE * summary.values_per_record
    numbers = sum(math.prod(given.shape) for given in start.graph.inputs)
    targets, pool = TARGETS, POOL
    while min(targets, pool) >= FEWEST:
        drawn = plan.steps * shadows.rate_of(plan, pool // 2) * pool
        seconds = rows * record * (SHADOWS * drawn + 2 * targets * (1 + SHADOWS))
        seconds += plan.steps * _NODE * summary.nodes
        if seconds <= MOST_SECONDS and rows * numbers * (2 * targets + pool) <= MOST_NUMBERS:
            return targets, pool
        targets, pool = targets // 2, pool // 2
    raise NotGathered("too costly")


@dataclass(frozen=True)
class _Records:
    """Records in the order of their units, which `owners` numbers 0, 1, 2 ..."""

    features: Arrays
    target: Array
    owners: Whole

    @property
    def units(self) -> int:
        return int(self.owners.max(initial=-1)) + 1

    def first(self, units: int) -> _Records:
        return self._rows(self.owners < units, 0)

    def after(self, units: int) -> _Records:
        return self._rows(self.owners >= units, units)

    def joined(self, other: _Records) -> _Records:
        return _Records(
            {name: np.concatenate([array, other.features[name]]) for name, array in self.features.items()},
            np.concatenate([self.target, other.target]),
            np.concatenate([self.owners, other.owners + self.units]),
        )

    def _rows(self, wanted: NDArray[np.bool_], less: int) -> _Records:
        features = {name: array[wanted] for name, array in self.features.items()}
        return _Records(features, self.target[wanted], self.owners[wanted] - less)


def _read(side: Side, encoding: Encoding, limit: int, choose: Callable[[int], Whole]) -> _Records:
    """The records with a known outcome of the units that `choose` picks out of so many, in its order; at most `limit`
    of a unit, the first. One row group is in memory at a time. Raises NotGathered when there are none."""
    card, target = encoding.card, encoding.task.target
    with files.opened_unchanged(Path(side.path), side.digest, side.name) as parquet:
        about = parquet.read(columns=list(dict.fromkeys((card.unit, target))))
        known = np.flatnonzero(about.column(target).is_valid().to_numpy())
        units = UnitRows(encoding.units(about.take(pa.array(known))), limit)
        rows, owners = units.rows(choose(len(units)))
        rows = known[rows]
        needed = list(dict.fromkeys((*encoding.feature_columns, target)))
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        tables, in_file, start = [], np.sort(rows), 0
        for group, size in enumerate(sizes):
            low, high = np.searchsorted(in_file, (start, start + size))
            if low < high:
                read = parquet.read_row_group(group, columns=needed, use_threads=False)
                tables.append(read.take(pa.array(in_file[low:high] - start)))
            start += size
    if not tables:
        raise NotGathered("too few")
    table = pa.concat_tables(tables).take(pa.array(np.searchsorted(in_file, rows)))
    return _Records(encoding.features(table), encoding.target(table), owners)
