"""How are the tables of several evaluators counted in one pass? Each by its builder; one that fails fails alone.

A builder with a `sample` is given a random part of the records: all, a half, a quarter ..., the largest that leaves
about `sample` of the wave's. The part depends on how long the wave is, so that one that grew keeps it until it has
doubled, and each row group draws for itself, so that any sharding gives the same.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
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
from sandbox.catalogue import vectors
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NDLError
from sandbox.tally import Tally

_AT_ONCE = 16
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
    batches: Iterable[Batch],
    builders: Sequence[Builder],
    rows: int,
    key: str,
    beside: Mapping[str, Scorer] | None = None,
) -> list[Tally | Exception]:
    """What each builder counts of these batches, of a wave of so many rows; or why it could not, as a value.

    Trouble with this machine is raised, and what is the model's own: what the batches or the everyday tables raise.
    `key` is of the records: what random numbers depend on.
    """
    counters = [_Counter(builder, rows, key, beside or {}) for builder in builders]
    most = max((builder.share(rows) for builder in builders if builder.sample), default=0.0)
    draws = (stream(key, number) for number in itertools.count())
    for batch in batches:  # `enumerate` would hold on to each until the next one is made
        part = _sampled(batch, next(draws), most) if most else None
        for counter in counters:
            counter.add(batch, part)
        del batch  # before the next one is made
    return [counter.result() for counter in counters]


class _Counter:
    """One builder at work. A sample waits until it is of _AT_ONCE batches, for many records at once cost less; not
    longer, because small arrays that wait keep the large ones beside them from being used again."""

    def __init__(self, builder: Builder, rows: int, key: str, beside: Mapping[str, Scorer]) -> None:
        self._builder, self._share = builder, builder.share(rows)
        self._key, self._beside = f"{key}|{builder.name}", beside
        self._made: Tally | Exception | None = None
        self._waiting: list[_Part] = []
        self._counted = 0

    def add(self, batch: Batch, part: _Part | None) -> None:
        if part is None or not self._builder.sample:
            self._count(batch)
            return
        self._waiting.append(part)
        if len(self._waiting) == _AT_ONCE:
            self._count_waiting()

    def result(self) -> Tally | Exception:
        if self._waiting:
            self._count_waiting()
        assert self._made is not None  # a file has at least one batch
        return self._made

    def _count_waiting(self) -> None:
        self._count(_joined(self._waiting, self._share))
        self._waiting = []

    def _count(self, batch: Batch) -> None:
        if isinstance(self._made, Exception):
            return
        self._counted += 1
        batch = replace(batch, beside=self._beside, key=f"{self._key}|{self._counted}")
        try:
            more = self._builder.count(batch)
            self._made = more if self._made is None else self._made + more
        except OF_THE_MACHINE:
            raise
        except Exception as error:  # a crash is this builder's value, never a stop for the others
            if self._builder == EVERYDAY:
                raise
            self._made = error


@dataclass(frozen=True)
class _Part:
    """Some records of a batch, by the luck of each, what the model said of them, and the seconds of the whole batch."""

    table: pa.Table
    said: NDArray[Any]
    features: Mapping[str, NDArray[Any]]
    luck: NDArray[np.float64]
    seconds: float
    encoding: Encoding
    scorer: Scorer | None


def _sampled(batch: Batch, rng: np.random.Generator, share: float) -> _Part:
    """This share of the records: of any builder's sample the others' are parts, so that all take from one."""
    luck = rng.random(len(batch.said))
    rows = np.flatnonzero(luck < share)
    table, said = batch.table.take(vectors.arrow(rows)), batch.said[rows]
    features = {name: array[rows] for name, array in batch.features.items()}
    return _Part(table, said, features, luck[rows], batch.seconds, batch.encoding, batch.scorer)


def _joined(some: Sequence[_Part], share: float) -> Batch:
    rows = np.flatnonzero(np.concatenate([part.luck for part in some]) < share)
    table = pa.concat_tables([part.table for part in some]).take(vectors.arrow(rows))
    encoding, names = some[0].encoding, some[0].features
    features = {name: np.concatenate([part.features[name] for part in some])[rows] for name in names}
    said = np.concatenate([part.said for part in some])[rows]
    batch = scoring.batch_of(table, encoding, said, features, some[0].scorer)
    return replace(batch, seconds=sum(part.seconds for part in some))


@cache
def _source(count: Count) -> str:
    """The sha256 of the source that counts: the builder's module, and what every builder stands on."""
    from sandbox import tally
    from sandbox.catalogue import encoding

    own = inspect.getmodule(count)
    modules = {m.__name__: m for m in (own, scoring, axes, units, tally, encoding, vectors) if m}
    sources = [inspect.getsource(modules[name]) for name in sorted(modules)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()
