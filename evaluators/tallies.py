"""Where do tallies come from? Counted once for a model, a wave and a version of what counts, then kept.

A wave of several row groups is counted and kept one by one, each under the digest of its own bytes: a killed
count goes on where it was, and a longer file costs its new row groups only. What counted is part of every key
by its version and by its source, so that a kept tally is never of other code.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from operator import add
from pathlib import Path

from evaluators import axes, scoring, units
from evaluators.scoring import SCORING_VERSION, Count, Scorer, tally_wave
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NDLError
from sandbox.records import Dataset, ModelVersion, Wave
from sandbox.settings import Settings
from sandbox.storage import Store
from sandbox.tally import Tally

Load = Callable[[Settings, ModelVersion], Scorer]


@dataclass(frozen=True)
class Builder:
    """What counts a batch into tables, under a name and a version of its own."""

    name: str
    version: int
    count: Count

    @property
    def key(self) -> str:
        return f"{self.name}/{self.version}/{_source(self.count)[:16]}"


KEPT_ROWS = 10_000
"""Row groups of fewer records on average are counted together: they cost less to count than to keep."""

EVERYDAY = Builder("tally", SCORING_VERSION, scoring.count)
"""The tables that evaluators.scoring lists."""


class Trouble(NDLError):
    """This machine could not do it now; nothing was decided about the model, and it stays due."""


def registered_scorer(settings: Settings, version: ModelVersion) -> Scorer:
    """The trained model from the registry."""
    from sandbox.registry.registry import load_scorer

    return load_scorer(settings, version)


class Tallies:
    """Reads tallies from the store, and counts those it lacks."""

    def __init__(self, store: Store, settings: Settings, load: Load = registered_scorer) -> None:
        self._store, self._settings, self._load = store, settings, load
        self.encoding = cache(self._encoding)
        self.scorer = cache(self._loaded)

    def of(self, version: ModelVersion, wave: Wave, builder: Builder = EVERYDAY) -> Tally:
        """Raises Trouble when the records or the model cannot be read; anything else is the model's."""
        encoding = self.encoding(version.dataset, version.task)
        key = f"{tally_key(version, wave, encoding)}|{builder.key}"
        if (kept := self._kept(key)) is not None:
            return kept
        path, about = unchanged(wave), (builder.key, *_model_parts(version, encoding))
        parts = (
            self._part("|".join(("part", *about, digest)), path, version, encoding, group, builder)
            for group, digest in row_groups(path)
        )
        tally = next(parts, None)  # one at a time: two tallies are in memory, however long the wave
        if tally is None:
            return self._keep(key, tally_wave(path, self.scorer(version), encoding, build=builder.count))
        return self._keep(key, reduce(add, parts, tally))

    def count_ahead(self, version: ModelVersion, wave: Wave, groups: Iterable[int]) -> None:
        """Counts and keeps these row groups of a wave, so that whoever wants the whole finds them."""
        encoding, path, wanted = self.encoding(version.dataset, version.task), unchanged(wave), set(groups)
        about = (EVERYDAY.key, *_model_parts(version, encoding))
        for group, digest in row_groups(path):
            if group in wanted:
                self._part("|".join(("part", *about, digest)), path, version, encoding, group, EVERYDAY)

    def _part(
        self, key: str, path: Path, version: ModelVersion, encoding: Encoding, group: int, builder: Builder
    ) -> Tally:
        kept = self._kept(key)
        if kept is not None:
            return kept
        return self._keep(key, tally_wave(path, self.scorer(version), encoding, [group], builder.count))

    def _kept(self, key: str) -> Tally | None:
        with self._store.reading() as view:
            content = view.tally(key)
        return None if content is None else Tally.from_bytes(content)

    def _keep(self, key: str, tally: Tally) -> Tally:
        with self._store.transaction() as tx:
            tx.put_tally(key, tally.to_bytes())
        return tally

    def _encoding(self, dataset: str, task: str) -> Encoding:
        from sandbox.catalogue.intake import card_of

        return Encoding(card_of(self._store.get(Dataset, dataset)), task)

    def _loaded(self, version: ModelVersion) -> Scorer:
        try:
            return self._load(self._settings, version)
        except Exception as error:
            raise Trouble(f"The model {version.id} could not be loaded ({type(error).__name__}).") from error


def tally_key(version: ModelVersion, wave: Wave, encoding: Encoding) -> str:
    """The same weights, task, card and records under the same scoring version give the same tally."""
    return "|".join((f"tally/{SCORING_VERSION}", *_model_parts(version, encoding), wave.digest))


def _model_parts(version: ModelVersion, encoding: Encoding) -> tuple[str, ...]:
    return version.digest, version.task, encoding.card.digest


def row_groups(path: Path) -> Iterator[tuple[int, str]]:
    """Each row group's number and sha256: of its bytes in the file, its length and the file's schema. None where
    there are fewer than two, or where they hold too few records on average to be worth keeping."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, path.open("rb") as raw:
        about, schema = file.metadata, str(file.schema_arrow).encode()
        if about.num_row_groups < 2 or about.num_rows < KEPT_ROWS * about.num_row_groups:
            return
        for number in range(about.num_row_groups):
            group = about.row_group(number)
            digest = hashlib.sha256(schema + b"|%d|" % group.num_rows)
            for column in range(group.num_columns):
                chunk = group.column(column)
                raw.seek(min(o for o in (chunk.dictionary_page_offset, chunk.data_page_offset) if o))
                digest.update(f"{chunk.path_in_schema} {chunk.compression}".encode())
                digest.update(raw.read(chunk.total_compressed_size))
            yield number, digest.hexdigest()


@cache
def _source(count: Count) -> str:
    """The sha256 of the source that counts: the builder's module, and what every builder stands on."""
    from sandbox import tally
    from sandbox.catalogue import encoding, vectors

    own = inspect.getmodule(count)
    modules = {m.__name__: m for m in (own, scoring, axes, units, tally, encoding, vectors) if m}
    sources = [inspect.getsource(modules[name]) for name in sorted(modules)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def unchanged(wave: Wave) -> Path:
    """The wave's file; raises Trouble when it is gone or not the one that was accepted."""
    from sandbox.catalogue.document import sha256_of

    path = Path(wave.path)
    if not path.is_file():
        raise Trouble(f"The file of the wave {wave.id} is gone. Restore it from a backup.")
    if sha256_of(path) != wave.digest:
        raise Trouble(f"The file of the wave {wave.id} is not the one that was accepted. Restore it.")
    return path
