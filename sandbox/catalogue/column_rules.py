"""Does one column's description hold together? Its bounds, categories and sizes, by its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from sandbox.catalogue.card import Column
from sandbox.errors import Problem

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


def column_problems(column: Column) -> Iterator[Problem]:
    """Everything wrong with one column; `where` names the field."""
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
    if column.scale == "log" and column.kind != "number":
        yield Problem("scale", f"means nothing for a {column.kind} column", "Remove it.")
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
    yield from repeated("categories", column.categories)
    if any(not category.strip() for category in column.categories):
        yield Problem("categories", "one is blank", 'Remove it; "missing": true allows absent values.')
    for word in RESERVED_CATEGORIES:
        if word in column.categories:
            todo = "Write it another way, such as with a capital letter."
            yield Problem("categories", f"{word!r} is a word the sandbox keeps for itself", todo)


def repeated(where: str, values: Iterable[str]) -> Iterator[Problem]:
    """A problem for each value that is listed twice."""
    listed = list(values)
    for value in sorted({value for value in listed if listed.count(value) > 1}):
        yield Problem(where, f"{value!r} is listed twice", "Keep one.")
