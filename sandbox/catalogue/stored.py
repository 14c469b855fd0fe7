"""What is kept of a dataset: its card, its training side, its accepted waves."""

from __future__ import annotations

from collections.abc import Iterator
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
    """The training side; raises NDLError when it is not the file that was split."""
    path = Path(dataset.training_path)
    return files.read_unchanged(path, dataset.training_digest, f"the training side of {dataset.name}")


def portions_of_training(dataset: Dataset, rows: int) -> Iterator[pa.Table]:
    """The training side, at most so many rows at a time; raises NDLError when it is not the file that was split."""
    path = Path(dataset.training_path)
    with files.opened_unchanged(
        path, dataset.training_digest, f"the training side of {dataset.name}"
    ) as parquet:
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, use_threads=False)
            yield from (table.slice(at, rows) for at in range(0, table.num_rows, rows))


def units_of_training(dataset: Dataset, unit: str) -> pa.Table:
    """Whose each row is, in the same order."""
    path = Path(dataset.training_path)
    with files.opened_unchanged(
        path, dataset.training_digest, f"the training side of {dataset.name}"
    ) as parquet:
        return parquet.read(columns=[unit])


def read_wave(wave: Wave) -> pa.Table:
    """The records of an accepted wave; raises Refused for one in quarantine."""
    if wave.state is WaveState.QUARANTINED:
        raise Refused(f"The wave {wave.id} is in quarantine; no model may read it.")
    return files.read_unchanged(Path(wave.path), wave.digest, f"the wave {wave.id}")
