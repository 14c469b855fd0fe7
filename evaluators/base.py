"""What is an evaluator? A named, versioned function from a tally to measurements.

    def sides(batch):                                   # tables of its own: of each scored batch
        at = (batch.said > 0.5).astype(int)
        return Tally({"sides": Table.count([Axis("side", ("low", "high"))], at)})

    @evaluator("my_measure", version=1, kinds={"binary"}, tables=sides)
    def my_measure(context):                            # and of the merged tables, the measurements
        low, high = context.tally["sides"].counts
        yield of("high", rate(high, low + high))

Without `tables` it reads those that evaluators.scoring lists. A package names its module in the entry point
group `ndl.evaluators`, and the harness, the pages and `ndl evaluate --list` find it; so with a module of this
folder. A new version is evaluated on every wave again, old waves included.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from evaluators.origins import Origin
from sandbox.records import Measurement
from sandbox.settings import Evaluation as Settings
from sandbox.tally import Tally

if TYPE_CHECKING:
    from evaluators.inside import Look
    from evaluators.scoring import Count
    from sandbox.catalogue.card import Card, Task

MINIMUM_CASES = 10
"""A rate with fewer cases beneath it, or an AUC with fewer cases of either outcome, is `too few`."""

KINDS = frozenset({"binary", "multiclass", "regression"})


@dataclass(frozen=True)
class Context:
    """What an evaluator sees: one model version's tally on one wave, and on the reference wave.

    `reference` is None when this wave is itself the reference. `earlier` holds the waves before this one, the
    last first, without the reference. `tally` and `reference` hold the everyday tables and the evaluator's own;
    `origin` is where the model comes from, `settings` what this installation sets for evaluations. `key` names the
    pair by its digests; random numbers come from `rng`, which is a function of the key, so a result can be made again.
    """

    tally: Tally
    card: Card
    task: Task
    reference: Tally | None = None
    key: str = ""
    minimum: int = MINIMUM_CASES
    earlier: tuple[Tally, ...] = ()
    origin: Origin = field(default_factory=Origin)
    settings: Settings = field(default_factory=Settings)

    def rng(self, *purpose: object) -> np.random.Generator:
        """The random stream for one purpose; the same key and purpose give the same numbers."""
        return stream(self.key, *purpose)


@dataclass(frozen=True)
class Evaluator:
    name: str
    version: int
    kinds: frozenset[str]
    report: Callable[[Context], Iterable[Measurement]]
    tables: Count | None = None
    sample: int = 0
    beside: bool = False
    inside: Look | None = None

    @property
    def question(self) -> str:
        """The first sentence of the report's docstring, or of its module's: what it answers."""
        words = self.report.__doc__ or getattr(inspect.getmodule(self.report), "__doc__", "") or ""
        return " ".join(re.split(r"(?<=[.?])\s", words.strip(), maxsplit=1)[0].split())

    def measure(self, context: Context) -> list[Measurement]:
        """Runs the report. A value that is not a finite number becomes the status `undefined`.

        Raises ValueError when two measurements have the same name, group and feature.
        """
        measured = [_finite(m) for m in self.report(context)]
        if len({(m.name, m.group, m.feature) for m in measured}) < len(measured):
            raise ValueError(f"evaluator {self.name!r} measured the same thing twice")
        return measured


_REGISTERED: dict[str, Evaluator] = {}


def evaluator(
    name: str,
    version: int,
    kinds: Iterable[str] = KINDS,
    tables: Count | None = None,
    sample: int = 0,
    beside: bool = False,
    inside: Look | None = None,
) -> Callable[[Callable[[Context], Iterator[Measurement]]], Callable[[Context], Iterator[Measurement]]]:
    """Registers a report under a name; raises ValueError when another module took the name.

    `tables` counts a scored batch into tables of its own. With `sample` it is given at most about so many records
    of a wave, at random, and may ask the model about them again (`Batch.ask`); with `beside` it may ask the version
    before and the champion, too (`Batch.beside`). `inside` is asked once for each model version, with the reference
    wave, for tables that need more than a wave's records: those of the training, say. Later waves lack them.
    """
    unknown = set(kinds) - KINDS
    if unknown or "|" in name or version < 1 or sample < 0:
        raise ValueError(f"evaluator {name!r}: kinds are {sorted(KINDS)}, versions start at 1")

    def register(
        report: Callable[[Context], Iterator[Measurement]],
    ) -> Callable[[Context], Iterator[Measurement]]:
        before = _REGISTERED.get(name)
        if before is not None and before.report.__module__ != report.__module__:
            raise ValueError(f"two evaluators are called {name!r}")
        _REGISTERED[name] = Evaluator(name, version, frozenset(kinds), report, tables, sample, beside, inside)
        return report

    return register


def registered() -> dict[str, Evaluator]:
    """The evaluators imported so far; evaluators.catalogue finds them all."""
    return dict(_REGISTERED)


def too_few(name: str, n: int, group: str = "", feature: str = "") -> Measurement:
    """The measurement that says there are too few cases to say anything."""
    return Measurement(name, None, n, group=group, feature=feature, status="too few")


def stream(*key: object) -> np.random.Generator:
    """A random generator that is a function of its key alone."""
    digest = hashlib.sha256("|".join(str(part) for part in key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _finite(m: Measurement) -> Measurement:
    if m.value is None:
        return m
    if not math.isfinite(m.value):
        return replace(m, value=None, low=None, high=None, status="undefined")
    low, high = (
        None if bound is None or not math.isfinite(bound) else float(bound) for bound in (m.low, m.high)
    )
    return replace(m, value=float(m.value), n=int(m.n), low=low, high=high)
