"""Where do tallies come from? Counted once for a model, a wave and a version of what counts, then kept.

A wave of several row groups is counted and kept one by one, each under the digest of its own bytes: a killed
count goes on where it was, and a longer file costs its new row groups only. What counted is part of every key
by its version and by its source, so that a kept tally is never of other code.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from evaluators import scoring
from evaluators.base import Evaluator
from evaluators.counting import EVERYDAY, OF_THE_MACHINE, Builder, count_batches
from evaluators.inside import Inside, Look
from evaluators.origins import versions_beside
from evaluators.scoring import SCORING_VERSION, Scorer
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NDLError
from sandbox.records import Dataset, ModelVersion, Wave
from sandbox.settings import Settings
from sandbox.storage import Store
from sandbox.tally import Tally

Load = Callable[[Settings, ModelVersion], Scorer]


KEPT_ROWS = 10_000
"""Row groups of fewer records on average are counted together: they cost less to count than to keep."""

_SETTLED_SECONDS = 2.0


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
        (made,) = self.count(version, wave, (builder,))
        if isinstance(made, Exception):
            raise made
        return made

    def count(
        self, version: ModelVersion, wave: Wave, builders: Sequence[Builder]
    ) -> list[Tally | Exception]:
        """What each builder counts, in one pass for those that are not kept; or why it could not, as a value.
        Raises as `of` does."""
        work = self._work(version, wave)
        whole = f"{tally_key(version, wave, work.encoding)}|"
        found: dict[Builder, Tally | Exception | None] = {b: self._kept(whole + work.of(b)) for b in builders}
        if left := [b for b, made in found.items() if made is None]:
            path = unchanged(wave)
            # one at a time: two tallies are in memory, however long the wave
            for group in row_groups(path):
                made = self._part(work, path, group, left)
                found |= {b: _sum(found[b], made[b]) for b in left}
            if found[left[0]] is None:
                found |= self._counted(work, path, None, wave.digest, left)
            self._keep({whole + work.of(builder): found[builder] for builder in left})
        return [made for made in found.values() if made is not None]

    def examined(
        self, version: ModelVersion, wave: Wave, evaluator: Evaluator, look: Look
    ) -> Tally | Exception:
        """What an evaluator's look inside found, or why it could not, as a value. Raises as `of` does."""
        encoding = self.encoding(version.dataset, version.task)
        key = f"{tally_key(version, wave, encoding)}|{evaluator.name}/{evaluator.version}"
        if (kept := self._kept(key)) is not None:
            return kept
        inside = Inside(self._store, self._settings, version, wave, self.scorer(version), key)
        try:
            made = look(inside)
        except OF_THE_MACHINE:
            raise
        except Exception as error:
            return error
        self._keep({key: made})
        return made

    def count_ahead(
        self,
        version: ModelVersion,
        wave: Wave,
        groups: Iterable[int],
        builders: Sequence[Builder] = (EVERYDAY,),
    ) -> None:
        """Counts and keeps these row groups of a wave, so that whoever wants the whole finds them."""
        work = self._work(version, wave)
        path, wanted = unchanged(wave), set(groups)
        for group in row_groups(path):
            if group in wanted:
                self._part(work, path, group, builders)

    def _work(self, version: ModelVersion, wave: Wave) -> _Work:
        encoding = self.encoding(version.dataset, version.task)
        return _Work(version, wave, encoding, versions_beside(self._store, version))

    def _part(
        self, work: _Work, path: Path, group: int, builders: Sequence[Builder]
    ) -> dict[Builder, Tally | Exception]:
        digest = _remembered(group_digest, path, group)
        model = "|".join(_model_parts(work.version, work.encoding))
        keys = {b: f"part|{work.of(b)}|{model}|{digest}" for b in builders}
        found: dict[Builder, Tally | Exception] = {
            b: kept for b in builders if (kept := self._kept(keys[b])) is not None
        }
        made = self._counted(work, path, [group], digest, [b for b in builders if b not in found])
        self._keep({keys[builder]: tally for builder, tally in made.items()})
        return found | made

    def _counted(
        self, work: _Work, path: Path, groups: Sequence[int] | None, key: str, builders: Sequence[Builder]
    ) -> dict[Builder, Tally | Exception]:
        if not builders:
            return {}
        beside = self._beside(work) if any(b.beside for b in builders) else {}
        if isinstance(beside, Exception):
            failed, error = [b for b in builders if b.beside], beside
            return dict.fromkeys(failed, error) | self._counted(
                work, path, groups, key, [b for b in builders if not b.beside]
            )
        batches = scoring.score(
            scoring.read(path, work.encoding, groups), self.scorer(work.version), work.encoding
        )
        return dict(zip(builders, count_batches(batches, builders, work.wave.rows, key, beside), strict=True))

    def _beside(self, work: _Work) -> Mapping[str, Scorer] | Exception:
        """The models of the other versions. Where one is gone, that is what can be said: other evaluators go on."""
        try:
            return {name: self.scorer(other) for name, other in work.beside.items()}
        except Trouble as error:
            return LookupError(str(error))

    def _kept(self, key: str) -> Tally | None:
        with self._store.reading() as view:
            content = view.tally(key)
        return None if content is None else Tally.from_bytes(content)

    def _keep(self, made: Mapping[str, Tally | Exception | None]) -> None:
        contents = {key: tally.to_bytes() for key, tally in made.items() if isinstance(tally, Tally)}
        with self._store.transaction() as tx:  # others wait for its end: nothing is worked out in it
            for key, content in contents.items():
                tx.put_tally(key, content)

    def _encoding(self, dataset: str, task: str) -> Encoding:
        from sandbox.catalogue.intake import card_of

        return Encoding(card_of(self._store.get(Dataset, dataset)), task)

    def _loaded(self, version: ModelVersion) -> Scorer:
        try:
            return self._load(self._settings, version)
        except Exception as error:
            raise Trouble(f"The model {version.id} could not be loaded ({type(error).__name__}).") from error


