"""`ndl dataset` and `ndl wave`: bring in data, look at what is there, try out a card."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sandbox.api import Sandbox
from sandbox.catalogue.generate_cli import generate

if TYPE_CHECKING:
    from sandbox.catalogue.card import Card, WaveSource

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def dataset() -> None:
    """Datasets and their cards."""


@click.group()
def wave() -> None:
    """Waves: dated slices of held-out records."""


dataset.add_command(generate)


@dataset.command("add")
@click.argument("folder", type=_FOLDER)
@click.pass_obj
def add_dataset(box: Sandbox, folder: Path) -> None:
    """Bring in the dataset described by FOLDER/card.json."""
    from sandbox.catalogue.intake import add_dataset, card_of
    from sandbox.catalogue.tables import plain
    from sandbox.records import Wave

    since = box.store.change_number()
    with box.console.status("Checking the card and the records"):
        added = add_dataset(box.store, box.settings, folder, box.person)
    first = box.store.get(Wave, f"{added.name}/{card_of(added).training.wave}")
    box.console.print(f"{added.title} ({added.name}) is here.", soft_wrap=True)
    rows = [
        ("Training side", f"{added.training_rows:,} records of {added.training_units:,} units"),
        (f"First wave {first.name}", f"{first.rows:,} records of {first.units:,} units"),
        ("Split", "by a keyed hash of the unit; no unit is on both sides"),
    ]
    box.console.print(plain(rows))
    _print_budget_notes(box, card_of(added), first.name, since)


@dataset.command("list")
@click.pass_obj
def list_datasets(box: Sandbox) -> None:
    """The datasets that are here."""
    from sandbox.catalogue.tables import datasets_table
    from sandbox.records import Dataset, Wave

    found = box.store.all(Dataset)
    if not found:
        box.console.print("No dataset is here yet. Bring one in with: ndl dataset add FOLDER")
        return
    box.console.print(datasets_table(found, box.store.all(Wave)))


@dataset.command("show")
@click.argument("name")
@click.pass_obj
def show_dataset(box: Sandbox, name: str) -> None:
    """What the card of a dataset (a NAME, or a folder) says."""
    from sandbox.catalogue.tables import card_tables

    for part in card_tables(_card(box, name)):
        box.console.print(part)


@dataset.command("check")
@click.argument("folder", type=_FOLDER)
@click.pass_obj
def check_dataset(box: Sandbox, folder: Path) -> None:
    """Check a card, its Croissant and its files, without bringing anything in."""
    from sandbox.catalogue.check import check_card

    with box.console.status("Checking the card and the records"):
        card = check_card(folder)
    counted = f"{len(card.columns)} columns, {len(card.tasks)} tasks, {len(card.waves)} later waves"
    box.console.print(f"The card of {card.name} is sound ({counted}).", soft_wrap=True)


@dataset.command("dummy")
@click.argument("name")
@click.option("--rows", type=click.IntRange(1, 10_000_000), default=1000, show_default=True)
@click.option(
    "--out", "folder", type=_FOLDER, default=Path("."), show_default=True, help="Folder to write to."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same records.")
@click.pass_obj
def dummy(box: Sandbox, name: str, rows: int, folder: Path, seed: int) -> None:
    """Make dummy records from the card of NAME (or a folder), reading no record."""
    from sandbox.catalogue.dummy import write_dummy

    file = write_dummy(_card(box, name), rows, folder, seed)
    box.console.print(f"Wrote {rows:,} dummy records to {file}", soft_wrap=True)
    box.console.print("They say nothing about real records: only the card was read.")


@wave.command("add")
@click.argument("dataset")
@click.argument("file", type=_FILE)
@click.option("--name", default="", help="Such as 2017-07; else as the card or the file is called.")
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="The last day it covers; else as the card says."
)
@click.pass_obj
def add_wave(box: Sandbox, dataset: str, file: Path, name: str, day: datetime | None) -> None:
    """Bring in the records in FILE as a wave of DATASET; bad ones are put aside whole."""
    from sandbox.catalogue.intake import add_wave
    from sandbox.catalogue.waves import lines_of

    source = _announced(_card(box, dataset), file)
    chosen: date | None = day.date() if day else source.day if source else None
    if chosen is None:
        raise click.UsageError("The card does not announce this file: say its day with --day YYYY-MM-DD.")
    name = name or (source.name if source else file.stem.lower())
    since = box.store.change_number()
    with box.console.status("Checking the records"):
        added = add_wave(box.store, box.settings, dataset, file, name, chosen, box.person)
    counted = f"{added.rows:,} records of {added.units:,} units"
    box.console.print(f"The wave {added.id} is accepted: {counted}.", soft_wrap=True)
    for line in lines_of(added.report["notes"]):
        box.console.print(f"  note: {line}", soft_wrap=True, markup=False)
    _print_budget_notes(box, _card(box, added.dataset), added.name, since)


@wave.command("list")
@click.argument("dataset")
@click.pass_obj
def list_waves(box: Sandbox, dataset: str) -> None:
    """The waves of DATASET, oldest first."""
    from sandbox.catalogue.tables import waves_table
    from sandbox.records import Dataset, Wave

    found = box.store.all(Wave, dataset=box.store.get(Dataset, dataset).name)
    box.console.print(waves_table(sorted(found, key=lambda wave: (wave.day, wave.name))))


@wave.command("show")
@click.argument("wave_id", metavar="DATASET/WAVE")
@click.pass_obj
def show_wave(box: Sandbox, wave_id: str) -> None:
    """What the checks of a wave found: columns and counts."""
    from sandbox.catalogue.tables import report_tables
    from sandbox.records import Wave

    for part in report_tables(box.store.get(Wave, wave_id)):
        box.console.print(part)


def _card(box: Sandbox, name_or_folder: str) -> Card:
    from sandbox.catalogue.card import load_card
    from sandbox.catalogue.intake import card_of
    from sandbox.records import Dataset

    if Path(name_or_folder).is_dir():
        return load_card(Path(name_or_folder))
    return card_of(box.store.get(Dataset, name_or_folder))


def _print_budget_notes(box: Sandbox, card: Card, wave: str, since: int) -> None:
    from sandbox.catalogue.populations import budget_notes

    for line in budget_notes(box.store, card, wave, since):
        box.console.print(f"  note: {line}", soft_wrap=True, markup=False)


def _announced(card: Card, file: Path) -> WaveSource | None:
    return next((source for source in card.waves if source.file == file.name), None)
