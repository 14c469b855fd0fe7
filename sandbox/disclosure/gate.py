"""May this content leave? The exit gate makes a release of it, or refuses.

It clears what passes every rule of `sandbox.disclosure.rules`, whose words somebody wrote for the
public (`sandbox.disclosure.sources`), and whose figures stand on noisy tallies that were charged.
`sandbox.disclosure.suppression.suppress` prepares content that will pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.disclosure import noisy, rules, sources
from sandbox.disclosure.suppression import suppress
from sandbox.errors import NotFound, Problem, Refused
from sandbox.privacy.accounting import canonical
from sandbox.records import Event, Json, ModelVersion, Release, Wave
from sandbox.roles import Person, Role, must_not_be_own
from sandbox.settings import Settings

if TYPE_CHECKING:
    from sandbox.storage import Store, Transaction

__all__ = ["Blocked", "digest", "release", "suppress"]


class Blocked(Refused):
    """The exit gate did not clear a content; lists every rule it breaks and quotes no figure."""

    def __init__(self, model_version: str, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [
            f"The exit gate did not clear the release of {model_version}:",
            *(f"  - {p}" for p in problems),
        ]
        super().__init__("\n".join(lines))


def release(
    store: Store, settings: Settings, model_version: ModelVersion, content: Json, person: Person
) -> Release:
    """Stores the cleared content and returns it; the same content again returns what is stored.

    Raises Blocked with everything that is wrong, or Refused for a person who may not release this.
    """
    person.must_be(Role.OVERSEER, Role.OPERATOR, to="release figures about a model")
    must_not_be_own(person, [model_version.developer], to="release figures about it")
    if broken := rules.problems(content):
        raise Blocked(model_version.id, broken)
    name = digest(content)
    with store.transaction() as tx:
        try:
            return tx.get(Release, name)
        except NotFound:
            pass
        model = tx.get(ModelVersion, model_version.id)
        broken = [*_as_set_up(settings, content), *sources.problems(tx, model, content)]
        if broken := [*broken, *_charged(tx, model, content)]:
            raise Blocked(model.id, broken)
        cleared = Release(name, model.model, model.id, content, tx.clock(), person.name)
        tx.add(cleared, Event(person.name, "release.clear", name, "", {"model_version": model.id}))
    return cleared


def digest(content: Json) -> str:
    """A release's id: sha256 of its content as canonical JSON."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _as_set_up(settings: Settings, content: Json) -> Iterator[Problem]:
    for name in ("threshold", "round_to"):
        if content["publication"][name] != getattr(settings.publication, name):
            yield Problem(f"publication.{name}", "is not what this installation is set up to use")


def _charged(view: Transaction, model: ModelVersion, content: Json) -> Iterator[Problem]:
    """A wave with figures has a noisy tally that was paid for, and so have its inputs; exact figures have none."""
    waves = {wave.name: wave.id for wave in view.all(Wave, dataset=model.dataset)}
    kind = content["task"]["kind"]
    for at, wave in enumerate(content["waves"]):
        known = waves.get(wave["name"], "")
        inputs = [one["column"] for one in wave.get("inputs", ())]
        shown = wave["n"] is not None or wave["groups"]
        if shown and view.tally(noisy.key(model.id, known, kind)) is None:
            yield Problem(f"waves.{at}", "has figures for which no noise was drawn and charged")
        if inputs and view.tally(noisy.inputs_key(known, inputs)) is None:
            yield Problem(f"waves.{at}.inputs", "are figures for which no noise was drawn and charged")
