"""What does one test of the gate say, and when is a training refused?

False refusals are bounded by design. Tests on what only canaries touch share CANARY_LEVEL; tests on
what people's records touch share RECORD_LEVEL, which is smaller because it also adds to delta (see the
README): both together are below one in a million.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox.training.gate.tails import NEVER, SURE

CANARY_LEVEL = 1e-7
RECORD_LEVEL = 1e-10

Touches = Literal["canaries", "records", "nothing"]
"""`nothing`: not a test of chance. It holds in every correct training."""


@dataclass(frozen=True)
class Test:
    """`log10_p` bounds the chance of a result as odd as this in a correct training; `means` is what it would mean."""

    name: str
    touches: Touches
    log10_p: float
    means: str

    @property
    def p_class(self) -> str:
        """All that may be said of it outside."""
        for exponent in (-7, -4, -2):
            if self.log10_p < exponent:
                return f"below 1e{exponent}"
        return "0.01 or more"


def exact(name: str, holds: bool, means: str) -> Test:
    return Test(name, "nothing", SURE if holds else NEVER, means)


def failures(tests: Sequence[Test]) -> list[Test]:
    """Those that refuse, the surest first."""
    found = [test for test in tests if not test.log10_p >= _limit(test, tests)]
    return sorted(found, key=lambda test: test.log10_p)


def _limit(test: Test, tests: Sequence[Test]) -> float:
    if test.touches == "nothing":
        return SURE
    level = CANARY_LEVEL if test.touches == "canaries" else RECORD_LEVEL
    return math.log10(level / sum(other.touches == test.touches for other in tests))
