"""Is a wall complete here? Runs a trial behind it, and refuses in words where a layer is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from sandbox.errors import NDLError, Unfit
from sandbox.submissions.isolation import trial
from sandbox.submissions.isolation.backend import Backend, Job, Layer, Limits, Outcome

_LIMITS = Limits(cpu_seconds=20, wall_seconds=30, memory_mb=1_024)
_MEND = "Use another backend, and report this line: on this kernel the layer does not hold."


def missing(wall: Backend) -> list[Layer]:
    return [layer for layer in wall.layers() if not layer.works]


def refuse(wall: Backend) -> None:
    """Raises Unfit naming every missing layer and how to mend it."""
    lacking = missing(wall)
    if lacking:
        raise Unfit(f"Nothing was run. {words(wall.name, lacking)}")


def words(name: str, lacking: Sequence[Layer]) -> str:
    lines = (f"  - {layer.name}: {layer.found}. {layer.mend}".rstrip() for layer in lacking)
    return "\n".join([f"The wall {name} lacks:", *lines])


def tried(
    carry: Callable[[Job, Limits], Outcome],
    held: Mapping[str, str],
    must_hold: Callable[[Limits], Mapping[str, int]],
) -> tuple[Layer, ...]:
    """A layer for each thing that a trial run must fail to do; one that is missing if it cannot be run."""
    try:
        outcome = carry(Job({}, {"limits": dict(must_hold(_LIMITS))}, trial.PROGRAM), _LIMITS)
    except (NDLError, OSError) as error:
        return (Layer("trial run", False, str(error), _MEND),)
    try:
        said = json.loads(outcome.artifact)
    except ValueError:
        last = (outcome.log.strip().splitlines() or [""])[-1]
        return (Layer("trial run", False, f"{outcome.words} {last}".strip(), _MEND),)
    found = {name: said.get(name, "was not tried") for name in held}
    return tuple(Layer(name, not found[name], found[name] or words, _MEND) for name, words in held.items())
