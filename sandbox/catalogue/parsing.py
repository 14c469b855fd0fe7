"""What card does a document hold? Its shape, then its rules; every problem at once."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from sandbox.catalogue.card import SECTION, Card, Json
from sandbox.catalogue.rules import NAME_TODO, RULES
from sandbox.errors import Invalid, Problem
from sandbox.settings import problems_of

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
    for needs, rule in RULES:
        if card is not None and not needs & broken:
            problems += rule(card, known)
    if problems or card is None:
        raise Invalid(subject, problems)
    return card


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
        what, todo = (what, NAME_TODO) if is_name else ("blank", "Fill it in.")
    return Problem(problem.where, what, todo)
