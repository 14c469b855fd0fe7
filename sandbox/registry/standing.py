"""Where does a model version stand, and who decided so? An overseer, in the open, with a reason."""

from __future__ import annotations

import secrets

from sandbox.errors import Refused
from sandbox.lifecycle import Standing, check_standing
from sandbox.records import Decision, Event, ModelVersion
from sandbox.registry import registry
from sandbox.roles import Person, Role, must_not_be_own
from sandbox.settings import Settings
from sandbox.storage import Store, Transaction

ALIASES = (Standing.CANDIDATE, Standing.CHALLENGER, Standing.CHAMPION)
"""Standings that are also MLflow aliases: `models:/NAME@champion`. An alias names at most one version."""


def decide(
    store: Store, settings: Settings, model_version: str, standing: Standing, person: Person, reason: str
) -> ModelVersion:
    """Gives a model version another standing and returns it.

    A new champion makes the old champion of the same model a challenger. Raises Refused for a step the
    lifecycle does not allow, for one's own model, and without a reason. The decision is stored first;
    then the aliases follow it.
    """
    person.must_be(Role.OVERSEER, to="decide where a model stands")
    reason = reason.strip()
    if not reason:
        raise Refused("A decision needs a reason, which is kept and may be published.")
    with store.transaction() as tx:
        version = tx.get(ModelVersion, model_version)
        must_not_be_own(person, [version.developer], to=f"decide about {version.id}")
        check_standing(version.standing, standing)
        if standing is Standing.CHAMPION:
            for old in tx.all(ModelVersion, model=version.model, standing=Standing.CHAMPION):
                _change(tx, store, old, Standing.CHALLENGER, person, f"{version.id} is the new champion.")
        decided = _change(tx, store, version, standing, person, reason)
    align_aliases(store, settings, decided.model)
    return decided


def align_aliases(store: Store, settings: Settings, model: str) -> None:
    """Makes MLflow's aliases of a model say what our records say; the latest of several of one standing."""
    versions = sorted(store.all(ModelVersion, model=model), key=lambda v: v.version)
    for alias in ALIASES:
        with_it = [v.version for v in versions if v.standing is alias]
        registry.set_alias(settings, model, str(alias), with_it[-1] if with_it else None)


def _change(
    tx: Transaction, store: Store, version: ModelVersion, standing: Standing, person: Person, reason: str
) -> ModelVersion:
    decision = Decision(secrets.token_hex(8), version.id, str(standing), person.name, reason, store.clock())
    details = {"from": str(version.standing), "to": str(standing)}
    tx.add(decision, Event(person.name, "model.decide", version.id, reason, details))
    changed = Event(person.name, "model.standing", version.id, reason, details)
    return tx.change(ModelVersion, version.id, changed, standing=standing)
