"""Where do people's records lie while a model learns from them? In memory, or, where they are many, mapped from a file.

A file of many records is read and encoded a portion at a time; the tensors are written to files inside the
vault that only we can read, mapped, and unlinked at once, so that nothing of them is left whatever happens. A
step then reads the pages that its batch lies on, and the system keeps as many of them as memory allows.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.catalogue import stored
from sandbox.catalogue.encoding import Encoding
from sandbox.records import Dataset
from sandbox.training.sampler import Whole

if TYPE_CHECKING:
    from torch import Tensor

IN_MEMORY = 500_000
"""Rows that are read at once; more are streamed."""
_PORTION = 100_000
_TARGET = "(target)"


@dataclass(frozen=True)
class Encoded:
    """The records as a model takes them, and one code a row that says whose it is."""

    features: dict[str, Tensor]
    target: Tensor
    codes: Whole


def of(dataset: Dataset, encoding: Encoding, folder: Path) -> Encoded:
    """The training side, read for the first time; many records are mapped from unlinked files on `folder`'s disk.

    Raises NDLError when the file is not the one that was split, Invalid when records are not as the card says.
    """
    if dataset.training_rows <= IN_MEMORY:
        table = stored.read_training(dataset)
        return _tensors(encoding.features(table), encoding.target(table), encoding.units(table))
    return streamed(dataset, encoding, folder)


def streamed(dataset: Dataset, encoding: Encoding, folder: Path) -> Encoded:
    """As `of`, for any number of rows, holding one portion of them at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix="encoded-", dir=folder))
    try:
        kinds: dict[str, tuple[Path, np.dtype[Any], tuple[int, ...]]] = {}
        for table in stored.portions_of_training(dataset, _PORTION):
            for name, values in _arrays(encoding, table):
                kinds.setdefault(name, (workplace / str(len(kinds)), values.dtype, values.shape[1:]))
                with kinds[name][0].open("ab") as file:  # written, not mapped: mapped pages would fill memory
                    values.tofile(file)
        maps: dict[str, NDArray[Any]] = {
            name: np.memmap(file, dtype, "c", shape=(dataset.training_rows, *shape))
            for name, (file, dtype, shape) in kinds.items()
        }
        target = maps.pop(_TARGET)
        return _tensors(maps, target, encoding.units(stored.units_of_training(dataset, encoding.card.unit)))
    finally:
        shutil.rmtree(workplace)
        pa.default_memory_pool().release_unused()  # 350 MB after ten million rows, which a training never needs again


def _arrays(encoding: Encoding, table: pa.Table) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from encoding.features(table).items()
    yield _TARGET, encoding.target(table)


def _tensors(features: dict[str, NDArray[Any]], target: NDArray[Any], codes: Whole) -> Encoded:
    import torch

    made = {name: torch.from_numpy(np.asarray(array)) for name, array in features.items()}
    return Encoded(made, torch.from_numpy(np.asarray(target)), codes)
