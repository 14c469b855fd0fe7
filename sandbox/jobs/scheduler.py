"""Who asks for what is due? A scheduler, whenever its schedule says; it only asks, and asking twice changes nothing.

It remembers nothing: each time it compares what there is with what has a result. So ticks may be missed, come
twice or at the wrong time, and several schedulers may run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sandbox.errors import NDLError
from sandbox.jobs import claims
from sandbox.jobs.cron import falls_in
from sandbox.jobs.kinds import Kind, all_kinds
from sandbox.jobs.presence import LOOK_SECONDS

if TYPE_CHECKING:
    from sandbox.api import Sandbox

_log = logging.getLogger(__name__)


def tick(box: Sandbox, kinds: Iterable[Kind]) -> int:
    """Asks for all that is due of these kinds; returns how many jobs are new."""
    asked = 0
    for kind in kinds:
        wanted = ((kind.key_of(arguments), kind.name, arguments) for arguments in kind.due(box))
        asked += claims.ask(box.store, wanted, box.person.name)
    return asked


def scheduled(box: Sandbox, kinds: Mapping[str, Kind] | None = None) -> list[Kind]:
    """The kinds that have a schedule here."""
    every = all_kinds() if kinds is None else kinds
    return [kind for kind in every.values() if _when(box, kind)]


def keep_schedule(
    box: Sandbox,
    stop: threading.Event,
    kinds: Mapping[str, Kind] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Ticks at once, and then as the schedules say, until `stop` is set. A tick when nothing at all has changed
    since the last one costs one question. `meanwhile` is called twice a second."""
    regular = scheduled(box, kinds)
    seen: dict[str, int] = {}
    due, last = regular, box.store.clock()
    while True:
        for kind in due:
            try:
                number = box.store.change_number()
                if seen.get(kind.name) != number:
                    tick(box, [kind])
                    seen[kind.name] = number
            except (sa.exc.SQLAlchemyError, NDLError, OSError) as error:
                _log.warning("looking for due %ss: %s; trying again", kind.name, type(error).__name__)
        meanwhile()
        if stop.wait(LOOK_SECONDS):
            return
        now = box.store.clock()
        due = [kind for kind in regular if falls_in(_when(box, kind), last, now)]
        last = now


def _when(box: Sandbox, kind: Kind) -> str:
    return str(getattr(box.settings.schedule, kind.when))
