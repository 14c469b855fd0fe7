"""The sandbox as one object: the few verbs everyone uses, done by the person at the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import settings as settings_module
from sandbox.lifecycle import Standing
from sandbox.records import Dataset, ModelVersion, Submission, Wave
from sandbox.roles import Person
from sandbox.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from sandbox.storage import Store


class Sandbox:
    """Opens what a verb needs, when it needs it. Each verb says in its own module what it may raise."""

    def __init__(
        self,
        settings: Settings,
        person: Person | str = "",
        clock: Callable[[], datetime] | None = None,
        config: Path | None = None,
    ) -> None:
        self.settings = settings
        self._person = person
        self.config = config
        self._clock = clock

    @classmethod
    def open(cls, config: Path | None = None, person: str = "") -> Sandbox:
        """Reads the settings; raises Invalid or NotFound. Who is acting is asked when it matters."""
        return cls(settings_module.load(config), person, config=config)

    def acting_as(self, name: str) -> Sandbox:
        """The same sandbox, used by another person of the settings; raises NotFound."""
        other = Sandbox(self.settings, self.settings.person(name), config=self.config)
        other.store, other.console = self.store, self.console
        return other

    def add_dataset(self, folder: Path) -> Dataset:
        from sandbox.catalogue import intake

        return intake.add_dataset(self.store, self.settings, folder, self.person)

    def add_wave(self, dataset: str, file: Path, name: str, day: date) -> Wave:
        from sandbox.catalogue import intake

        return intake.add_wave(self.store, self.settings, dataset, file, name, day, self.person)

    def submit(self, folder: Path) -> Submission:
        from sandbox.submissions import intake

        return intake.submit(self.store, self.settings, folder, self.person)

    def train(self, submission: str, progress: Callable[[int, int], None] | None = None) -> ModelVersion:
        from sandbox.training.service import train

        return train(self.store, self.settings, submission, self.person, progress)

    def decide(self, model_version: str, standing: Standing, reason: str) -> ModelVersion:
        from sandbox.registry.standing import decide

        return decide(self.store, self.settings, model_version, standing, self.person, reason)

    @cached_property
    def person(self) -> Person:
        """Who is acting; raises NotFound when the settings do not know the name."""
        return self._person if isinstance(self._person, Person) else self.settings.person(self._person)

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
        from sandbox.console import WholeConsole

        return WholeConsole()
