"""May a delivered wave be evaluated? Judged whole, before any model sees it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sandbox.catalogue import vectors
from sandbox.catalogue.card import Card, Json
from sandbox.catalogue.check import read_parquet
from sandbox.catalogue.inspection import Fault, inspect, is_dummy
from sandbox.catalogue.split import held_out
from sandbox.errors import Invalid, Refused
from sandbox.records import Event, Wave

FORMAT = "ndl-wave-report/1"


@dataclass(frozen=True)
class Judgement:
    """The records that may be evaluated (none when there are faults), and the report."""

    kept: pa.Table | None
    report: Json


def judge(
    card: Card, file: Path, key: bytes, earlier: Iterable[pa.ChunkedArray], same_as: str = "",
    elsewhere: Iterable[pa.ChunkedArray] = (),
) -> Judgement:  # fmt: skip
    """Judges one delivered file.

    `key` is the split key, `earlier` the units of the training side and of each earlier wave,
    `same_as` the name of a wave that was this very file, `elsewhere` the units that other datasets of
    the population have in another pool. Where units recur, records of units on the
    training side are set aside; where they do not, a unit seen earlier is a fault. Raises Refused for
    dummy data: that is a mix-up, no wave.
    """
    try:
        table = read_parquet(file)
    except Invalid:
        return Judgement(None, report_of(0, 0, [Fault("", "cannot be read as Parquet")]))
    if is_dummy(table.schema):
        raise Refused("This file is marked as dummy data. Only real records can be a wave.")
    found = inspect(card, table)
    faults, notes = list(found.faults), list(found.notes)
    if same_as:
        faults.append(Fault("", f"is the same as that of the wave {same_as}"))
    if any(fault.column == card.unit for fault in faults) or not table.num_rows:
        return Judgement(None, report_of(found.rows, found.units, faults, notes))
    kept, units = table, vectors.words(table.column(card.unit))
    if card.recurs:
        mine = held_out(units, key, card.training.held_out_share)
        kept, units = table.filter(pa.array(mine)), units.filter(pa.array(mine))
        if set_aside := table.num_rows - kept.num_rows:
            notes.append(Fault(card.unit, "a unit on the training side, so it is set aside,", set_aside))
        if not kept.num_rows:
            faults.append(Fault("", "holds only units on the training side"))
    else:
        if again := _seen(units, earlier):
            faults.append(Fault(card.unit, "a unit that training or an earlier wave already has", again))
        if again := _seen(units, elsewhere):
            what = "a unit that another dataset of this population trains on or has in a wave of another name"
            faults.append(Fault(card.unit, what, again))
    report = report_of(found.rows, found.units, faults, notes)
    return Judgement(None if faults else kept.select(list(card.columns)), report)


def report_of(rows: int, units: int, faults: Iterable[Fault] = (), notes: Iterable[Fault] = ()) -> Json:
    """A report as JSON: columns, words and counts only."""
    return {
        "format": FORMAT,
        "rows": rows,
        "units": units,
        "faults": [fault.to_json() for fault in faults],
        "notes": [note.to_json() for note in notes],
    }


def lines_of(entries: Iterable[dict[str, Any]]) -> list[str]:
    """A report's faults or notes in plain words."""
    return [str(Fault(entry["column"], entry["what"], entry["count"])) for entry in entries]


def in_words(wave: str, report: Json) -> str:
    """What a person reads when a wave is put aside."""
    faults = lines_of(report["faults"])
    failed = f"{len(faults)} check{'' if len(faults) == 1 else 's'}"
    head = f"The wave {wave} failed {failed} and is put aside whole; no model was evaluated on it."
    todo = "Ask whoever made the file, then deliver the mended one under the same name."
    return "\n".join([head, *(f"  - {line}" for line in faults), todo])


def event_of(wave: Wave, by: str) -> Event:
    """The audit event of a wave that came in or was put aside."""
    details = {"delivered": wave.report["delivered"], "rows": wave.rows, "faults": len(wave.report["faults"])}
    return Event(by, f"wave {wave.state}", wave.id, details=details)


def _seen(units: pa.Array, earlier: Iterable[pa.ChunkedArray]) -> int:
    seen = [vectors.words(column) for column in earlier]
    if not seen:
        return 0
    return int(pc.sum(pc.is_in(units, value_set=pa.concat_arrays(seen))).as_py() or 0)
