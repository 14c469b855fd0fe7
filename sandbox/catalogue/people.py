"""How is a dataset of linked synthetic people made, at any size, with whatever goes wrong in it known?

Real data cannot give a known onset of drift, canaries or scale. Everything here is labelled synthetic:
the card, the metadata of each Parquet file and the custodian's name say so.

Label delay: a wave dated D holds the records whose outcome has become known by D, which are those seen
up to D minus the delay. Those seen since wait in `pending/<wave>.parquet`, outcomes empty, and come
again with their outcomes in a later wave.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sandbox.catalogue import document, people_card
from sandbox.catalogue.people_drift import Drift
from sandbox.catalogue.people_records import PEOPLE_PER_BLOCK, Chunk, canary_codes, records, schema
from sandbox.catalogue.people_subjects import SUBJECTS, Subject
from sandbox.errors import Invalid, NDLError, Problem

TRAINING_WAVE = "wave-00"
_CANARY_WAVE, _CANARY_COINS = 1_000_000, 4


@dataclass(frozen=True)
class PeoplePlan:
    """What to make. Raises Invalid with every problem.

    `rows` are in the training file, `wave_rows` in each of `waves` later waves, `days_between` days
    apart. Nobody has more than `max_rows_per_person` rows in one file. With `recurs`, later waves are
    about people of the training file; else about people never seen before. Of `canaries` candidates a
    fair coin plants about half in the training file; `canaries.json` says which.
    """

    subject: str = "health"
    seed: int = 1
    rows: int = 10_000
    waves: int = 4
    wave_rows: int = 5_000
    sites: int = 6
    recurs: bool = True
    max_rows_per_person: int = 4
    label_delay_days: int = 0
    canaries: int = 0
    drifts: tuple[Drift, ...] = ()
    first_day: date = date(2025, 1, 1)
    days_between: int = 30

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise Invalid("The plan of synthetic people", problems)

    @property
    def view(self) -> Subject:
        return SUBJECTS[self.subject]

    @cached_property
    def days(self) -> tuple[tuple[str, date], ...]:
        """The name and day of the training wave and of each later one."""
        return tuple(
            (f"wave-{number:02d}", self.first_day + timedelta(number * self.days_between))
            for number in range(self.waves + 1)
        )


def generate(folder: Path, plan: PeoplePlan) -> Path:
    """Writes the dataset of this plan as `folder` (card.json, Parquet, plan.json, canaries.json).

    The same plan gives the same bytes. Memory does not grow with the number of rows. Raises NDLError
    when the folder holds something else; on a failure nothing is left behind.
    """
    if folder.exists() and any(folder.iterdir()):
        raise NDLError(f"{folder} is not empty. Name a new folder for the synthetic people.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".people-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        with ExitStack() as open_files:
            pending = _Pending(made / "pending", plan, open_files)
            for wave, (name, _) in enumerate(plan.days):
                _write_wave(made / f"{name}.parquet", plan, wave, pending)
        _write_beside(made, plan)
        document.write(_card(plan, made), made)
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)
    return folder


def generate_linked(
    folder: Path, plan: PeoplePlan, subjects: tuple[str, ...] = tuple(SUBJECTS)
) -> list[Path]:
    """One dataset a custodian in `folder/<subject>`: the same people under the same identifiers.

    Their cards name the same population, so that they share one privacy budget.
    """
    return [generate(folder / name, replace(plan, subject=name)) for name in subjects]


def chunks(plan: PeoplePlan, wave: int) -> Iterator[Chunk]:
    """The chunks of a wave, 0 being the training file. No two of one wave are about the same person."""
    mean = (1 + plan.max_rows_per_person) / 2
    most = int(PEOPLE_PER_BLOCK * mean)
    in_training, in_wave = ceil(plan.rows / most), ceil(plan.wave_rows / most)
    rows = plan.wave_rows if wave else plan.rows
    before = 0 if wave == 0 else (wave - 1) * in_wave + (0 if plan.recurs else in_training)
    last = plan.days[wave][1] - timedelta(plan.label_delay_days)
    for number in range(ceil(rows / most)):
        here = min(most, rows - number * most)
        block = before + number
        yield Chunk(
            wave=wave,
            number=number,
            rows=here,
            block=block % max(in_training, in_wave) if plan.recurs else block,
            people=min(PEOPLE_PER_BLOCK, ceil(here / mean)),
            first_seen=last - timedelta(plan.days_between - 1),
            last_seen=last,
        )


def chunk_table(plan: PeoplePlan, chunk: Chunk) -> pa.Table:
    """The records of one chunk, made from the seed alone: any chunk can be had without the others."""
    table = records(plan.seed, plan.view, plan.sites, plan.max_rows_per_person, chunk, plan.drifts)
    if chunk.wave or chunk.number or not plan.canaries:
        return table
    canaries, planted = canary_table(plan)
    kept = pa.concat_tables([table.slice(0, table.num_rows - int(planted.sum())), canaries.filter(planted)])
    order = np.random.default_rng([plan.seed, _CANARY_COINS, 1]).permutation(kept.num_rows)
    return kept.take(pa.array(order))


def canary_table(plan: PeoplePlan) -> tuple[pa.Table, pa.Array]:
    """The candidates, and which of them are planted: rare values with an outcome tossed by a coin."""
    first = next(chunks(plan, 0))
    place = replace(first, wave=0, number=_CANARY_WAVE, rows=plan.canaries, people=plan.canaries)
    table = records(plan.seed, plan.view, plan.sites, 1, place)
    rng = np.random.default_rng([plan.seed, _CANARY_COINS, 0])
    values = {
        "person_id": canary_codes(plan.seed, plan.canaries),
        plan.view.measure.name: np.full(plan.canaries, plan.view.measure.high),
        plan.view.reading.name: np.full(plan.canaries, plan.view.reading.low),
        plan.view.event: rng.random(plan.canaries) < 0.5,
    }
    for name, value in values.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(value, table.schema.field(at).type))
    return table, pa.array(rng.random(plan.canaries) < 0.5)


class _Pending:
    """Writes the records already seen at a wave's day whose outcome is known only later."""

    def __init__(self, folder: Path, plan: PeoplePlan, files: ExitStack) -> None:
        self._folder, self._plan, self._files = folder, plan, files
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, table: pa.Table, wave: int) -> None:
        for name, day in self._plan.days[:wave] if self._plan.label_delay_days else ():
            waiting = table.filter(pc.less_equal(table["seen"], pa.scalar(day)))
            if waiting.num_rows:
                self._writer(name).write_table(self._without_outcomes(waiting))

    def _without_outcomes(self, table: pa.Table) -> pa.Table:
        view = self._plan.view
        for outcome in (view.amount.name, view.band, view.event):
            at = table.schema.get_field_index(outcome)
            field = table.schema.field(at)
            table = table.set_column(at, field, pa.nulls(table.num_rows, field.type))
        return table

    def _writer(self, name: str) -> pq.ParquetWriter:
        if name not in self._writers:
            self._folder.mkdir(exist_ok=True)
            writer = _open(self._folder / f"{name}.parquet", self._plan)
            self._writers[name] = self._files.enter_context(writer)
        return self._writers[name]


