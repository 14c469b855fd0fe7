"""Which evaluators are there? Those of this folder's modules, and those that other packages offer.

A module here is found by its source: it has an `@evaluator` at the beginning of a line. A package adds its own
by an entry point: group `ndl.evaluators`, value `package.module`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from evaluators.base import Evaluator, registered


@cache
def all_evaluators() -> tuple[Evaluator, ...]:
    """Every evaluator, in a fixed order: built-in modules first, then by entry point name."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if "\n@evaluator(" in file.read_text():
            import_module(f"evaluators.{file.stem}")
    for point in sorted(entry_points(group="ndl.evaluators"), key=lambda p: p.name):
        point.load()
    return tuple(registered().values())


def evaluators_for(kind: str) -> tuple[Evaluator, ...]:
    """The evaluators that can judge this kind of task: binary, multiclass or regression."""
    return tuple(e for e in all_evaluators() if kind in e.kinds)
