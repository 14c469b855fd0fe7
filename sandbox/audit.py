"""The audit log: append-only and hash-chained, so that a changed or missing line shows.

Line k holds sha256 of (hash of line k-1, and its own fields as canonical JSON); the first line
follows sixty-four zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True)
class Line:
    """One line of the log, as stored."""

    number: int
    at: datetime
    by: str
    action: str
    subject: str
    reason: str
    details: dict[str, Any]
    previous: str
    hash: str


def line_hash(previous: str, number: int, at: datetime, rest: tuple[str, str, str, str, Any]) -> str:
    """Hex sha256 over the previous hash and this line; `rest` is by, action, subject, reason, details."""
    fields = [previous, number, at.astimezone(UTC).isoformat(), *rest]
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def first_broken(lines: Iterable[Line]) -> int | None:
    """The number of the first line that does not follow from the one before, or None if all hold."""
    previous, expected = GENESIS, 1
    for line in lines:
        rest = (line.by, line.action, line.subject, line.reason, line.details)
        whole = line_hash(previous, line.number, line.at, rest)
        if line.number != expected or line.previous != previous or line.hash != whole:
            return expected
        previous, expected = line.hash, expected + 1
    return None
