"""What is kept of a dataset: its card, its training side, its accepted waves."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sandbox.catalogue import files
from sandbox.catalogue.card import Card
from sandbox.errors import Refused
from sandbox.lifecycle import WaveState
from sandbox.records import Dataset, Wave


def card_of(dataset: Dataset) -> Card:
    """The card that a dataset was brought in with."""
    return Card.from_json(dataset.card)


def read_training(dataset: Dataset) -> pa.Table:
    """The training side; raises NDLError when the file is not the one that was split."""
    path = Path(dataset.training_path)
    return files.read_unchanged(path, dataset.training_digest, f"the training side of {dataset.name}")


def read_wave(wave: Wave) -> pa.Table:
    """The records of an accepted wave; raises Refused for one in quarantine."""
    if wave.state is WaveState.QUARANTINED:
        raise Refused(f"The wave {wave.id} is in quarantine; no model may read it.")
    return files.read_unchanged(Path(wave.path), wave.digest, f"the wave {wave.id}")
