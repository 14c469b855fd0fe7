"""What was charged to these people: when, by whom, for what, and how far had the odometer come by then?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from sandbox.audit import Line
from sandbox.lifecycle import ChargeState
from sandbox.privacy import accounting, ledger
from sandbox.privacy.odometer import Odometer
from sandbox.records import Charge, Json
from sandbox.storage import tables

if TYPE_CHECKING:
    from sandbox.storage import Store, Transaction


@dataclass(frozen=True)
class Mechanism:
    """A charge's event in columns; what an event has not, or has several of, is None."""

    name: str
    noise_multiplier: float | None = None
    sampling_rate: float | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Entry:
    """A charge as it is now; `ended_at`, `ended_by` and `reason` are of its settling or its release.

    `odometer` is the reading after it: an epsilon at the pool's delta, for add-or-remove-one adjacency.
    """

    number: int
    charge: Charge
    mechanism: Mechanism
    reserved_steps: int | None
    touched_at: datetime | None
    ended_at: datetime | None
    ended_by: str
    reason: str
    odometer: float

    @property
    def counts(self) -> bool:
        return self.charge.state is not ChargeState.RELEASED


def history(store: Store, pool: str) -> list[Entry]:
    """Every charge of the pool in the order in which they were reserved; raises NotFound without a budget."""
    with store.reading() as view:
        budget = ledger.budget_of(view, pool)
        charges, lines = view.all(Charge, pool=pool), _lines(view, pool)
    odometer = Odometer.of(budget)
    first = {charge.id: lines[charge.id][0].number if lines[charge.id] else 0 for charge in charges}
    entries: list[Entry] = []
    total = np.zeros(len(odometer.levels))
    for charge in sorted(charges, key=lambda c: (first[c.id], c.reserved_at, c.id)):
        if charge.state is not ChargeState.RELEASED:
            total = total + odometer.cost(accounting.canonical(charge.event))
        entries.append(_entry(len(entries) + 1, charge, lines[charge.id], odometer.level(total)))
    return entries


def mechanism_of(event: Json) -> Mechanism:
    """What ran, in the words and numbers of a table."""
    match event:
        case {"event": "Gaussian", "noise_multiplier": noise}:
            return Mechanism("Gaussian release", noise, 1.0, 1)
        case {"event": "DiscreteGaussian", "noise_multiplier": noise}:
            return Mechanism("discrete Gaussian release", noise, 1.0, 1)
        case {
            "event": "SelfComposed",
            "count": steps,
            "of": {"event": "PoissonSampled", "of": inner} as step,
        }:
            rate = step["sampling_probability"]
            if inner["event"] == "Gaussian":
                name = "DP-SGD" if rate < 1 else "Gaussian release" if steps == 1 else "Gaussian releases"
                return Mechanism(name, inner["noise_multiplier"], rate, steps)
        case {"event": "RepeatAndSelect", "mean": mean, "of": inner}:
            once = mechanism_of(inner)
            name = f"best of {mean:g} on average: {once.name}"
            return Mechanism(name, once.noise_multiplier, once.sampling_rate, once.steps)
    return Mechanism("several steps")


def _lines(view: Transaction, pool: str) -> dict[str, list[Line]]:
    """The audit log's lines about each charge of the pool, oldest first."""
    log, charges = tables.audit, tables.OF_RECORD[Charge]
    ours = sa.select(charges.c.id).where(charges.c.pool == pool)
    rows = view.connection.execute(sa.select(log).where(log.c.subject.in_(ours)).order_by(log.c.number))
    found: dict[str, list[Line]] = defaultdict(list)
    for row in rows:
        found[row.subject].append(Line(**row._mapping))
    return found


def _entry(number: int, charge: Charge, lines: list[Line], reading: float) -> Entry:
    by_action = {line.action: line for line in lines}
    touched = by_action.get("privacy.touch")
    ended = by_action.get("privacy.settle") or by_action.get("privacy.release")
    reserved = ended.details.get("reserved", charge.event) if ended else charge.event
    return Entry(
        number=number,
        charge=charge,
        mechanism=mechanism_of(charge.event),
        reserved_steps=mechanism_of(reserved).steps,
        touched_at=touched.at if touched else None,
        ended_at=ended.at if ended else None,
        ended_by=ended.by if ended else "",
        reason=ended.reason if ended and ended.action == "privacy.release" else "",
        odometer=reading,
    )
