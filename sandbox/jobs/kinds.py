"""Which kinds of jobs are there? Each is offered by whoever knows how to do it, by an entry point.

Group `ndl.jobs`, value `package.module:KIND`. A job may be done more than once, after a crash or by two
processes of which one was taken for dead: what it stores it stores under a key of its own, so that the
second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from sandbox.errors import NDLError
from sandbox.records import Json

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.jobs.presence import Hand


class Later(NDLError):
    """This machine could not do it now; nothing was decided, and it is tried again after a while."""


def _none(_box: Sandbox, _arguments: Json) -> list[Json]:
    return []


def _no_shard(_box: Sandbox, _arguments: Json) -> None: ...


@dataclass(frozen=True)
class Kind:
    """How jobs of one kind are found and done.

    `due` gives the arguments of all that should be asked for now; `key` turns arguments into the words of
    the job's key. `run` does it, telling its hand how far it is; it raises Later for trouble with the
    machine, and anything else fails the job. `plan` may name shards, a second of work or more each, that
    free workers do first (`shard`, which must be harmless to do twice or not at all).
    After `most_deaths` workers died of one attempt it has failed, and waits for a person.
    `when` names the setting of `[schedule]` that says when to look for what is due.
    """

    name: str
    queue: str
    when: str
    key: Callable[[Json], str]
    due: Callable[[Sandbox], Iterable[Json]]
    run: Callable[[Sandbox, Json, Hand], None]
    plan: Callable[[Sandbox, Json], list[Json]] = field(default=_none)
    shard: Callable[[Sandbox, Json], None] = field(default=_no_shard)
    most_deaths: int = 8

    def key_of(self, arguments: Json) -> str:
        return f"{self.name}|{self.key(arguments)}"


@cache
def all_kinds() -> dict[str, Kind]:
    """Every kind, by name."""
    kinds = [point.load() for point in entry_points(group="ndl.jobs")]
    return {kind.name: kind for kind in sorted(kinds, key=lambda kind: kind.name)}
