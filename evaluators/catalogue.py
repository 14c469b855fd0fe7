"""Which evaluators are there? The built-in ones, and those that other packages offer.

A package adds its own by an entry point: group `ndl.evaluators`, value `package.module`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from evaluators.base import Evaluator, registered

BUILT_IN = ("discrimination", "calibration", "fairness", "drift")


@cache
def all_evaluators() -> tuple[Evaluator, ...]:
    """Every evaluator, in a fixed order: built-in modules first, then by entry point name."""
    for module in BUILT_IN:
        import_module(f"evaluators.{module}")
    for point in sorted(entry_points(group="ndl.evaluators"), key=lambda p: p.name):
        point.load()
    return tuple(registered().values())


def evaluators_for(kind: str) -> tuple[Evaluator, ...]:
    """The evaluators that can judge this kind of task: binary, multiclass or regression."""
    return tuple(e for e in all_evaluators() if kind in e.kinds)
