"""How does a made-up world change? One small function for each kind of drift, and the table of them.

A drift acts on a draft: numbers drawn exactly as in the reference, before the outcomes are computed
and before anything is written down. It draws from a generator of its own, so that what it does not
touch stays the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.catalogue.people_subjects import GROUPS

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


@dataclass
class Draft:
    """Records in the making. `measure` and `reading` are in standard deviations from their mean.

    Log-odds of the event are `offset + slope * relation`; `factor` multiplies the measure as it is
    written down, never as it acts on the outcomes. `sites` is how many there are in the whole dataset.
    """

    sites: int
    other_unit: float
    group: Ints
    site: Ints
    measure: Floats
    reading: Floats
    reading_missing: NDArray[np.bool_]
    route: Ints
    offset: Floats
    slope: Floats
    factor: Floats


@dataclass(frozen=True)
class Drift:
    """From wave number `onset` on (1 is the first later wave), and not before, `kind` has happened.

    What `strength` means is said by the function of each kind. `group` is only for `relation`.
    """

    kind: str
    onset: int
    strength: float = 1.0
    group: str = "Group C"

    @property
    def problem(self) -> str:
        """What is wrong with it in words, or nothing."""
        if self.kind not in DRIFTS:
            return f"{self.kind!r} is no kind of drift; there are {', '.join(DRIFTS)}"
        if self.onset < 1:
            return "the onset is before wave 1, which would change the training data"
        if not np.isfinite(self.strength) or (self.kind in _SHARES and not 0 <= self.strength <= 1):
            return f"the strength of {self.kind} drift is a share from 0 to 1"
        if self.group not in GROUPS:
            return f"{self.group!r} is no group; there are {', '.join(GROUPS)}"
        return ""


def inputs(draft: Draft, drift: Drift, rng: np.random.Generator) -> None:
    """The measure moves by `strength` standard deviations. Its relation to the outcomes stays."""
    draft.measure = draft.measure + np.float32(drift.strength)


def category(draft: Draft, drift: Drift, rng: np.random.Generator) -> None:
    """A share `strength` of the records, whatever their route was, takes the rarest route."""
    moved = rng.random(len(draft.route)) < drift.strength
    draft.route = np.where(moved, draft.route.dtype.type(3), draft.route)


def missingness(draft: Draft, drift: Drift, rng: np.random.Generator) -> None:
    """A further share `strength` of the readings is not written down. The outcomes do not change."""
    draft.reading_missing = draft.reading_missing | (rng.random(len(draft.reading)) < drift.strength)


def labels(draft: Draft, drift: Drift, rng: np.random.Generator) -> None:
    """Everybody's log-odds rise by `strength`. No input changes."""
    draft.offset = draft.offset + np.float32(drift.strength)


def relation(draft: Draft, drift: Drift, rng: np.random.Generator) -> None:
    """In one group the relation weakens, is gone at `strength` 0.5 and turned round at 1.

    No input changes; the rate of outcomes in the group stays about the same.
    """
    inside = draft.group == GROUPS.index(drift.group)
    draft.slope = np.where(inside, draft.slope * np.float32(1 - 2 * drift.strength), draft.slope)


def unit(draft: Draft, drift: Drift, rng: np.random.Generator) -> None:
    """A share `strength` of the sites writes the measure in another unit. Nobody's body or way changes."""
    changed = draft.site < np.ceil(drift.strength * draft.sites)
    draft.factor = np.where(changed, draft.other_unit, draft.factor)


DRIFTS: dict[str, Callable[[Draft, Drift, np.random.Generator], None]] = {
    "inputs": inputs,
    "category": category,
    "missingness": missingness,
    "labels": labels,
    "relation": relation,
    "unit": unit,
}
_SHARES = ("category", "missingness", "relation", "unit")
