"""How does a wave come in? Judged whole; accepted for every model, or put aside before any sees it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

import pyarrow as pa

from sandbox.catalogue import files, populations, waves
from sandbox.catalogue.card import Card
from sandbox.catalogue.document import sha256_of
from sandbox.catalogue.populations import Sisters
from sandbox.catalogue.split import split_key
from sandbox.catalogue.stored import card_of
from sandbox.catalogue.vectors import unit_count
from sandbox.errors import Invalid, NotFound, Problem, Quarantined, Refused
from sandbox.lifecycle import WaveState
from sandbox.records import Dataset, Wave
from sandbox.roles import Person, Role
from sandbox.settings import Settings
from sandbox.storage import Store, Transaction

Seen = tuple[Sisters, list[Wave]]
"""What a delivery was judged against: the population's other datasets, and this one's accepted waves."""


@dataclass(frozen=True)
class Delivery:
    """A file as it was delivered, copied so that it cannot change while it is judged."""

    card: Card
    name: str
    day: date
    file: Path
    digest: str

    @property
    def wave(self) -> str:
        return f"{self.card.name}/{self.name}"


def add_wave(
    store: Store, settings: Settings, dataset: str, file: Path, name: str, day: date, person: Person
) -> Wave:
    """Brings in one wave, or puts it aside whole and raises Quarantined with the report.

    The same file under the same name and day again returns the stored wave; another is Refused,
    unless the stored one is in quarantine: then the mended delivery takes its place.
    """
    person.must_be(Role.CUSTODIAN, to="bring in a wave")
    card = card_of(store.get(Dataset, dataset))
    _check_arguments(card, name, day)
    if not file.is_file():
        raise NotFound("wave file", str(file))
    with files.workplace(settings) as work:
        copy = Path(shutil.copyfile(file, work / "delivered.parquet"))
        delivery = Delivery(card, name, day, copy, sha256_of(copy))
        existing = next(iter(store.all(Wave, id=delivery.wave)), None)
        wave = existing if existing and _is_stored(existing, delivery) else None
        while wave is None:
            seen = populations.sisters(store, card), _accepted(store, card)
            judged = _judge(store, settings, delivery, seen)
            wave = _keep(store, settings, delivery, judged, existing, person.name, seen)
    if wave.state is WaveState.QUARANTINED:
        raise Quarantined(waves.in_words(wave.id, wave.report))
    return wave


def _check_arguments(card: Card, name: str, day: date) -> None:
    problems = []
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        what = "not a wave name we can use"
        problems.append(Problem("name", what, "Use lower-case letters, digits, -, _ and . such as 2017-07."))
    if day < card.training.day:
        what = f"{day} is before the training data's {card.training.day}"
        problems.append(Problem("day", what, "A wave comes after the training data."))
    if problems:
        raise Invalid(f"The wave {card.name}/{name}", problems)


def _is_stored(existing: Wave, delivery: Delivery) -> bool:
    """Whether this delivery is the stored wave; False for the mending of a quarantined one."""
    same_file = existing.report["delivered"] == delivery.digest
    if same_file and existing.day == delivery.day:
        return True
    if existing.state is WaveState.ACCEPTED:
        differs = "another day" if same_file else "other records"
        raise Refused(
            f"A wave {existing.id} is here with {differs}. A wave never changes: give this one another name."
        )
    return False


def _accepted(view: Store | Transaction, card: Card) -> list[Wave]:
    return view.all(Wave, dataset=card.name, state=WaveState.ACCEPTED)


def _judge(store: Store, settings: Settings, delivery: Delivery, seen: Seen) -> waves.Judgement:
    card, (sisters, accepted) = delivery.card, seen
    others = [w for w in store.all(Wave, dataset=card.name) if w.id != delivery.wave]
    twin = next((w.name for w in others if w.report["delivered"] == delivery.digest), "")
    earlier = _units_seen(store.get(Dataset, card.name), accepted, card.unit)
    key = split_key(settings.storage.folder.absolute(), card.population)
    return waves.judge(card, delivery.file, key, earlier, twin, sisters.apart_from_wave(delivery.name))


def _units_seen(dataset: Dataset, accepted: Iterable[Wave], unit: str) -> Iterator[pa.ChunkedArray]:
    yield files.units_in(Path(dataset.training_path), unit)
    for wave in accepted:
        yield files.units_in(Path(wave.path), unit)


def _keep(
    store: Store, settings: Settings, delivery: Delivery, judged: waves.Judgement, existing: Wave | None,
    by: str, seen: Seen,
) -> Wave | None:  # fmt: skip
    """Moves the file to where it stays, and stores the wave with its budget, in one transaction.

    None, with nothing done, where another wave or dataset of these people came in since it was judged.
    """
    from sandbox.privacy.ledger import open_wave_budget

    card, made = delivery.card, delivery.file
    if judged.kept is not None:
        made = delivery.file.with_name("kept.parquet")
        digest = files.write_parquet(judged.kept, made)
        place = files.data_folder(settings, card.name) / "waves" / f"{delivery.name}.parquet"
        rows, units = judged.kept.num_rows, unit_count(judged.kept.column(card.unit))
    else:
        digest, rows, units = delivery.digest, judged.report["rows"], judged.report["units"]
        place = files.quarantine_folder(settings, card.name) / f"{delivery.name}-{digest[:12]}.parquet"
    wave = Wave(
        id=delivery.wave, dataset=card.name, name=delivery.name, day=delivery.day, rows=rows, units=units,
        digest=digest, path=str(place),
        state=WaveState.QUARANTINED if judged.kept is None else WaveState.ACCEPTED,
        report={**judged.report, "delivered": delivery.digest}, arrived_at=store.clock(), added_by=by,
    )  # fmt: skip
    with store.transaction() as change:
        if change.all(Wave, id=wave.id) != ([existing] if existing else []):
            raise Refused(f"A wave {wave.id} came in while this one was judged. Look at it first.")
        if (populations.sisters(change, card), _accepted(change, card)) != seen:
            return None
        files.put(made, place)
        if existing:
            values = {f.name: getattr(wave, f.name) for f in fields(wave) if f.name != "id"}
            change.change(Wave, wave.id, waves.event_of(wave, by), **values)
        else:
            change.add(wave, waves.event_of(wave, by))
        if wave.state is WaveState.ACCEPTED:
            open_wave_budget(change, card, wave.name, by)
    return wave
