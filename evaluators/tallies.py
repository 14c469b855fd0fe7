"""Where do tallies come from? Counted once for a model, a wave and a scoring version, then kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from evaluators.scoring import SCORING_VERSION, Scorer, tally_wave
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NDLError
from sandbox.records import Dataset, ModelVersion, Wave
from sandbox.settings import Settings
from sandbox.storage import Store
from sandbox.tally import Tally

Load = Callable[[Settings, ModelVersion], Scorer]


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

    def of(self, version: ModelVersion, wave: Wave) -> Tally:
        """Raises Trouble when the records or the model cannot be read; anything else is the model's."""
        encoding = self.encoding(version.dataset, version.task)
        key = tally_key(version, wave, encoding)
        with self._store.reading() as view:
            content = view.tally(key)
        if content is not None:
            return Tally.from_bytes(content)
        tally = tally_wave(unchanged(wave), self.scorer(version), encoding)
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
    """The same weights, task, card, records and scoring code give the same tally."""
    parts = (version.digest, version.task, encoding.card.digest, wave.digest)
    return "|".join((f"tally/{SCORING_VERSION}", *parts))


def unchanged(wave: Wave) -> Path:
    """The wave's file; raises Trouble when it is gone or not the one that was accepted."""
    from sandbox.catalogue.document import sha256_of

    path = Path(wave.path)
    if not path.is_file():
        raise Trouble(f"The file of the wave {wave.id} is gone. Restore it from a backup.")
    if sha256_of(path) != wave.digest:
        raise Trouble(f"The file of the wave {wave.id} is not the one that was accepted. Restore it.")
    return path
