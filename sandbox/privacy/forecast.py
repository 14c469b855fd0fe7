"""When is this budget gone, at the pace of late, and how many trainings remain until then?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sandbox.errors import Invalid, Problem
from sandbox.lifecycle import ChargeState
from sandbox.privacy import accounting, ledger
from sandbox.privacy.budgets import Budget, Held
from sandbox.privacy.slots import SlotPlan
from sandbox.records import Charge, Json
from sandbox.storage import tables

if TYPE_CHECKING:
    from sandbox.storage import Store, Transaction

_LONGEST = timedelta(days=36_525)


@dataclass(frozen=True)
class SlotForecast:
    """One kind of slot: how many are free, and when the last is taken at the pace of late (None: not foreseen)."""

    name: str
    free: int
    ends_at: datetime | None


@dataclass(frozen=True)
class Forecast:
    """`days` is what the pace was measured over: since the window's start, or since the pool was opened.

    `share` is used already, `share_of_late` within those days. `ends_at` is when the whole is used if that
    goes on, None if nothing was used of late or it lasts a century. `event` is the training that `remaining`
    counts: as asked, else the pool's latest, None on a pool without charges; `lasts_until` is when the
    last of those starts if one starts as often as charges did of late.
    """

    pool: str
    made_at: datetime
    days: float
    charges_of_late: int
    share: float
    share_of_late: float
    ends_at: datetime | None
    event: Json | None
    remaining: int | None
    lasts_until: datetime | None
    slots: tuple[SlotForecast, ...] = ()


def forecast(store: Store, pool: str, days: float = 90, event: Json | None = None) -> Forecast:
    """The forecast of one pool from its last `days`; raises NotFound, or Invalid for impossible days."""
    if not 0 < days <= 36_525:
        raise Invalid("The request", [Problem("--days", f"is above 0 and at most 36525, not {days:g}")])
    with store.reading() as view:
        budget, found = ledger.budget_of(view, pool), ledger.held(view, pool)
        charges = [c for c in view.all(Charge, pool=pool) if c.state is not ChargeState.RELEASED]
        opened, now = _opened_at(view, pool), view.clock()
    start = max(now - timedelta(days=days), opened or now - timedelta(days=days))
    measured = max((now - start).total_seconds() / 86_400, 1.0)
    late = _held(c for c in charges if c.reserved_at >= start)
    pace = budget.share(late) / measured
    latest = max(charges, key=lambda c: (c.reserved_at, c.id), default=None)
    shown = event or (latest.event if latest else None)
    remaining = budget.fits(shown, found) if shown else None
    return Forecast(
        pool=pool,
        made_at=now,
        days=measured,
        charges_of_late=late.charges,
        share=budget.share(found),
        share_of_late=budget.share(late),
        ends_at=_after(now, 1 - budget.share(found), pace),
        event=shown,
        remaining=remaining,
        lasts_until=_after(now, remaining or 0, late.charges / measured),
        slots=_slots(budget, found, late, now, measured),
    )


def _slots(budget: Budget, found: Held, late: Held, now: datetime, days: float) -> tuple[SlotForecast, ...]:
    if not isinstance(budget.rule, SlotPlan):
        return ()
    free = {slot.name: slot.count - found.slots.get(slot.name, 0) for slot in budget.rule.slots}
    return tuple(
        SlotForecast(name, count, _after(now, count, late.slots.get(name, 0) / days))
        for name, count in free.items()
    )


def _held(charges: Iterable[Charge]) -> Held:
    events: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for charge in charges:
        events[accounting.canonical(charge.event)] += 1
        taken[charge.slot] += 1
    return Held(events, taken)


def _after(now: datetime, left: float, per_day: float) -> datetime | None:
    if not per_day > 0 or left / per_day > _LONGEST.days:
        return None
    return now + timedelta(days=max(0.0, left) / per_day)


def _opened_at(view: Transaction, pool: str) -> datetime | None:
    log = tables.audit
    opened = sa.select(log.c.at).where(log.c.subject == pool, log.c.action == "privacy.open")
    return view.connection.scalar(opened.order_by(log.c.number).limit(1))
