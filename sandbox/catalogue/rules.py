"""Does a card hold together? Rules that tie its fields to each other, all applied, all reported."""

from __future__ import annotations

import copy
import json
import keyword
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from sandbox.catalogue.card import SECTION, Card, Column, Json, Task
from sandbox.errors import Invalid, Problem
from sandbox.settings import problems_of

RESERVED_CATEGORIES = ("unknown", "missing")
_NEEDS: dict[str, tuple[str, ...]] = {
    "number": ("minimum", "maximum"),
    "date": ("minimum", "maximum"),
    "category": ("categories",),
    "image": ("shape", "minimum", "maximum"),
    "sequence": ("length", "minimum", "maximum"),
    "text": ("length",),
    "boolean": (),
    "identifier": (),
}
_BY_KIND = ("minimum", "maximum", "categories", "shape", "length")
_GUARANTEE = {"epsilon": 1.0, "delta": 0.5}
_BLANK: Json = {
    "name": "blank", "population": "blank", "unit": "", "unit_means": "-", "licence": "-", "attribution": "-",
    "custodian": {"name": "-", "contact": "-"}, "purposes": ["-"], "columns": {"x": {"kind": "boolean"}},
    "tasks": {"x": {"kind": "binary", "target": "x", "question": "-"}},
    "training": {"file": "", "wave": "blank", "day": "2000-01-01", "held_out_share": 0.5},
    "budget": {"training": _GUARANTEE, "held_out": _GUARANTEE},
}  # fmt: skip
_TODO = {
    "literal_error": "Choose one of these.",
    "bool_type": "Write true or false, without quotation marks.",
    "string_type": "Put it in quotation marks.",
    "date_from_datetime_parsing": "Write it as YYYY-MM-DD.",
    "date_parsing": "Write it as YYYY-MM-DD.",
    "date_type": "Write it as YYYY-MM-DD.",
    "string_too_short": "Fill it in.",
    "too_short": "Fill it in.",
}
_PLAIN = {
    "string_too_short": "empty",
    "string_pattern_mismatch": "not a name we can use",
    "date_from_datetime_parsing": "not a date",
    "date_parsing": "not a date",
    "date_type": "not a date",
    "finite_number": "not a finite number",
    "too_short": "empty",
}
_NAME_TODO = "Use lower-case letters, digits and _ (names of waves may have - and . too)."

Rule = Callable[[Card, frozenset[str]], Iterator[Problem]]
_RULES: list[tuple[frozenset[str], Rule]] = []


def parse(document: Json) -> Card:
    """The card in this document; raises Invalid naming every wrong field, shape and cross-field alike.

    A field of the wrong shape is set aside and the rules that do not need it still run, so that
    nobody mends one field only to be told of the next.
    """
    subject = "The dataset card"
    section = document.get(SECTION)
    problems = _document_problems(document)
    if not isinstance(section, dict):
        missing = Problem(SECTION, "missing", "Add the section that describes the data to the sandbox.")
        raise Invalid(subject, [*problems, missing])
    if isinstance(section.get("name"), str) and section["name"]:
        subject = f"The dataset card {section['name']!r}"
    columns = section.get("columns")
    known = frozenset(columns) if isinstance(columns, dict) else frozenset()
    card, broken, wrong = _validated(section)
    problems += wrong
    for needs, rule in _RULES:
        if card is not None and not needs & broken:
            problems += rule(card, known)
    if problems or card is None:
        raise Invalid(subject, problems)
    return card


def rule(*needs: str) -> Callable[[Rule], Rule]:
    """Registers a rule that is skipped when one of these fields is itself wrong."""

    def register(function: Rule) -> Rule:
        _RULES.append((frozenset(needs), function))
        return function

    return register


