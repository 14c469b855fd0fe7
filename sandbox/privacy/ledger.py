"""May this run learn more about these people? Charges are kept as events; budgets are replayed from them.

A charge is reserved, durable, before anything is read; touched, durable, before the first record is read;
and settled to what ran. It counts in full until it is settled. One that was never touched never reached
the data, and that is the only kind an operator may release. Whether a request fits is decided by the rule
of the pool's budget (see `budgets`), in the transaction that stores it.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sandbox.errors import NotFound, Refused
from sandbox.lifecycle import ChargeState
from sandbox.privacy import accounting, checks
from sandbox.privacy.budgets import Budget, Held, new_budget, rule_from_json
from sandbox.privacy.filter import RenyiFilter
from sandbox.privacy.slots import Slot
from sandbox.records import Charge, Dataset, Event, Json
from sandbox.roles import Person, Role
from sandbox.storage import tables

if TYPE_CHECKING:
    from sandbox.catalogue.card import Card, Guarantee
    from sandbox.storage import Store, Transaction

_CHARGES = tables.OF_RECORD[Charge]


@dataclass(frozen=True)
class SlotUse:
    """One kind of slot of a plan: how many there are, and how many are taken."""

    name: str
    count: int
    taken: int


@dataclass(frozen=True)
class BudgetStatus:
    """How a pool stands, on its rule's own ruler.

    `epsilon` at `delta` is the promise, whatever is asked in whatever order. `spent` and `left` add
    up to it and divide it in proportion to the Rényi cost used: they say how full the budget is, and
    are not the epsilon of what was released so far. `largest` is the epsilon of the largest single
    request that still fits: a Gaussian release under the filter, a slot under a plan. `slots` is
    empty under the filter, `order` is None under a plan.
    """

    pool: str
    epsilon: float
    delta: float
    spent: float
    left: float
    charges: int
    largest: float
    order: float | None = None
    slots: tuple[SlotUse, ...] = ()

    @property
    def share(self) -> float:
        """The part of the budget that is used, from 0 to 1."""
        return self.spent / self.epsilon


@dataclass(frozen=True)
class Opened:
    """The budget a pool has after a card asked for one; `note` says where that is not what was asked."""

    budget: Budget
    note: str = ""


def training_pool(card: Card) -> str:
    """The people this card's training data is about; datasets sharing a population share it."""
    return f"training:{card.population}"


def held_out_pool(card: Card, wave_name: str) -> str:
    """The people of one held-out wave; of all waves together when units recur."""
    return f"held-out:{card.population}" + ("" if card.recurs else f"/{wave_name}")


def population_of(pool: str) -> str:
    """The population whose people a pool is about."""
    return pool.partition(":")[2].partition("/")[0]


def open_budgets(tx: Transaction, card: Card, person_name: str) -> list[Opened]:
    """Opens the training budget the card asks for; waves follow as they are accepted.

    A pool that has a budget keeps it and its rule: a larger wish, or one of the other rule, is not granted
    (the note and the audit log say so), a smaller one lowers it. Raises Refused when it is below what is
    spent.
    """
    return [_open(tx, training_pool(card), card.budget.training, person_name)]


def open_wave_budget(tx: Transaction, card: Card, wave_name: str, person_name: str) -> Opened:
    """Opens the budget for evaluating this wave, under the same rules; opening it again changes nothing."""
    return _open(tx, held_out_pool(card, wave_name), card.budget.held_out, person_name)


def reserve(store: Store, pool: str, event: Json, unit: str, purpose: str, person_name: str) -> Charge:
    """Charges the event to the pool; when this returns, the charge is durable and counts in full.

    Raises NotFound for a pool without budget, Refused for an event that is none or a unit that is not this
    population's, BudgetExhausted or NoSlot when it does not fit; then nothing was charged.
    """
    event = accounting.checked(event)
    if not (unit and purpose):
        raise Refused("A charge names its privacy unit and its purpose.")
    with store.reading() as view:  # costs are worked out before the lock is taken, and remembered
        budget_of(view, pool).place(event, held(view, pool))
        _must_be_unit(view, pool, unit)
    with store.transaction() as tx:
        slot = budget_of(tx, pool).place(event, held(tx, pool))
        charge = Charge(
            uuid.uuid4().hex, pool, event, unit, accounting.ADJACENCY, purpose,
            ChargeState.RESERVED, tx.clock(), person_name, slot,
        )  # fmt: skip
        details = {"pool": pool, "event": event, "slot": slot}
        tx.add(charge, Event(person_name, "privacy.reserve", charge.id, purpose, details))
    return charge


