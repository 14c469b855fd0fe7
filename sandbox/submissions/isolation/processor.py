"""How much processor time has everything below a process used? For runs that no control group counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def of_descendants(process: int) -> float:
    """Seconds used below `process`: by the living, the dead nobody has collected, and the collected.

    What `process` collected itself is not in it, so count before collecting. A process that ends, or moves to
    another parent, while this is counted may be missed or counted twice; the next count is right again.
    """
    ticks, waiting = 0, [*_children(process)]
    while waiting:
        number = waiting.pop()
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(map(int, fields[11:15]))  # user, system, and both of the children it collected
        waiting += _children(number)
    return ticks / _TICKS_A_SECOND


def _children(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            yield from map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
