"""How do old values leave the database without being lost? Into Parquet files with a manifest, then out.

The order makes it safe to be killed anywhere: files and manifest are written and read back, then one
transaction notes the archive, which evaluations it holds and that somebody wanted it, and removes their values.
Only then do the database's own triggers let them go. What is done stays done: evaluations, the newest values
and the weekly summaries remain.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sandbox.errors import Refused
from sandbox.records import Evaluation, Event, Json, Wave
from sandbox.storage import tables
from sandbox.storage.store import Store, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "model_version", "wave", "day", "evaluator", "evaluator_version", "name", "group", "feature",
    "value", "low", "high", "n", "status", "finished_at",
)  # fmt: skip
MANIFEST = "manifest.json"
_CHUNK = 50_000


@dataclass(frozen=True)
class Archive:
    """`id` is the sha256 of the manifest's bytes."""

    id: str
    folder: Path
    values: int
    evaluations: int


def rows(view: Transaction, before: date | None = None, model_version: str | None = None) -> Iterable[Json]:
    """Every value in the database as a flat record, in the order of `COLUMNS`; of waves dated before a day, of
    one model version, if given."""
    query = _query(before, model_version).execution_options(yield_per=_CHUNK)
    for row in view.connection.execute(query):
        yield dict(zip(COLUMNS, row, strict=True))


def archive(store: Store, before: date, folder: Path, by: str) -> Archive:
    """Moves the values of waves dated before a day into `folder`; raises Refused where nothing is that old, or
    the folder holds something already."""
    target = folder / f"before-{before.isoformat()}"
    if target.exists() and any(target.iterdir()):
        raise Refused(
            f"{target} holds something already. Archive into another folder, or look at what is there."
        )
    with store.reading() as view:
        numbers = [int(n) for n in view.connection.scalars(_numbers_before(before))]
        if not numbers:
            raise Refused(f"There are no values of waves before {before.isoformat()}.")
        manifest = _write(view, before, numbers, target)
    content = json.dumps(manifest, sort_keys=True, indent=2).encode()
    _durable(target / MANIFEST, content)
    verified(target)
    return _remove(store, numbers, target, manifest, _sha256(content), by)


def verified(folder: Path) -> Json:
    """The manifest of an archive whose every file is what was written; raises Refused."""
    from sandbox.catalogue.document import sha256_of

    try:
        manifest: Json = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        raise Refused(f"{folder} has no manifest that can be read. Restore it from a backup.") from None
    for entry in manifest["files"]:
        file = folder / Path(entry["file"]).name
        if not file.is_file() or sha256_of(file) != entry["sha256"]:
            raise Refused(f"{file} is not what was archived. Restore it from a backup.")
    return manifest


def table(records: Iterable[Json]) -> pa.Table:
    """Flat records as an Arrow table, words as dictionaries."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(records), schema=_schema())


def _query(before: date | None, model_version: str | None) -> sa.Select[Any]:
    e, s, m, w = tables.OF_RECORD[Evaluation], tables.series, tables.measurements, tables.OF_RECORD[Wave]
    query = (
        sa.select(
            e.c.model_version, e.c.wave, w.c.day, e.c.evaluator, e.c.evaluator_version, s.c.name, s.c.group,
            s.c.feature, m.c.value, m.c.low, m.c.high, m.c.n, m.c.status, e.c.finished_at,
        )
        .select_from(m)
        .join(e, e.c.number == m.c.evaluation)
        .join(s, s.c.id == m.c.series)
        .outerjoin(w, w.c.id == e.c.wave)
        .order_by(m.c.evaluation, m.c.series)
    )  # fmt: skip
    if before is not None:
        query = query.where(w.c.day < before)
    if model_version is not None:
        query = query.where(e.c.model_version == model_version)
    return query


def _numbers_before(before: date) -> sa.Select[Any]:
    e, m, w = tables.OF_RECORD[Evaluation], tables.measurements, tables.OF_RECORD[Wave]
    held = sa.exists().where(m.c.evaluation == e.c.number)
    return (
        sa.select(e.c.number).join(w, w.c.id == e.c.wave).where(w.c.day < before, held).order_by(e.c.number)
    )


def _write(view: Transaction, before: date, numbers: list[int], target: Path) -> Json:
    import pyarrow.parquet as pq

    from sandbox.catalogue.document import sha256_of

    target.mkdir(parents=True, exist_ok=True)
    file, count, chunk = target / "values.parquet", 0, list[Json]()
    with pq.ParquetWriter(file, _schema(), compression="zstd") as writer:
        for record in rows(view, before):
            chunk.append(record)
            if len(chunk) == _CHUNK:
                writer.write_table(table(chunk))
                count, chunk = count + len(chunk), []
        if chunk:
            writer.write_table(table(chunk))
            count += len(chunk)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    return {
        "format": "ndl-results/1", "before": before.isoformat(), "values": count, "columns": list(COLUMNS),
        "evaluations": len(numbers),
        "files": [{"file": file.name, "sha256": sha256_of(file), "bytes": file.stat().st_size, "values": count}],
    }  # fmt: skip


def _remove(store: Store, numbers: list[int], target: Path, manifest: Json, key: str, by: str) -> Archive:
    m = tables.measurements
    details = {"values": manifest["values"], "sha256": key, "folder": str(target)}
    with store.transaction() as tx:
        made = {"id": key, "folder": str(target), "manifest": manifest}
        tx.connection.execute(sa.insert(tables.archives).values(**made, written_at=tx.clock(), written_by=by))
        tx.connection.execute(
            sa.insert(tables.archived), [{"evaluation": number, "archive": key} for number in numbers]
        )
        gone = 0
        for start in range(0, len(numbers), 500):
            some = numbers[start : start + 500]
            gone += tx.connection.execute(sa.delete(m).where(m.c.evaluation.in_(some))).rowcount
        if gone != manifest["values"]:
            raise Refused("The values changed while they were archived; nothing was removed. Archive again.")
        tx.log(Event(by, "results.archive", manifest["before"], "retention", details))
    return Archive(key, target, manifest["values"], len(numbers))


def _schema() -> pa.Schema:
    import pyarrow as pa

    words, number, count = pa.dictionary(pa.int32(), pa.string()), pa.float64(), pa.int64()
    kinds = {
        "day": pa.date32(),
        "evaluator_version": pa.int32(),
        "value": number,
        "low": number,
        "high": number,
    }
    kinds |= {"n": count, "finished_at": pa.timestamp("us", "UTC")}
    return pa.schema([(name, kinds.get(name, words)) for name in COLUMNS])


def _durable(file: Path, content: bytes) -> None:
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
