"""What the doctor says about one part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One part: whether it is fit, what was found, how to mend it, and whether the demo needs it."""

    part: str
    fit: bool
    found: str
    mend: str = ""
    needed: bool = True
