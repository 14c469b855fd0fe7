"""The sandbox as one object: settings, store, clock and the person at the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import settings as settings_module
from sandbox.roles import Person
from sandbox.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from sandbox.storage import Store


class Sandbox:
    """Opens what a command needs, when it needs it."""

    def __init__(
        self,
        settings: Settings,
        person: Person,
        clock: Callable[[], datetime] | None = None,
        config: Path | None = None,
    ) -> None:
        self.settings = settings
        self.person = person
        self.config = config
        self._clock = clock

    @classmethod
    def open(cls, config: Path | None = None, person: str = "") -> Sandbox:
        """Reads the settings and finds the person; raises Invalid or NotFound."""
        settings = settings_module.load(config)
        return cls(settings, settings.person(person), config=config)

    @property
    def folder(self) -> Path:
        return self.settings.storage.folder

    @cached_property
    def store(self) -> Store:
        from sandbox.storage.store import Store, utc_now

        self.folder.mkdir(parents=True, exist_ok=True)
        return Store(self.settings.database_url, self._clock or utc_now)

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        return Console()
