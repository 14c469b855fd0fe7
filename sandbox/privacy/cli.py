"""`ndl budget`: how much of each privacy budget is used, and what still fits?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sandbox.api import Sandbox

if TYPE_CHECKING:
    from rich.table import Table

    from sandbox.privacy.ledger import BudgetStatus
    from sandbox.storage import Store


@click.group()
def budget() -> None:
    """Privacy budgets: what is promised, what is used, what still fits."""


@budget.command()
@click.argument("pool", required=False)
@click.pass_obj
def show(box: Sandbox, pool: str | None) -> None:
    """Show every pool of people with a budget, or one POOL."""
    from sandbox.privacy import ledger

    found = [ledger.status(box.store, pool)] if pool else ledger.statuses(box.store)
    if not found:
        box.console.print("No budgets yet: they open with the first dataset. Try `ndl dataset add`.")
        return
    box.console.print(_table(found, box.store))
    box.console.print(
        "The promise holds whatever is asked in whatever order (filter at one Rényi order, add/remove "
        "adjacency). Used is its share by Rényi cost, not the epsilon of what was released "
        "so far. The last column is the largest epsilon that one further request can have.",
        style="dim",
    )


def _table(found: list[BudgetStatus], store: Store) -> Table:
    from rich.table import Table

    from sandbox.privacy.accounting import ADJACENCY

    table = Table(
        "pool", "unit", "adjacency", "promised ε", "δ", "used", "charges", "one more\nrequest",
        box=None, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.columns[0].overflow = "fold"  # the name of a pool is never cut
    for column in table.columns[1:]:
        column.no_wrap = True
    for column in table.columns[3:]:
        column.justify = "right"
    units = _units(store)
    for s in found:
        table.add_row(
            s.pool, units.get(_population(s.pool), "?"), ADJACENCY, f"{s.epsilon:g}", f"{s.delta:g}",
            f"{s.share:.1%}", str(s.charges), f"ε ≤ {_down(s.largest)}",
        )  # fmt: skip
    return table


def _units(store: Store) -> dict[str, str]:
    """The privacy unit of each population, as the cards of its datasets name it."""
    from sandbox.records import Dataset

    return {d.population: d.card["ndl:dataset"]["unit"] for d in store.all(Dataset)}


def _population(pool: str) -> str:
    return pool.partition(":")[2].partition("/")[0]


def _down(epsilon: float) -> str:
    return f"{int(epsilon * 100) / 100:.2f}"