def touch(store: Store, charge_id: str, person_name: str) -> Charge:
    """Notes, durably, that data is about to be read under this charge; call it before the first record is.

    Raises Refused for a charge that is not freshly reserved: released, settled, or touched before.
    """
    with store.transaction() as tx:
        charge = tx.get(Charge, charge_id)
        if charge.state is not ChargeState.RESERVED:
            raise Refused(f"This charge is {charge.state}, so no data may be read under it.")
        done = Event(person_name, "privacy.touch", charge_id, charge.purpose)
        return tx.change(Charge, charge_id, done, state=ChargeState.TOUCHED)


def settle(store: Store, charge_id: str, event: Json, person_name: str) -> Charge:
    """Lowers a charge to what really ran: the same mechanism with at most as many steps. A slot stays taken.

    Settling again with the same event changes nothing. Raises NotFound, or Refused for anything else.
    """
    event = accounting.checked(event)
    with store.transaction() as tx:
        charge = tx.get(Charge, charge_id)
        if charge.state is ChargeState.SETTLED and charge.event == event:
            return charge
        if charge.state not in (ChargeState.RESERVED, ChargeState.TOUCHED):
            raise Refused(
                f"This charge is {charge.state} already, and a {charge.state} charge never changes."
            )
        if not _lowers(charge.event, event):
            raise Refused("Settling may only lower the number of steps of the mechanism that was reserved.")
        done = Event(person_name, "privacy.settle", charge_id, charge.purpose, {"reserved": charge.event})
        return tx.change(Charge, charge_id, done, event=event, state=ChargeState.SETTLED)


def release(store: Store, charge_id: str, reason: str, person: Person) -> Charge:
    """Gives back a reservation that never reached the data, which the ledger itself proves: it was not touched.

    Whoever holds the charge can no longer touch it, so the proof stays true. Raises NotFound,
    or Refused for another role, for a charge that was touched or settled, and without a reason.
    """
    person.must_be(Role.OPERATOR, to="release a reservation")
    if not reason.strip():
        raise Refused("A release names its reason.")
    with store.transaction() as tx:
        charge = tx.get(Charge, charge_id)
        if charge.state is not ChargeState.RESERVED:
            raise Refused(
                f"This charge is {charge.state}: only a reservation that never reached the data is released."
            )
        done = Event(person.name, "privacy.release", charge_id, reason.strip(), {"event": charge.event})
        return tx.change(Charge, charge_id, done, state=ChargeState.RELEASED)


