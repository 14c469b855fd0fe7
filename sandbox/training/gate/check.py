"""What does one check of the gate say, and when is a training refused?

False refusals are bounded by design. Checks of what only canaries touch share CANARY_LEVEL; those of
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
"""`nothing`: no matter of chance. It holds in every correct training."""


@dataclass(frozen=True)
class Check:
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


def exact(name: str, holds: bool, means: str) -> Check:
    return Check(name, "nothing", SURE if holds else NEVER, means)


def failures(checks: Sequence[Check]) -> list[Check]:
    """Those that refuse, the surest first."""
    found = [check for check in checks if not check.log10_p >= limit(check, checks)]
    return sorted(found, key=lambda check: check.log10_p)


def limit(check: Check, checks: Sequence[Check]) -> float:
    """The log10 p below which this one of these checks refuses: an equal share of what they have together."""
    if check.touches == "nothing":
        return SURE
    level = CANARY_LEVEL if check.touches == "canaries" else RECORD_LEVEL
    return math.log10(level / sum(other.touches == check.touches for other in checks))
