"""Which evaluators are there? Those of this folder's modules, and those that other packages offer.

A module here is found by its source: it has an `@evaluator` at the beginning of a line. A package adds its own
by an entry point: group `ndl.evaluators`, value `package.module`.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from evaluators.base import Evaluator, registered

_log = logging.getLogger(__name__)


@cache
def all_evaluators() -> tuple[Evaluator, ...]:
    """Every evaluator, by name. A package that cannot be loaded is logged, and lacks its own only."""
    for file in Path(__file__).parent.glob("*.py"):
        if "\n@evaluator(" in file.read_text():
            import_module(f"evaluators.{file.stem}")
    for point in entry_points(group="ndl.evaluators"):
        try:
            point.load()
        except Exception as error:
            _log.warning("the evaluators of %s could not be loaded: %s", point.name, type(error).__name__)
    return tuple(found for _, found in sorted(registered().items()))


def evaluators_for(kind: str) -> tuple[Evaluator, ...]:
    """The evaluators that can judge this kind of task: binary, multiclass or regression."""
    return tuple(e for e in all_evaluators() if kind in e.kinds)
