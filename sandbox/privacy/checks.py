"""Can this number stand in a charge or a budget? Each wrong one is refused with one sentence."""

from __future__ import annotations

import math
from typing import Any

from sandbox.errors import Refused

MOST_STEPS = 10_000_000
"""No training takes more, and no privacy loss distribution of more is worth the memory."""


def positive(value: Any, what: str) -> float:
    """A finite number above 0; `what` starts the sentence of a refusal, such as "An epsilon"."""
    if (found := _finite(value, what)) <= 0:
        raise Refused(f"{what} is above 0, not {found:g}.")
    return found


def not_negative(value: Any, what: str) -> float:
    """A finite number, 0 or more."""
    if (found := _finite(value, what)) < 0:
        raise Refused(f"{what} is 0 or more, not {found:g}.")
    return found


def at_least_one(value: Any, what: str) -> float:
    """A finite number, 1 or more."""
    if (found := _finite(value, what)) < 1:
        raise Refused(f"{what} is 1 or more, not {found:g}.")
    return found


def share(value: Any, what: str) -> float:
    """A number strictly between 0 and 1."""
    if not 0 < (found := _finite(value, what)) < 1:
        raise Refused(f"{what} lies between 0 and 1, not at {found:g}.")
    return found


def rate(value: Any) -> float:
    """A sampling rate: 1 takes everybody at every step."""
    if not 0 < (found := _finite(value, "A sampling rate")) <= 1:
        raise Refused(f"A sampling rate is above 0 and at most 1, not {found:g}.")
    return found


def count(value: Any) -> int:
    """A number of steps; 0 where nothing ran."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_STEPS:
        raise Refused(f"A number of steps is a whole number from 0 to {MOST_STEPS:,}.")
    return value


def _finite(value: Any, what: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise Refused(f"{what} is a finite number.")