@rule("columns")
def _names(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    for name in sorted(known):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
            yield Problem(
                f"columns.{name}", "not a column name we can use", "Use letters, digits and _, from a letter."
            )
        elif name.startswith("ndl_") or name in ("numbers", "categories"):
            yield Problem(f"columns.{name}", "a name the sandbox keeps for itself", "Rename the column.")


@rule("columns")
def _columns(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    for name, column in card.columns.items():
        for problem in _column(column):
            yield Problem(f"columns.{name}.{problem.where}", problem.what, problem.todo)


@rule("columns", "unit")
def _unit(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    yield from _exists("unit", card.unit, known)
    column = card.columns.get(card.unit)
    if column and column.kind != "identifier":
        todo = 'Name the column that says whose record it is, and give it "kind": "identifier".'
        yield Problem("unit", f"{card.unit} is a {column.kind}, not an identifier", todo)
    elif column and column.missing:
        yield Problem(f"columns.{card.unit}.missing", "the unit may never be missing", "Set it to false.")


@rule("columns", "site")
def _site(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    if card.site is None:
        return
    yield from _exists("site", card.site, known)
    column = card.columns.get(card.site)
    if column and column.kind != "category":
        yield Problem("site", f"{card.site} is a {column.kind}, not a category", "Name a category or null.")


@rule("columns", "weight")
def _weight(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    if card.weight is None:
        return
    yield from _exists("weight", card.weight, known)
    column = card.columns.get(card.weight)
    if column and (column.kind != "number" or _negative(column.minimum)):
        yield Problem("weight", f"{card.weight} is not a number of at least 0", "Name such a column or null.")


@rule("columns", "forbidden")
def _forbidden(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    for name in card.forbidden:
        yield from _exists("forbidden", name, known)
    yield from _repeated("forbidden", card.forbidden)


@rule("purposes")
def _purposes(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    yield from _repeated("purposes", card.purposes)


@rule("columns", "tasks", "forbidden", "unit", "weight")
def _tasks(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    for name, task in card.tasks.items():
        where = f"tasks.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield Problem(where, "not a name we can use", _NAME_TODO)
        yield from _exists(f"{where}.target", task.target, known)
        if task.target in card.forbidden:
            todo = "Take it out of one of the two."
            yield Problem(f"{where}.target", f"{task.target} is among the forbidden columns", todo)
        if task.target in card.columns:
            yield from _target(where, task, card.columns[task.target])
        yield from _features(where, name, card, known)


@rule("training", "waves")
def _waves(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    yield from _file("training.file", card.training.file)
    taken = {card.training.wave}
    for position, wave in enumerate(card.waves):
        where = f"waves.{position}"
        yield from _file(f"{where}.file", wave.file)
        if wave.name in taken:
            yield Problem(f"{where}.name", f"{wave.name} is used twice", "Give every wave its own name.")
        if wave.day < card.training.day:
            what = f"{wave.day} is before the training data's {card.training.day}"
            yield Problem(f"{where}.day", what, "A wave comes after the training data.")
        taken.add(wave.name)


def _column(column: Column) -> Iterator[Problem]:
    needs = _NEEDS[column.kind]
    for field in _BY_KIND:
        given = getattr(column, field) not in (None, ())
        if field in needs and not given:
            yield Problem(field, "missing", f"A {column.kind} column needs it.")
        elif given and field not in needs:
            yield Problem(field, f"means nothing for a {column.kind} column", "Remove it.")
    yield from _bounds(column)
    if column.kind == "category":
        yield from _categories(column)
    elif column.open:
        yield Problem("open", f"means nothing for a {column.kind} column", "Remove it.")
    if column.kind == "identifier" and column.feature:
        yield Problem("feature", "an identifier is never a feature", "Set it to false.")
    if column.kind == "image" and column.shape and len(column.shape) not in (2, 3):
        yield Problem("shape", "an image has 2 or 3 sides", "Write [channels, height, width].")


def _bounds(column: Column) -> Iterator[Problem]:
    if "minimum" not in _NEEDS[column.kind]:
        return
    dates = column.kind == "date"
    for field in ("minimum", "maximum"):
        value = getattr(column, field)
        if value is not None and isinstance(value, date) != dates:
            todo = "Write a date as YYYY-MM-DD." if dates else "Write a number."
            yield Problem(field, f"not the bound of a {column.kind} column", todo)
            return
        if isinstance(value, float) and not abs(value) < float("inf"):
            yield Problem(field, "not a finite number", "Write the bound that everybody may know.")
            return
    if None not in (column.minimum, column.maximum):
        low, high = column.bounds
        if low >= high:
            todo = "Put the smaller bound in minimum and the larger in maximum."
            yield Problem("minimum", "not below maximum", todo)


def _categories(column: Column) -> Iterator[Problem]:
    yield from _repeated("categories", column.categories)
    if any(not category.strip() for category in column.categories):
        yield Problem("categories", "one is blank", 'Remove it; "missing": true allows absent values.')
    for word in RESERVED_CATEGORIES:
        if word in column.categories:
            todo = "Write it another way, such as with a capital letter."
            yield Problem("categories", f"{word!r} is a word the sandbox keeps for itself", todo)


def _target(where: str, task: Task, column: Column) -> Iterator[Problem]:
    fits = {"binary": ("boolean", "category"), "multiclass": ("category",), "regression": ("number",)}
    if column.kind not in fits[task.kind]:
        todo = f"The target of a {task.kind} task is a {' or a '.join(fits[task.kind])} column."
        yield Problem(f"{where}.kind", f"{task.target} is a {column.kind} column", todo)
        return
    if column.missing or column.open:
        field = "missing" if column.missing else "open"
        yield Problem(f"columns.{task.target}.{field}", "a target cannot be", "Leave such rows out.")
    count = len(column.categories)
    if task.kind == "binary" and column.kind == "category" and count != 2:
        todo = "Name a target with two categories, or make the task multiclass."
        yield Problem(f"{where}.kind", f"{task.target} has {count} categories, not 2", todo)
    if task.kind == "multiclass" and count < 2:
        yield Problem(f"{where}.kind", f"{task.target} has fewer than 2 categories", "Name another target.")
    if task.classes is not None and (column.kind != "category" or task.kind == "regression"):
        yield Problem(f"{where}.classes", f"mean nothing for a {column.kind} target", "Remove them.")
    elif task.classes is not None and sorted(task.classes) != sorted(column.categories):
        todo = "List the same ones, in the order you want, or leave classes out."
        yield Problem(f"{where}.classes", f"not the categories of {task.target}", todo)


def _features(where: str, name: str, card: Card, known: frozenset[str]) -> Iterator[Problem]:
    task = card.tasks[name]
    for feature in task.features or ():
        yield from _exists(f"{where}.features", feature, known)
        barred = ""
        if feature == task.target:
            barred = "the target"
        elif feature in card.forbidden:
            barred = "forbidden: it gives the answer away"
        elif feature == card.unit:
            barred = "the unit"
        elif feature == card.weight:
            barred = "the weight"
        elif feature in card.columns and not card.columns[feature].feature:
            barred = 'marked "feature": false'
        if barred:
            yield Problem(f"{where}.features", f"{feature} is {barred}", "Take it out.")
    yield from _repeated(f"{where}.features", task.features or ())
    if set(card.columns) == known and not card.features(name):
        yield Problem(f"{where}.features", "none is left", "A model needs at least one column to read.")


def _file(where: str, file: str) -> Iterator[Problem]:
    path = PurePosixPath(file)
    if path.suffix != ".parquet" or path.is_absolute() or ".." in path.parts or "\\" in file:
        yield Problem(where, "not a Parquet file in the card's folder", "Name one, such as 2016-07.parquet.")


def _exists(where: str, name: str, known: frozenset[str]) -> Iterator[Problem]:
    if name not in known:
        yield Problem(where, f"{name or 'an empty name'} is not among the columns", "Check its spelling.")


def _repeated(where: str, values: Iterable[str]) -> Iterator[Problem]:
    listed = list(values)
    for value in sorted({value for value in listed if listed.count(value) > 1}):
        yield Problem(where, f"{value!r} is listed twice", "Keep one.")


def _negative(bound: float | date | None) -> bool:
    return isinstance(bound, float) and bound < 0


def _document_problems(document: Json) -> list[Problem]:
    if isinstance(document.get("name"), str) and document["name"].strip():
        return []
    return [Problem("name", "missing", "Add the dataset's title at the top of the document.")]


def _validated(section: Json) -> tuple[Card | None, frozenset[str], list[Problem]]:
    """The card, with blanks for fields of the wrong shape; which those are; and what is wrong with them."""
    try:
        return _strictly(section), frozenset(), []
    except ValidationError as error:
        problems = [_plainly(p, e["type"]) for p, e in zip(problems_of(error), error.errors(), strict=True)]
        mended, broken = _mended(section, [item["loc"] for item in error.errors()])
    try:
        return _strictly(mended), broken, problems
    except ValidationError:
        return None, broken, problems


def _strictly(section: Json) -> Card:
    return Card.model_validate_json(json.dumps(section), strict=True)


def _mended(section: Json, places: Iterable[tuple[Any, ...]]) -> tuple[Json, frozenset[str]]:
    mended, broken = copy.deepcopy(section), set()
    for top, *rest in places:
        if top in ("columns", "tasks") and rest:
            mended[top].pop(rest[0], None)
        else:
            broken.add(str(top))
            mended.pop(top, None)
    for field in ("columns", "tasks"):
        if not mended.get(field):
            broken.add(field)
    for field in broken:
        if field in _BLANK:
            mended[field] = _BLANK[field]
    return mended, frozenset(broken)


def _plainly(problem: Problem, kind: str) -> Problem:
    what, todo = _PLAIN.get(kind, problem.what), problem.todo or _TODO.get(kind, "")
    if kind == "string_pattern_mismatch":
        is_name = problem.where.rsplit(".", 1)[-1] in ("name", "population", "wave")
        what, todo = (what, _NAME_TODO) if is_name else ("blank", "Fill it in.")
    return Problem(problem.where, what, todo)
