"""What may an evaluator look into that no wave's table tells? The vault, once for each model version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluators.base import stream
from evaluators.scoring import Scorer
from sandbox.tally import Tally

if TYPE_CHECKING:
    from sandbox.records import ModelVersion, Wave
    from sandbox.settings import Settings
    from sandbox.storage import Store


@dataclass(frozen=True)
class Inside:
    """A model version with the reference wave of its dataset, and the store that knows its training.

    `key` names all of these by their digests: random numbers are a function of it.
    """

    store: Store
    settings: Settings
    version: ModelVersion
    wave: Wave
    scorer: Scorer
    key: str

    def rng(self, *purpose: object) -> np.random.Generator:
        """The random stream for one purpose; the same key and purpose give the same numbers."""
        return stream(self.key, *purpose)


Look = Callable[[Inside], Tally]
"""Comes back with tables: counts alone leave the vault."""
