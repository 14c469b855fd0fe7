"""What may be said of a pool's privacy, by which ruler, and which pools are about the same people?

A *promise* is the filter's or the plan's: it holds whatever is asked. Everything else in a report is a reading:
the odometer (see `history`), and the epsilons and mu that would hold *if parameters had been fixed in advance*.
A screen keeps the two apart, in the words of `wording`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sandbox.errors import Refused
from sandbox.lifecycle import ChargeState
from sandbox.privacy import accounting, ledger
from sandbox.privacy.budgets import Budget, Held
from sandbox.privacy.filter import RenyiFilter
from sandbox.privacy.gaussian_dp import central_limit_mu, dominating_mu
from sandbox.privacy.odometer import Odometer
from sandbox.records import Charge, Dataset, Json
from sandbox.storage import tables

if TYPE_CHECKING:
    from sandbox.storage import Store, Transaction


MOST_DIFFERENT = 100
"""Of more different events no privacy loss distribution is worked out: each takes about 30 ms. RDP is a bound on it."""


@dataclass(frozen=True)
class Readings:
    """What was charged so far, at `delta`, by several rulers; every one is empty of promise.

    `pld`, `pld_replace_one`, `rdp` and the two mu hold if parameters had been fixed in advance; None is "no
    such figure" ("best of K" and discrete noise have no privacy loss distribution) or "too long to work out"
    (see MOST_DIFFERENT). For `odometer` see the module of that name.
    """

    delta: float
    odometer: float
    pld: float | None
    pld_replace_one: float | None
    rdp: float
    mu: float | None
    mu_central_limit: float | None


@dataclass(frozen=True)
class Report:
    """One pool: its promise and use (`status`), its charges by state, and what can be read off them."""

    status: ledger.BudgetStatus
    unit: str
    adjacency: str
    states: dict[str, int]
    readings: Readings


@dataclass(frozen=True)
class Population:
    """The pools about one population. Nobody is in two of `disjoint`, so those compose in parallel;
    everybody in one of them may also be in each of `shared`.

    `epsilon` and `delta` are what one person is promised across all of them. Another population may hold
    the same person: nothing here knows, and such promises add.
    """

    name: str
    unit: str
    datasets: tuple[str, ...]
    disjoint: tuple[ledger.BudgetStatus, ...]
    shared: tuple[ledger.BudgetStatus, ...]
    epsilon: float
    delta: float


def report(store: Store, pool: str) -> Report:
    """The report of one pool; raises NotFound when it has no budget."""
    with store.reading() as view:
        budget, found = ledger.budget_of(view, pool), ledger.held(view, pool)
        counts = states(view).get(pool, Counter())
        unit = units(view).get(ledger.population_of(pool), "unit")
    status = ledger.status_of(budget, found)
    return Report(status, unit, accounting.ADJACENCY, dict(counts), readings(budget, found))


def readings(budget: Budget, found: Held) -> Readings:
    """Every ruler laid on what is held."""
    event, delta, few = composed(found), budget.delta, len(found.events) <= MOST_DIFFERENT
    return Readings(
        delta=delta,
        odometer=Odometer.of(budget).reading(found.events),
        pld=_epsilon(event, delta, "pld", "add/remove") if few else None,
        pld_replace_one=_epsilon(event, delta, "pld", "replace-one") if few else None,
        rdp=_epsilon(event, delta, "rdp", "add/remove") or 0.0,
        mu=dominating_mu(event) if few else None,
        mu_central_limit=central_limit_mu(event),
    )


def composed(found: Held) -> Json:
    """All that is held as one event."""
    return accounting.compose(
        {"event": "SelfComposed", "count": count, "of": json.loads(event)}
        for event, count in sorted(found.events.items())
    )


def populations(store: Store) -> list[Population]:
    """Every population with a budget, by name, and which of its pools compose in parallel."""
    with store.reading() as view:
        all_statuses = [ledger.status_of(b, ledger.held(view, b.pool)) for b in ledger.budgets(view)]
        datasets, unit_of = view.all(Dataset), units(view)
    pools: dict[str, list[ledger.BudgetStatus]] = defaultdict(list)
    for status in all_statuses:
        pools[ledger.population_of(status.pool)].append(status)
    return [
        _population(
            name, unit_of.get(name, "unit"), tuple(d.name for d in datasets if d.population == name), found
        )
        for name, found in sorted(pools.items())
    ]


def states(view: Transaction) -> dict[str, Counter[str]]:
    """How many charges of each pool are in which state."""
    table = tables.OF_RECORD[Charge]
    query = sa.select(table.c.pool, table.c.state, sa.func.count()).group_by(table.c.pool, table.c.state)
    found: dict[str, Counter[str]] = defaultdict(lambda: Counter({str(state): 0 for state in ChargeState}))
    for pool, state, count in view.connection.execute(query):
        found[pool][str(state)] = count
    return found


def units(view: Transaction) -> dict[str, str]:
    """The privacy unit of each population, as the cards of its datasets name it."""
    return {d.population: ledger.card_unit(d) for d in view.all(Dataset)}


def rule_words(status: ledger.BudgetStatus) -> str:
    """`filter at Rényi order 12`, or `plan of 44 slots`."""
    if status.order is not None:
        return f"filter at Rényi order {status.order:g}"
    return f"plan of {sum(slot.count for slot in status.slots)} slots"


def plan_cost(budget: Budget) -> float | None:
    """What a plan of slots costs altogether at the pool's delta, by PLD; None under a filter."""
    return None if isinstance(budget.rule, RenyiFilter) else budget.rule.epsilon(budget.delta)


def _population(
    name: str, unit: str, datasets: tuple[str, ...], found: list[ledger.BudgetStatus]
) -> Population:
    """Training and held-out sides share nobody, nor do waves. A pool of all waves that stands beside pools of
    single waves (some datasets say that units recur, some that they do not) shares people with each."""
    waves = [s for s in found if s.pool.startswith("held-out:") and "/" in s.pool]
    every_wave = [s for s in found if s.pool == f"held-out:{name}"] if waves else []
    disjoint = [s for s in found if s not in every_wave]
    held_out = [(w.epsilon + e.epsilon, w.delta + e.delta) for w in waves for e in every_wave]
    promises = [(s.epsilon, s.delta) for s in disjoint] + held_out
    epsilon, delta = (max(numbers) for numbers in zip(*promises, strict=True))
    return Population(name, unit, datasets, tuple(disjoint), tuple(every_wave), epsilon, delta)


def _epsilon(
    event: Json, delta: float, method: accounting.Method, adjacency: accounting.Adjacency
) -> float | None:
    try:
        return accounting.epsilon_of([event], delta, method, adjacency) if event["of"] else 0.0
    except Refused:
        return None
