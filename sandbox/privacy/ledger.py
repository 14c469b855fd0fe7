"""May this run learn more about these people? Charges are kept as events; budgets are replayed from them.

The filter: when a pool's budget (epsilon, delta) is opened, one Rényi order is fixed for it, and a
request is admitted while the Rényi costs at that order sum to at most the bound that converts to
(epsilon, delta). Feldman and Zrnic (2021, arXiv 2008.11193) prove that this holds however later
requests depend on earlier results. See this package's README for the argument and its limits.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sandbox.errors import BudgetExhausted, NotFound, Refused
from sandbox.lifecycle import ChargeState
from sandbox.privacy import accounting, checks
from sandbox.privacy.filter import Budget, gaussian_epsilon, order_for
from sandbox.records import Charge, Event, Json
from sandbox.storage import tables

if TYPE_CHECKING:
    from sandbox.catalogue.card import Card, Guarantee
    from sandbox.storage import Store, Transaction

_CHARGES = tables.OF_RECORD[Charge]


@dataclass(frozen=True)
class BudgetStatus:
    """How a pool stands, on the filter's own ruler.

    `epsilon` at `delta` is the promise, whatever is asked in whatever order. `spent` and `left` add
    up to it and divide it in proportion to the Rényi cost used: they say how full the filter is, and
    are not the epsilon of what was released so far. `largest` is the epsilon of the largest single
    Gaussian release that still fits, which is what one more request can ask for.
    """

    pool: str
    epsilon: float
    delta: float
    spent: float
    left: float
    charges: int
    order: float
    largest: float

    @property
    def share(self) -> float:
        """The part of the budget that is used, from 0 to 1."""
        return self.spent / self.epsilon


@dataclass(frozen=True)
class Opened:
    """The budget a pool has after a card asked for one; `note` says where that is not what was asked."""

    pool: str
    epsilon: float
    delta: float
    order: float
    note: str = ""


def training_pool(card: Card) -> str:
    """The people this card's training data is about; datasets sharing a population share it."""
    return f"training:{card.population}"


def held_out_pool(card: Card, wave_name: str) -> str:
    """The people of one held-out wave; of all waves together when units recur."""
    return f"held-out:{card.population}" + ("" if card.recurs else f"/{wave_name}")


def open_budgets(tx: Transaction, card: Card, person_name: str) -> list[Opened]:
    """Opens the training budget the card asks for; waves follow as they are accepted.

    A pool that has a budget keeps it: a larger wish is not granted (the note and the audit log say
    so), a smaller one lowers it. Raises Refused when it is below what is spent.
    """
    return [_open(tx, training_pool(card), card.budget.training, person_name)]


def open_wave_budget(tx: Transaction, card: Card, wave_name: str, person_name: str) -> Opened:
    """Opens the budget for evaluating this wave, under the same rules; opening it again changes nothing."""
    return _open(tx, held_out_pool(card, wave_name), card.budget.held_out, person_name)


def reserve(store: Store, pool: str, event: Json, unit: str, purpose: str, person_name: str) -> Charge:
    """Charges the event to the pool; when this returns, the charge is durable and counts in full.

    Raises NotFound for a pool without budget, Refused for an event that is none, BudgetExhausted when
    it does not fit; then nothing was charged.
    """
    event = accounting.checked(event)
    if not (unit and purpose):
        raise Refused("A charge names its privacy unit and its purpose.")
    with store.reading() as view:  # costs are worked out before the lock is taken, and remembered
        budget = _budget(view, pool)
        _used(view, budget)
    cost = accounting.rdp_at(event, budget.order)
    with store.transaction() as tx:
        budget = _budget(tx, pool)
        used = _used(tx, budget)
        if not used + cost <= budget.bound:
            raise BudgetExhausted(pool, budget.as_gaussian(cost), budget.as_gaussian(budget.bound - used))
        charge = Charge(
            uuid.uuid4().hex, pool, event, unit, accounting.ADJACENCY, purpose,
            ChargeState.RESERVED, tx.clock(), person_name,
        )  # fmt: skip
        details = {"pool": pool, "event": event}
        tx.add(charge, Event(person_name, "privacy.reserve", charge.id, purpose, details))
    return charge


def settle(store: Store, charge_id: str, event: Json, person_name: str) -> Charge:
    """Lowers a reserved charge to what really ran: the same mechanism with at most as many steps.

    Settling again with the same event changes nothing. Raises NotFound, or Refused for anything else.
    """
    event = accounting.checked(event)
    with store.transaction() as tx:
        charge = tx.get(Charge, charge_id)
        if charge.state is ChargeState.SETTLED and charge.event == event:
            return charge
        if charge.state is not ChargeState.RESERVED:
            raise Refused("This charge is settled already, and a settled charge never changes.")
        if not _lowers(charge.event, event):
            raise Refused("Settling may only lower the number of steps of the mechanism that was reserved.")
        done = Event(person_name, "privacy.settle", charge_id, charge.purpose, {"reserved": charge.event})
        change = sa.update(_CHARGES).where(_CHARGES.c.id == charge_id)
        tx.connection.execute(change.values(event=event, state=ChargeState.SETTLED))
        tx.log(done)
        return tx.get(Charge, charge_id)


