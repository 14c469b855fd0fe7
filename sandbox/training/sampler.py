"""Which units does a step see? Exact Poisson sampling: each unit is in or out, independently, every step."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Randomness:
    """Two separate streams. Whoever could foresee either could undo the guarantee.

    Nobody seeds them but the operating system, and nobody keeps their state: after a crash they are new.
    """

    sampling: np.random.Generator
    noise: np.random.Generator

    @classmethod
    def of_the_system(cls) -> Randomness:
        """AES-128 in counter mode, a key from the operating system for each: what was seen of a stream foretells
        nothing of the rest. (torch's CPU generator keeps 32 bits of a seed.)"""
        from randomgen import AESCounter

        return cls(*(np.random.Generator(AESCounter(key=secrets.randbits(128), counter=0)) for _ in range(2)))


class UnitRows:
    """Which rows belong to which unit, at most `limit` rows of each: the first in the file's order."""

    def __init__(self, codes: Whole, limit: int) -> None:
        order = np.argsort(codes, kind="stable")
        grouped = codes[order]
        first = np.ones(len(codes), bool)
        np.not_equal(grouped[1:], grouped[:-1], out=first[1:])
        self._places: tuple[Whole, Whole] | None = None
        if first.all():  # everybody has one row, and the n-th unit may as well be that of the n-th row
            self.sizes: Whole = np.broadcast_to(np.int64(1), len(codes))
        else:
            starts = np.flatnonzero(first)
            self._places = order, starts
            sizes = np.diff(starts, append=len(codes))
            self.sizes = np.minimum(sizes, limit, out=sizes)
        self.most_rows = int(self.sizes.max(initial=1))

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, units: Whole) -> tuple[Whole, Whole]:
        """The rows of these units, and for each row the position of its unit among `units`."""
        if self._places is None:
            return units, np.arange(len(units))
        order, starts = self._places
        if self.most_rows == 1:
            return order[starts[units]], np.arange(len(units))
        sizes = self.sizes[units]
        owners = np.repeat(np.arange(len(units)), sizes)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return order[np.repeat(starts[units], sizes) + within], owners


def draw(units: int, rate: float, generator: np.random.Generator) -> Whole:
    """The units of one step; may be none.

    A binomial number of distinct units is the same distribution as one coin for each unit, without
    looking at every unit (FACTS section 10).
    """
    return generator.choice(units, generator.binomial(units, rate), replace=False, shuffle=False)