def calibration(store: Store, pool: str) -> Callable[[float, float, float, int], float]:
    """The noise multiplier for (epsilon, delta, sampling rate, steps) with which a training fits this pool's rule.

    See `Budget.noise_for`. Raises NotFound when the pool has no budget.
    """
    with store.reading() as view:
        budget, found = budget_of(view, pool), held(view, pool)

    def noise(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
        return budget.noise_for(epsilon, delta, sampling_rate, steps, found)

    return noise


def status(store: Store, pool: str) -> BudgetStatus:
    """How this pool stands; raises NotFound when it has no budget."""
    with store.reading() as view:
        return status_of(budget_of(view, pool), held(view, pool))


def statuses(store: Store) -> list[BudgetStatus]:
    """How every pool stands, ordered by name."""
    with store.reading() as view:
        return [status_of(budget, held(view, budget.pool)) for budget in budgets(view)]


def status_of(budget: Budget, found: Held) -> BudgetStatus:
    """How a pool with this budget and these charges stands."""
    rule, spent = budget.rule, budget.epsilon * budget.share(found)
    order: float | None = None
    slots: tuple[SlotUse, ...] = ()
    if isinstance(rule, RenyiFilter):
        order = rule.order
    else:
        slots = tuple(SlotUse(slot.name, slot.count, found.slots.get(slot.name, 0)) for slot in rule.slots)
    return BudgetStatus(
        budget.pool, budget.epsilon, budget.delta, spent, budget.epsilon - spent, found.charges,
        budget.largest(found), order, slots,
    )  # fmt: skip


def budgets(view: Transaction) -> Iterator[Budget]:
    """Every pool's budget, ordered by name."""
    rows = view.connection.execute(sa.select(tables.budgets).order_by(tables.budgets.c.pool))
    return (_budget(row) for row in rows)


def budget_of(view: Transaction, pool: str) -> Budget:
    """The budget of this pool; raises NotFound when it has none."""
    known = {budget.pool: budget for budget in budgets(view)}
    if pool not in known:
        raise NotFound("privacy budget", pool, known)
    return known[pool]


def held(view: Transaction, pool: str) -> Held:
    """What counts against a pool, replayed: every charge but the released; equal ones counted by the database."""
    text, slot = sa.cast(_CHARGES.c.event, sa.String), _CHARGES.c.slot
    query = sa.select(text, slot, sa.func.count()).group_by(text, slot)
    counts = _CHARGES.c.state != ChargeState.RELEASED
    events: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    for event, name, count in view.connection.execute(query.where(_CHARGES.c.pool == pool, counts)):
        events[event] += count
        slots[name] += count
    return Held(events, slots)


def budget_asked(pool: str, wish: Guarantee) -> Budget:
    """The budget that a new pool would get for this wish.

    Raises Refused for numbers that cannot be, a budget that admits nothing, or a plan that costs more than
    it promises.
    """
    epsilon = checks.positive(wish.epsilon, "A budget's epsilon")
    delta = checks.share(wish.delta, "A budget's delta")
    plan = (
        Slot(s.name, s.count, accounting.dp_sgd_event(s.noise_multiplier, s.sampling_rate, s.steps))
        for s in wish.slots
    )
    return new_budget(pool, epsilon, delta, tuple(plan))


def _must_be_unit(view: Transaction, pool: str, unit: str) -> None:
    """The unit whose part was bounded, and noise scaled to, is the one that the pool's promise is about."""
    known = {card_unit(dataset) for dataset in view.all(Dataset, population=population_of(pool))}
    if known and unit not in known:
        raise Refused(
            f"{pool} promises its budget to each {' or '.join(sorted(known))}; this charge is for each {unit}."
        )


def card_unit(dataset: Dataset) -> str:
    """The privacy unit as the dataset's card names it."""
    return str(dataset.card["ndl:dataset"].get("unit", "unit"))


def _open(tx: Transaction, pool: str, wish: Guarantee, person_name: str) -> Opened:
    stored = next((b for b in budgets(tx) if b.pool == pool), None)
    asked = budget_asked(pool, wish)
    if stored is None:
        return _write(tx, asked, sa.insert(tables.budgets), "privacy.open", person_name)
    if isinstance(stored.rule, RenyiFilter) and isinstance(asked.rule, RenyiFilter):
        asked = Budget(pool, asked.epsilon, asked.delta, stored.rule)  # the order was fixed with the pool
    if asked == stored:
        return Opened(stored)
    asked.must_admit()
    if not stored.lowered_to(asked, held(tx, pool)):
        note = (
            f"{pool} keeps its budget of {_words(stored)}; the card's {_words(asked)} would "
            "raise it or change its rule."
        )
        tx.log(Event(person_name, "privacy.keep", pool, note))
        return Opened(stored, note)
    change = sa.update(tables.budgets).where(tables.budgets.c.pool == pool)
    return _write(tx, asked, change, "privacy.lower", person_name, f"Lowered from {_words(stored)}.")


def _write(
    tx: Transaction, budget: Budget, change: sa.Insert | sa.Update, action: str, by: str, note: str = ""
) -> Opened:
    values = {
        "pool": budget.pool, "epsilon": budget.epsilon, "delta": budget.delta, "rule": budget.rule.to_json()
    }  # fmt: skip
    tx.connection.execute(change.values(**values))
    tx.log(Event(by, action, budget.pool, note, values))
    return Opened(budget, note)


def _budget(row: sa.Row[tuple[object, ...]]) -> Budget:
    return Budget(row.pool, row.epsilon, row.delta, rule_from_json(row.rule))


def _words(budget: Budget) -> str:
    rule = budget.rule
    kept = "a filter" if isinstance(rule, RenyiFilter) else f"a plan of {rule.total} slots"
    return f"ε = {budget.epsilon:g} at δ = {budget.delta:g} by {kept}"


def _lowers(reserved: Json, event: Json) -> bool:
    if reserved["event"] != "SelfComposed" or event["event"] != "SelfComposed":
        return reserved == event
    return bool(reserved["of"] == event["of"] and event["count"] <= reserved["count"])
