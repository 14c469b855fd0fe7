"""How does a dataset come in? Checked, split once by unit, stored whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa

from sandbox.catalogue import files, populations, waves
from sandbox.catalogue.card import Card
from sandbox.catalogue.check import check_card, read_parquet
from sandbox.catalogue.populations import Sisters
from sandbox.catalogue.split import held_out, split_key
from sandbox.catalogue.vectors import unit_count
from sandbox.errors import Invalid, Problem, Refused
from sandbox.lifecycle import WaveState
from sandbox.records import Dataset, Event, Wave
from sandbox.roles import Person, Role
from sandbox.settings import Settings
from sandbox.storage import Store, Transaction

_TRAINING = "training.parquet"


def add_dataset(store: Store, settings: Settings, folder: Path, person: Person) -> Dataset:
    """Brings in a dataset: splits its training file once and stores both sides.

    The same card again returns the stored dataset; another under the same name is Refused. Raises
    Invalid with every problem of the card or of the training records, and where either contradicts a
    dataset of the same population that is here (see `populations`).
    """
    person.must_be(Role.CUSTODIAN, to="bring in a dataset")
    card = check_card(folder)
    if stored := _same_dataset(store.all(Dataset, name=card.name), card):
        return stored
    known = populations.sisters(store, card)
    _must_agree(card, known)
    key = split_key(settings.storage.folder.absolute(), card.population)
    with files.workplace(settings) as work:
        dataset, wave = _split(store, settings, card, folder, key, person, work)
        _must_be_apart(card, work, known)
        with store.transaction() as change:
            if stored := _same_dataset(change.all(Dataset, name=card.name), card):
                return stored
            if (now := populations.sisters(change, card)) != known:  # another came in meanwhile
                _must_agree(card, now)
                _must_be_apart(card, work, now)
            place = files.data_folder(settings, card.name)
            shutil.rmtree(place, ignore_errors=True)  # left by a crash: the store knows no such dataset
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / card.name, place)
            _record_dataset(change, card, dataset, wave, person)
    return dataset


def _same_dataset(found: list[Dataset], card: Card) -> Dataset | None:
    if found and found[0].card_digest != card.digest:
        raise Refused(
            f"A dataset called {card.name!r} is here with another card. A dataset never changes: "
            "add later data as waves, or bring this in under a new name."
        )
    return found[0] if found else None


def _must_agree(card: Card, known: Sisters) -> None:
    if problems := list(populations.disagreements(card, known)):
        raise Invalid(f"The dataset card {card.name!r}", problems)


def _must_be_apart(card: Card, work: Path, known: Sisters) -> None:
    training, first = (files.units_in(work / card.name / f, card.unit) for f in (_TRAINING, _first(card)))
    if problems := list(populations.overlaps(card, training, first, known)):
        raise Invalid(f"The dataset card {card.name!r}", problems)


def _first(card: Card) -> str:
    return f"waves/{card.training.wave}.parquet"


def _split(
    store: Store, settings: Settings, card: Card, folder: Path, key: bytes, person: Person, work: Path
) -> tuple[Dataset, Wave]:
    """Writes both sides under `work` and returns the records that describe them in their final place."""
    table = read_parquet(folder / card.training.file).select(list(card.columns))
    mask = held_out(table.column(card.unit), key, card.training.held_out_share)
    sides = {"training": table.filter(pa.array(~mask)), "held-out": table.filter(pa.array(mask))}
    if empty := [side for side, records in sides.items() if not records.num_rows]:
        todo = "Bring in more units, or change held_out_share."
        raise Invalid(card.training.file, [Problem(side, "no unit is on this side", todo) for side in empty])
    new, place = work / card.name, files.data_folder(settings, card.name)
    new.mkdir()
    shutil.copyfile(folder / "card.json", new / "card.json")
    training, first = _TRAINING, _first(card)
    training_digest = files.write_parquet(sides["training"], new / training)
    digest = files.write_parquet(sides["held-out"], new / first)
    now, rows = store.clock(), sides["held-out"].num_rows
    units = {side: unit_count(records.column(card.unit)) for side, records in sides.items()}
    report = {**waves.report_of(rows, units["held-out"]), "delivered": digest}
    dataset = Dataset(
        name=card.name, title=card.title, population=card.population, card=card.document,
        card_digest=card.digest, training_path=str(place / training),
        training_rows=sides["training"].num_rows, training_units=units["training"],
        training_digest=training_digest, added_at=now, added_by=person.name,
    )  # fmt: skip
    wave = Wave(
        id=f"{card.name}/{card.training.wave}", dataset=card.name, name=card.training.wave,
        day=card.training.day, rows=rows, units=units["held-out"], digest=digest, path=str(place / first),
        state=WaveState.ACCEPTED, report=report, arrived_at=now, added_by=person.name,
    )  # fmt: skip
    return dataset, wave


def _record_dataset(change: Transaction, card: Card, dataset: Dataset, wave: Wave, person: Person) -> None:
    from sandbox.privacy.ledger import open_budgets, open_wave_budget

    details = {"card": card.digest, "training": dataset.training_digest, "units": dataset.training_units}
    change.add(dataset, Event(person.name, "dataset added", dataset.name, details=details))
    open_budgets(change, card, person.name)
    change.add(wave, waves.event_of(wave, person.name))
    open_wave_budget(change, card, wave.name, person.name)
