"""Has this noise been seen before, in another run? A restored machine image may repeat its randomness.

A mark is the signs of the first noise in coordinates that no canary was drawn in or that only canaries
have: chance alone, of no record. Two runs that share a stream share their marks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from sandbox.training.gate import tails
from sandbox.training.gate.check import Check
from sandbox.training.gate.tails import Numbers

_SIGNS = 512


def signs_of(noise: Numbers) -> str:
    """As hex; empty where there was no noise."""
    return np.packbits(noise[:_SIGNS] > 0).tobytes().hex()


def twice(signs: str, earlier: Sequence[str]) -> Check:
    """Signs that agree with, or oppose, another run's far more often than a coin's would."""
    mine = _bits(signs)
    found = [0.0]
    for other in earlier:
        theirs = _bits(other)[: len(mine)]
        n = len(theirs)
        agree = int((mine[:n] == theirs).sum())
        found.append(float(stats.binom.logsf(max(agree, n - agree) - 1, n, 0.5) / np.log(10)) + np.log10(2))
    worst = min(0.0, min(found) + float(np.log10(max(1, len(earlier)))))
    return Check("noise of other runs", "canaries", worst, "the noise of an earlier run came again")


def _bits(signs: str) -> tails.Numbers:
    return np.unpackbits(np.frombuffer(bytes.fromhex(signs), np.uint8)).astype(np.float64)
