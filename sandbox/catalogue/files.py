"""Where do a dataset's files lie, and are they still what was accepted?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.catalogue.check import read_parquet
from sandbox.catalogue.document import sha256_of
from sandbox.errors import NDLError
from sandbox.settings import Settings


def data_folder(settings: Settings, dataset: str) -> Path:
    """Card, training side and accepted waves."""
    return settings.storage.folder.absolute() / "data" / dataset


def quarantine_folder(settings: Settings, dataset: str) -> Path:
    """Waves put aside, as they were delivered."""
    return settings.storage.folder.absolute() / "quarantine" / dataset


@contextmanager
def workplace(settings: Settings) -> Iterator[Path]:
    """A private folder on the same disk, so that finished files move into place in one step."""
    parent = settings.storage.folder.absolute() / "incoming"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_parquet(table: pa.Table, file: Path) -> str:
    """Writes the records, without metadata, and returns the file's sha256."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(None), file, compression="zstd")
    return sha256_of(file)


def put(file: Path, place: Path) -> Path:
    """Moves a finished file to its place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(file, place)
    return place


def read_unchanged(file: Path, digest: str, what: str) -> pa.Table:
    """The records of a file; raises NDLError when it is gone or not the one that was accepted."""
    _unchanged(file, digest, what)
    return read_parquet(file)


@contextmanager
def opened_unchanged(file: Path, digest: str, what: str) -> Iterator[pq.ParquetFile]:
    """The file, to be read a part at a time; raises as `read_unchanged`."""
    _unchanged(file, digest, what)
    with pq.ParquetFile(file) as parquet:
        yield parquet


def _unchanged(file: Path, digest: str, what: str) -> None:
    if not file.is_file():
        raise NDLError(f"The file of {what} is gone: {file}. Restore it from a backup.")
    if sha256_of(file) != digest:
        raise NDLError(f"The file of {what} is not the one that was accepted: {file}. Restore it.")


def units_in(file: Path, unit: str) -> pa.ChunkedArray:
    """One column of a stored file."""
    with pq.ParquetFile(file) as parquet:
        return parquet.read(columns=[unit]).column(unit)
