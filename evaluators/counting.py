"""How are the tables of several evaluators counted in one pass? Each by its builder; one that fails fails alone.

A builder with a `sample` is given a random part of the records: all, a half, a quarter ..., the largest that leaves
about `sample` of the wave's. The part depends on how long the wave is, so that one that grew keeps it until it has
doubled, and each row group draws for itself, so that any sharding gives the same.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy.exc import OperationalError

from evaluators import axes, scoring, units
from evaluators.base import Evaluator, stream
from evaluators.scoring import SCORING_VERSION, Batch, Count, Scorer
from sandbox.errors import NDLError
from sandbox.tally import Tally

OF_THE_MACHINE = (NDLError, OSError, MemoryError, OperationalError)
"""What decides nothing about a model or an evaluator: this machine could not do it now."""


@dataclass(frozen=True)
class Builder:
    """What counts a batch into tables, under a name and a version of its own."""

    name: str
    version: int
    count: Count
    sample: int = 0
    beside: bool = False

    @property
    def key(self) -> str:
        return f"{self.name}/{self.version}/{_source(self.count)[:16]}"

    def share(self, rows: int) -> float:
        """The part of this many records that it is given."""
        part = 1.0
        while self.sample and rows * part > self.sample:
            part /= 2
        return part


EVERYDAY = Builder("tally", SCORING_VERSION, scoring.count)
"""The tables that evaluators.scoring lists."""


def builder_of(evaluator: Evaluator) -> Builder | None:
    """What counts the evaluator's own tables, if it has any."""
    e = evaluator
    return Builder(e.name, e.version, e.tables, e.sample, e.beside) if e.tables else None


def count_batches(
    batches: Iterable[Batch], builders: Sequence[Builder], rows: int, key: str, before: Scorer | None = None
) -> list[Tally | Exception]:
    """What each builder counts of these batches, of a wave of so many rows; or why it could not, as a value.

    Trouble with this machine is raised, and what is the model's own: what the batches or the everyday tables raise.
    `key` is of the records: what random numbers depend on.
    """
    found: list[Tally | Exception | None] = [None] * len(builders)
    chosen: list[list[Batch]] = [[] for _ in builders]
    for number, batch in enumerate(batches):
        luck = None
        for at, builder in enumerate(builders):
            if not builder.sample:
                found[at] = _added(found[at], builder, replace(batch, before=before, key=f"{key}|{number}"))
                continue
            luck = stream(key, number).random(len(batch.said)) if luck is None else luck
            chosen[at].append(_sampled(batch, luck < builder.share(rows)))
    for at, (builder, some) in enumerate(zip(builders, chosen, strict=True)):
        if some:
            found[at] = _added(
                None, builder, replace(_joined(some), before=before, key=f"{key}|{builder.name}")
            )
    return [made for made in found if made is not None]


def _added(before: Tally | Exception | None, builder: Builder, batch: Batch) -> Tally | Exception:
    if isinstance(before, Exception):
        return before
    try:
        more = builder.count(batch)
        return more if before is None else before + more
    except OF_THE_MACHINE:
        raise
    except Exception as error:  # a crash is this builder's value, never a stop for the others
        if builder == EVERYDAY:
            raise
        return error


def _sampled(batch: Batch, wanted: NDArray[np.bool_]) -> Batch:
    """These records; of several of one unit that stand together, one."""
    rows = np.flatnonzero(wanted)
    card = batch.encoding.card
    if card.max_rows_per_unit > 1 and len(rows):
        rows = np.sort(rows[np.unique(batch.encoding.units(batch.table)[rows], return_index=True)[1]])
    return batch.take(rows)


def _joined(some: Sequence[Batch]) -> Batch:
    first = next((batch for batch in some if batch.features), some[0])
    arrays = ("said", "labelled", "outcome", "weight", "replicate")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(batch, name) for batch in some])
        for name in arrays
        if getattr(first, name) is not None
    }
    features = {n: np.concatenate([b.features[n] for b in some if b.features]) for n in first.features}
    seconds = sum(batch.seconds for batch in some)
    table = pa.concat_tables([batch.table for batch in some])
    return replace(first, table=table, features=features, seconds=seconds, **joined)


@cache
def _source(count: Count) -> str:
    """The sha256 of the source that counts: the builder's module, and what every builder stands on."""
    from sandbox import tally
    from sandbox.catalogue import encoding, vectors

    own = inspect.getmodule(count)
    modules = {m.__name__: m for m in (own, scoring, axes, units, tally, encoding, vectors) if m}
    sources = [inspect.getsource(modules[name]) for name in sorted(modules)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()
