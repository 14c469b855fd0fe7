"""Does a card hold together? Rules that tie its fields to each other."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import PurePosixPath

from sandbox.catalogue.card import Card, Column, Task
from sandbox.catalogue.column_rules import column_problems, repeated
from sandbox.errors import Problem

NAME_TODO = "Use lower-case letters, digits and _ (names of waves may have - and . too)."

Rule = Callable[[Card, frozenset[str]], Iterator[Problem]]
RULES: list[tuple[frozenset[str], Rule]] = []
"""Each rule with the fields it needs: it is skipped when one of them is itself of the wrong shape."""


def rule(*needs: str) -> Callable[[Rule], Rule]:
    """Registers a rule that is skipped when one of these fields is itself wrong."""

    def register(function: Rule) -> Rule:
        RULES.append((frozenset(needs), function))
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
        for problem in column_problems(column):
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
    elif column and column.missing:
        yield Problem(
            "weight", f"{card.weight} may be missing", "Let every record have a weight, or write null."
        )


@rule("columns", "forbidden")
def _forbidden(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    for name in card.forbidden:
        yield from _exists("forbidden", name, known)
    yield from repeated("forbidden", card.forbidden)


@rule("purposes")
def _purposes(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    yield from repeated("purposes", card.purposes)


@rule("columns", "tasks", "forbidden", "unit", "weight")
def _tasks(card: Card, known: frozenset[str]) -> Iterator[Problem]:
    for name, task in card.tasks.items():
        where = f"tasks.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield Problem(where, "not a name we can use", NAME_TODO)
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
    yield from repeated(f"{where}.features", task.features or ())
    if set(card.columns) == known and not card.features(name):
        yield Problem(f"{where}.features", "none is left", "A model needs at least one column to read.")


def _file(where: str, file: str) -> Iterator[Problem]:
    path = PurePosixPath(file)
    if path.suffix != ".parquet" or path.is_absolute() or ".." in path.parts or "\\" in file:
        yield Problem(where, "not a Parquet file in the card's folder", "Name one, such as 2016-07.parquet.")


def _exists(where: str, name: str, known: frozenset[str]) -> Iterator[Problem]:
    if name not in known:
        yield Problem(where, f"{name or 'an empty name'} is not among the columns", "Check its spelling.")


def _negative(bound: float | date | None) -> bool:
    return isinstance(bound, float) and bound < 0
