"""Which wall stands around developers' code here? The one that is named, else the strongest complete one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import complete
from sandbox.submissions.isolation.backend import Backend, Layer

BACKENDS = ("bubblewrap", "landlock", "gvisor")
STRONGEST_FIRST = ("bubblewrap", "landlock")
"""What `auto` looks for. gVisor takes twice as long for an export, so it is used where it is named."""


@dataclass(frozen=True)
class Choice:
    """A complete wall with its layers, and the stronger ones with what each lacks."""

    backend: Backend
    layers: tuple[Layer, ...]
    passed_over: tuple[tuple[str, tuple[Layer, ...]], ...] = ()

    @property
    def words(self) -> str:
        because = (
            f"{name} lacks {', '.join(layer.name for layer in lacking)}" for name, lacking in self.passed_over
        )
        return "; ".join([self.backend.name, *because])


def choose(settings: Isolation) -> Backend:
    """The wall to use. Raises Unfit, naming each missing layer and how to mend it, when none is complete."""
    return weigh(settings).backend


def weigh(settings: Isolation) -> Choice:
    """As `choose`, with the reasons."""
    passed_over: list[tuple[str, tuple[Layer, ...]]] = []
    for wall in _candidates(settings):
        layers = tuple(wall.layers())
        lacking = tuple(layer for layer in layers if not layer.works)
        if not lacking:
            return Choice(wall, layers, tuple(passed_over))
        passed_over.append((wall.name, lacking))
    raise Unfit(_refusal(passed_over))


def backend(name: str, settings: Isolation) -> Backend:
    """The wall of that name (one of BACKENDS), complete or not."""
    if name == "bubblewrap":
        from sandbox.submissions.isolation.bubblewrap import Bubblewrap

        return Bubblewrap(settings)
    if name == "landlock":
        from sandbox.submissions.isolation.landlock import Landlock

        return Landlock(settings)
    if name == "gvisor":
        from sandbox.submissions.isolation.gvisor import Gvisor

        return Gvisor(settings)
    raise ValueError(name)


def _candidates(settings: Isolation) -> Iterator[Backend]:
    names = STRONGEST_FIRST if settings.backend == "auto" else (settings.backend,)
    return (backend(name, settings) for name in names)


def _refusal(passed_over: Sequence[tuple[str, Sequence[Layer]]]) -> str:
    lists = (complete.words(name, lacking) for name, lacking in passed_over)
    return "\n".join(
        [
            "No wall that may be used here is complete, so developers' code is not run; recipes need none.",
            *lists,
        ]
    )
