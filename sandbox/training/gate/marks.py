"""Has this noise been seen before, in another run? A restored machine image may repeat its randomness.

A mark is the signs of the first noise in coordinates that no canary was drawn in or that only canaries
have: chance alone, of no record. Two runs that share a stream share their marks. A run that went on after a crash has
one for each process that it was in, one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sandbox.training.gate import tails
from sandbox.training.gate.check import Check
from sandbox.training.gate.tails import Numbers

_SIGNS = 512

Bits = NDArray[np.uint8]


def signs_of(noise: Numbers) -> str:
    """A mark, as hex; empty where there was no noise."""
    return np.packbits(noise[:_SIGNS] > 0).tobytes().hex()


def twice(signs: str, earlier: Sequence[str]) -> Check:
    """Marks of which signs agree with, or oppose, another run's far more often than a coin's would."""
    pairs = list(product(_marks(signs), (mark for other in earlier for mark in _marks(other))))
    worst = tails.least([_agree(mine, theirs) for mine, theirs in pairs])
    return Check("noise of other runs", "canaries", worst, "the noise of an earlier run came again")


def _agree(mine: Bits, theirs: Bits) -> float:
    n = min(len(mine), len(theirs))
    agree = int((mine[:n] == theirs[:n]).sum())
    return float(stats.binom.logsf(max(agree, n - agree) - 1, n, 0.5) / np.log(10) + np.log10(2))


def _marks(signs: str) -> list[Bits]:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(signs), np.uint8))
    return [bits[start : start + _SIGNS] for start in range(0, len(bits), _SIGNS)]