@dataclass(frozen=True)
class _Work:
    """One model version on one wave."""

    version: ModelVersion
    wave: Wave
    encoding: Encoding
    beside: Mapping[str, ModelVersion]

    def of(self, builder: Builder) -> str:
        """What a builder's tally depends on beside the model, task, card and records."""
        others = "".join(f"|{name} {other.digest}" for name, other in self.beside.items())
        beside = (others or "|alone") if builder.beside else ""
        sampled = f"|share {builder.share(self.wave.rows):g}" if builder.sample else ""
        return f"{builder.key}{beside}{sampled}"


def _sum(before: Tally | Exception | None, more: Tally | Exception) -> Tally | Exception:
    if isinstance(before, Exception) or isinstance(more, Exception):
        return before if isinstance(before, Exception) else more
    return more if before is None else before + more


def tally_key(version: ModelVersion, wave: Wave, encoding: Encoding) -> str:
    """The same weights, task, card and records under the same scoring version give the same tally."""
    return "|".join((f"tally/{SCORING_VERSION}", *_model_parts(version, encoding), wave.digest))


def _model_parts(version: ModelVersion, encoding: Encoding) -> tuple[str, ...]:
    return version.digest, version.task, encoding.card.digest


def row_groups(path: Path) -> range:
    """The row groups that are counted and kept one by one: none where there are fewer than two, or where they hold
    too few records on average to be worth it."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    worth_it = about.num_row_groups > 1 and about.num_rows >= KEPT_ROWS * about.num_row_groups
    return range(about.num_row_groups if worth_it else 0)


def group_digest(path: Path, group: int) -> str:
    """The sha256 of a row group's bytes in the file, its length and the file's schema."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, path.open("rb") as raw:
        about, schema = file.metadata.row_group(group), str(file.schema_arrow).encode()
        digest = hashlib.sha256(schema + b"|%d|" % about.num_rows)
        for column in range(about.num_columns):
            chunk = about.column(column)
            raw.seek(min(o for o in (chunk.dictionary_page_offset, chunk.data_page_offset) if o))
            digest.update(f"{chunk.path_in_schema} {chunk.compression}".encode())
            digest.update(raw.read(chunk.total_compressed_size))
    return digest.hexdigest()


def unchanged(wave: Wave) -> Path:
    """The wave's file; raises Trouble when it is gone or not the one that was accepted."""
    from sandbox.catalogue.document import sha256_of

    path = Path(wave.path)
    if not path.is_file():
        raise Trouble(f"The file of the wave {wave.id} is gone. Restore it from a backup.")
    if _remembered(sha256_of, path) != wave.digest:
        raise Trouble(f"The file of the wave {wave.id} is not the one that was accepted. Restore it.")
    return path


def _remembered(digest: Callable[..., str], path: Path, *of: int) -> str:
    """A digest of a file, worked out once while the file stays as it is: each of a wave's shards asks for it. Not of
    a file that has only just changed: another change might leave it with the same time."""
    now = path.stat()
    stands = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    settled = time.time() - max(now.st_mtime, now.st_ctime) > _SETTLED_SECONDS
    return _known(digest, stands, path, *of) if settled else digest(path, *of)


@lru_cache(maxsize=4096)
def _known(digest: Callable[..., str], _stands: tuple[int, ...], path: Path, *of: int) -> str:
    return digest(path, *of)