def status(store: Store, pool: str) -> BudgetStatus:
    """How this pool stands; raises NotFound when it has no budget."""
    with store.reading() as view:
        return _status(view, _budget(view, pool))


def statuses(store: Store) -> list[BudgetStatus]:
    """How every pool stands, ordered by name."""
    with store.reading() as view:
        return [_status(view, budget) for budget in _budgets(view)]


def _open(tx: Transaction, pool: str, wish: Guarantee, person_name: str) -> Opened:
    epsilon = checks.positive(wish.epsilon, "A budget's epsilon")
    delta = checks.share(wish.delta, "A budget's delta")
    stored = next((b for b in _budgets(tx) if b.pool == pool), None)
    if stored is None:
        asked = Budget(pool, epsilon, delta, order_for(epsilon, delta))
        asked.must_admit()
        return _write(tx, asked, sa.insert(tables.budgets), "privacy.open", person_name)
    asked = Budget(pool, epsilon, delta, stored.order)
    if (asked.epsilon, asked.delta) == (stored.epsilon, stored.delta):
        return _opened(stored)
    asked.must_admit()
    if asked.bound >= stored.bound:
        note = (
            f"{pool} keeps its budget of ε = {stored.epsilon:g} at δ = {stored.delta:g}; "
            f"the card's ε = {asked.epsilon:g} at δ = {asked.delta:g} would raise it."
        )
        tx.log(Event(person_name, "privacy.keep", pool, note))
        return _opened(stored, note)
    if _used(tx, stored) > asked.bound:
        raise Refused(
            f"{pool} has spent more than a budget of ε = {asked.epsilon:g} at δ = {asked.delta:g} allows; "
            "a budget never shrinks below what is spent."
        )
    change = sa.update(tables.budgets).where(tables.budgets.c.pool == pool)
    note = f"Lowered from ε = {stored.epsilon:g} at δ = {stored.delta:g}."
    return _write(tx, asked, change, "privacy.lower", person_name, note)


def _write(
    tx: Transaction, budget: Budget, change: sa.Insert | sa.Update, action: str, by: str, note: str = ""
) -> Opened:
    values = {
        "pool": budget.pool, "epsilon": budget.epsilon, "delta": budget.delta, "order": budget.order
    }  # fmt: skip
    tx.connection.execute(change.values(**values))
    tx.log(Event(by, action, budget.pool, note, values))
    return _opened(budget, note)


def _opened(budget: Budget, note: str = "") -> Opened:
    return Opened(budget.pool, budget.epsilon, budget.delta, budget.order, note)


def _budgets(view: Transaction) -> Iterator[Budget]:
    rows = view.connection.execute(sa.select(tables.budgets).order_by(tables.budgets.c.pool))
    return (Budget(**row._mapping) for row in rows)


def _budget(view: Transaction, pool: str) -> Budget:
    known = {budget.pool: budget for budget in _budgets(view)}
    if pool not in known:
        raise NotFound("privacy budget", pool, known)
    return known[pool]


def _used(view: Transaction, budget: Budget) -> float:
    """The Rényi cost of every charge of the pool, replayed; equal events are counted by the database."""
    text = sa.cast(_CHARGES.c.event, sa.String)
    query = sa.select(text, sa.func.count()).where(_CHARGES.c.pool == budget.pool).group_by(text)
    return math.fsum(
        count * accounting.rdp_at_text(event, budget.order) for event, count in view.connection.execute(query)
    )


def _status(view: Transaction, budget: Budget) -> BudgetStatus:
    count = sa.select(sa.func.count()).where(_CHARGES.c.pool == budget.pool)
    used = _used(view, budget)
    spent = budget.epsilon * used / budget.bound
    return BudgetStatus(
        budget.pool, budget.epsilon, budget.delta, spent, budget.epsilon - spent,
        int(view.connection.scalar(count) or 0), budget.order,
        gaussian_epsilon(max(0.0, budget.bound - used), budget.order, budget.delta),
    )  # fmt: skip


def _lowers(reserved: Json, event: Json) -> bool:
    if reserved["event"] != "SelfComposed" or event["event"] != "SelfComposed":
        return reserved == event
    return bool(reserved["of"] == event["of"] and event["count"] <= reserved["count"])