def _open(path: Path, plan: PeoplePlan) -> pq.ParquetWriter:
    writer = pq.ParquetWriter(path, schema(plan.view), compression="zstd", store_schema=False)
    writer.add_key_value_metadata({"ndl:synthetic": "true"})
    return writer


def _write_wave(path: Path, plan: PeoplePlan, wave: int, pending: _Pending) -> None:
    with _open(path, plan) as file:
        for chunk in chunks(plan, wave):
            table = chunk_table(plan, chunk)
            file.write_table(table)
            pending.add(table, wave)


def _write_beside(folder: Path, plan: PeoplePlan) -> None:
    """The plan (what drifts, and from which wave on) and the canaries, for whoever marks the answers."""
    asked = {"synthetic": True, **asdict(plan), "first_day": str(plan.first_day)}
    (folder / "plan.json").write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
    if not plan.canaries:
        return
    table, planted = canary_table(plan)
    listed = [
        {"person_id": row["person_id"], "planted": was, "record": row}
        for row, was in zip(table.to_pylist(), planted.to_pylist(), strict=True)
    ]
    whole = {"synthetic": True, "file": f"{TRAINING_WAVE}.parquet", "canaries": listed}
    (folder / "canaries.json").write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")


def _card(plan: PeoplePlan, folder: Path) -> document.Json:
    training, *waves = plan.days
    blocks = {(c.block, c.people) for c in chunks(plan, 0)}
    section = people_card.section(
        plan.view,
        seed=plan.seed,
        sites=plan.sites,
        recurs=plan.recurs,
        most=plan.max_rows_per_person,
        people=sum(people for _, people in blocks),
        label_delay_days=plan.label_delay_days,
        training=training,
        waves=waves,
    )
    return document.document(people_card.head(plan.view, plan.seed), section, folder)


def _problems(plan: PeoplePlan) -> Iterator[Problem]:
    if plan.subject not in SUBJECTS:
        yield Problem("subject", f"not one of {', '.join(SUBJECTS)}", "Name one of them.")
    limits = {
        "seed": (0, 2**63 - 1), "rows": (100, 100_000_000), "waves": (0, 99), "wave_rows": (10, 100_000_000),
        "sites": (1, 99), "max_rows_per_person": (1, 20), "label_delay_days": (0, 366),
        "canaries": (0, min(plan.rows // 2, 10_000)), "days_between": (1, 366),
    }  # fmt: skip
    for name, (least, most) in limits.items():
        if not least <= getattr(plan, name) <= most:
            yield Problem(name, f"not from {least:,} to {most:,}", "Choose a number in between.")
    for position, drift in enumerate(plan.drifts):
        where = f"drifts.{position}"
        if drift.problem:
            yield Problem(where, drift.problem, "See sandbox/catalogue/people_drift.py.")
        elif drift.onset > plan.waves:
            yield Problem(where, f"begins after the last wave ({plan.waves})", "Begin it earlier.")
