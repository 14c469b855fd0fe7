"""Is a dataset folder fit to be brought in? Card, Croissant and files, every problem at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.catalogue import card as cards
from sandbox.catalogue.card import Card, Json
from sandbox.catalogue.croissant import problems_of_document, published_files
from sandbox.catalogue.document import sha256_of
from sandbox.catalogue.inspection import inspect, is_dummy
from sandbox.errors import Invalid, NotFound, Problem


def check_card(folder: Path) -> Card:
    """The card of this folder, after checking it, as Croissant too, and the files it names.

    The training records must keep the card's promises; a later wave's are checked when it arrives.
    Raises NotFound without a card, else Invalid with every problem.
    """
    file = folder / "card.json"
    if not file.is_file():
        raise NotFound("dataset card", str(file))
    document = cards.read_document(file)
    subject, problems, card = f"The dataset folder {folder}", list[Problem](), None
    try:
        card = Card.from_json(document)
    except Invalid as invalid:
        problems += invalid.problems
    problems += [p for p in problems_of_document(document) if str(p) not in {str(q) for q in problems}]
    problems += _files(document, card, folder)
    if card and not problems:
        problems += _training(card, folder)
    if problems or card is None:
        raise Invalid(subject, problems)
    return card


def read_parquet(file: Path) -> pa.Table:
    """The whole file; raises Invalid when it is not Parquet. Never guesses columns from the path."""
    try:
        with pq.ParquetFile(file) as parquet:
            return parquet.read()
    except (pa.ArrowException, OSError):
        problem = Problem("file", "cannot be read as Parquet", "Write it again, for instance with pyarrow.")
        raise Invalid(str(file.name), [problem]) from None


def _files(document: Json, card: Card | None, folder: Path) -> Iterator[Problem]:
    published = published_files(document)
    for name, digest in published.items():
        where, path = f"distribution {name}", folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            yield Problem(where, "no such file in the card's folder", "Add the file, or remove the entry.")
        elif digest and sha256_of(path) != digest:
            todo = "Publish the file's own sha256, or bring back the file that was meant."
            yield Problem(where, "sha256 is not that of the file", todo)
    named = {"training.file": card.training.file} if card else {}
    named |= {f"waves.{i}.file": wave.file for i, wave in enumerate(card.waves)} if card else {}
    for where, name in named.items():
        if name not in published:
            todo = "Add it there, with its sha256."
            yield Problem(where, f"{name} is not in the document's distribution", todo)


def _training(card: Card, folder: Path) -> Iterator[Problem]:
    name = card.training.file
    try:
        table = read_parquet(folder / name)
    except Invalid as invalid:
        yield from (Problem(name, problem.what, problem.todo) for problem in invalid.problems)
        return
    if is_dummy(table.schema):
        yield Problem(name, "marked as dummy data", "Bring in real records, or a dataset made by generate.")
    for fault in inspect(card, table).faults:
        yield Problem(name, str(fault), "Mend the file, or say otherwise in the card.")
