"""How are values taken elsewhere? As CSV, Parquet or JSON lines, with the fact that somebody did in the audit log."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sandbox.errors import Invalid, Problem
from sandbox.records import Event, Json
from sandbox.storage.archive import COLUMNS, rows, table
from sandbox.storage.store import Store


def export(store: Store, file: Path, model_version: str | None, by: str) -> int:
    """Writes every value to a file of the kind its name ends with; returns how many. Raises Invalid for
    another ending, and leaves a file that is there as it is."""
    write = _WRITERS.get(file.suffix.lower())
    if write is None or file.exists():
        what = "exists already" if write else "does not end in .csv, .parquet or .json"
        raise Invalid("export", [Problem("FILE", what, "Name a new file with one of these endings.")])
    with store.transaction() as tx:  # noted first: what was never logged was never taken
        tx.log(Event(by, "results.export", model_version or "every model", "export", {"file": file.name}))
    counted = 0

    def count(records: Iterable[Json]) -> Iterator[Json]:
        nonlocal counted
        for record in records:
            counted += 1
            yield record

    with store.reading() as view:
        write(file, count(rows(view, model_version=model_version)))
    return counted


def _csv(file: Path, records: Iterable[Json]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows(records)


def _json(file: Path, records: Iterable[Json]) -> None:
    with file.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record, default=str, allow_nan=False) + "\n")


def _parquet(file: Path, records: Iterable[Json]) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table(records), file, compression="zstd")


_WRITERS: dict[str, Callable[[Path, Iterable[Json]], None]] = {
    ".csv": _csv, ".json": _json, ".parquet": _parquet,
}  # fmt: skip
