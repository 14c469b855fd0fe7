"""How often do the intervals hold the truth? Exactly for rates; for the rest by drawing waves again.

A setting whose first estimate is below 96 % is simulated a second time, with fresh draws and ten times as
many: only that second answer is reported, so that nobody is blamed or cleared by the luck of the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from evaluators.intervals import rate
from simulations.people import Crowd, crowds
from simulations.worlds import World, worlds

EACH, NONE_BELOW, AGAIN_BELOW = 0.945, 0.93, 0.96
SHARES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
SIZES = (12, 20, 50, 100, 200, 500, 1000, 5000)


@dataclass(frozen=True)
class Row:
    """One setting: in what share of `tried` waves the interval held the truth, and its mean width."""

    setting: str
    covered: float
    width: float
    tried: int
    """0: computed, not simulated."""

    @property
    def error(self) -> float:
        return math.sqrt(self.covered * (1 - self.covered) / self.tried) if self.tried else 0.0

    @property
    def missed(self) -> bool:
        """Whether it surely (three standard errors of the simulation) or outright breaks the promise."""
        return self.covered + 3 * self.error < EACH or self.covered < NONE_BELOW


def rates() -> Iterator[Row]:
    """The cover of a rate's interval, added up over all the counts there can be."""
    from scipy.stats import binom

    for n in SIZES:
        made = [rate(cases, n) for cases in range(n + 1)]
        for p in SHARES:
            weight = binom.pmf(np.arange(n + 1), n, p)
            holds = np.array([e.low <= p <= e.high for e in made])
            width = np.array([e.high - e.low for e in made])
            yield Row(f"rate p={p} n={n}", float(weight @ holds), float(weight @ width), 0)


def simulated(repeats: int, again: int, jobs: int = 1, wanted: str = "") -> Iterator[Row]:
    """Every world's and crowd's figures, or of those with this in their name; `again` times as many draws where the
    first look asks for it."""
    work = partial(_both_looks, repeats=repeats, again=again)
    numbers = [number for number, world in enumerate(_settings()) if wanted in world.name]
    if jobs == 1:
        for number in numbers:
            yield from work(number)
        return
    with get_context("fork").Pool(jobs) as pool:
        for rows in pool.imap(work, numbers):
            yield from rows


def _settings() -> list[World | Crowd]:
    return [*worlds(), *crowds()]


def look(world: World | Crowd, names: list[str], repeats: int, seed: int) -> list[Row]:
    rng = np.random.default_rng([seed, *world.name.encode()])
    found: dict[str, list[Any]] = {name: [0, 0, 0.0] for name in names}
    for counts in world.draw(rng, repeats):
        for name in names:
            truth, make = world.figures[name]
            estimate = make(counts, rng)
            if estimate is not None:
                entry = found[name]
                entry[0] += 1
                entry[1] += estimate.low - 1e-9 <= truth <= estimate.high + 1e-9
                entry[2] += estimate.high - estimate.low
    return [
        Row(f"{name} {world.name}", held / tried, width / tried, tried)
        for name, (tried, held, width) in found.items()
        if tried >= 0.9 * repeats  # where it is often `too few`, only odd waves would be looked at
    ]


def _both_looks(number: int, repeats: int, again: int) -> list[Row]:
    world = _settings()[number]
    rows = {row.setting: row for row in look(world, list(world.figures), repeats, 20261128)}
    doubtful = [setting for setting, row in rows.items() if again and row.covered < AGAIN_BELOW]
    names = [setting.removesuffix(f" {world.name}") for setting in doubtful]
    if names:
        rows |= {row.setting: row for row in look(world, names, repeats * again, 20261129)}
    return list(rows.values())
