"""`ndl budget`: what is promised, what was charged, what would fit, and when is it gone?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandbox.api import Sandbox

if TYPE_CHECKING:
    from sandbox.privacy.quote import Request
    from sandbox.storage import Transaction

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
_SETTINGS = (
    click.option("--epsilon", type=float, help="Find the noise for this epsilon."),
    click.option("--noise", type=float, help="Noise multiplier: standard deviation over the clip."),
    click.option("--rate", type=float, help="Chance of each unit to be in a step."),
    click.option("--batch", type=float, help="Units in a step on average, in place of --rate."),
    click.option("--units", type=int, help="Of how many units --batch is a part (else as registered)."),
    click.option("--steps", type=int, help="How many steps."),
    click.option("--epochs", type=float, help="Passes over all units, in place of --steps."),
    click.option("--delta", type=float, help="Delta of this training's own epsilon (else the pool's)."),
)


def _training_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a training; without sampling and steps it is one release with Gaussian noise."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.group()
def budget() -> None:
    """Privacy budgets: what is promised, what is used, what still fits."""


@budget.command()
@click.argument("pool", required=False)
@AS_JSON
@click.pass_obj
def show(box: Sandbox, pool: str | None, as_json: bool) -> None:
    """Show every pool of people with a budget, or all that can be said of one POOL."""
    from sandbox.privacy import ledger, reports, screens, wording

    if pool:
        _say(box, found := reports.report(box.store, pool), as_json, screens.report_tables(found))
        return
    statuses, populations = ledger.statuses(box.store), reports.populations(box.store)
    if as_json:
        _print_json({"pools": statuses, "populations": populations})
        return
    if not statuses:
        box.console.print("No budgets yet: they open with the first dataset. Try `ndl dataset add`.")
        return
    with box.store.reading() as view:
        box.console.print(screens.overview(statuses, reports.units(view), reports.states(view)))
    box.console.print(
        f"{wording.PROMISE_NOTE} {wording.USED_NOTE} Charges are counted as "
        "reserved/touched/settled/released; the released count no more. One more request: the largest epsilon it "
        "can have.\n",
        style="dim",
    )
    for line in screens.population_lines(populations):
        box.console.print(line)


@budget.command()
@click.argument("pool", required=False)
@_training_settings
@AS_JSON
@click.pass_obj
def quote(box: Sandbox, /, pool: str | None, as_json: bool, **asked: Any) -> None:
    """What would a training cost POOL, and how many such still fit? Spends nothing.

    Without sampling and steps: one release with Gaussian noise.
    """
    from sandbox.privacy import screens
    from sandbox.privacy.quote import quote as quoted

    found = quoted(box.store, _pool(box, pool), _request(asked))
    _say(box, found, as_json, screens.quote_tables(found))


@budget.command()
@click.argument("pool", required=False)
@AS_JSON
@click.pass_obj
def history(box: Sandbox, pool: str | None, as_json: bool) -> None:
    """Every charge of POOL in order, with the running odometer."""
    from sandbox.privacy import ledger, reports, screens
    from sandbox.privacy.history import history as entries_of

    pool = _pool(box, pool)
    entries = entries_of(box.store, pool)
    with box.store.reading() as view:
        delta, unit = ledger.budget_of(view, pool).delta, _unit(view, pool, reports.units)
    if not entries and not as_json:
        box.console.print(f"Nothing was charged to {pool} yet.", markup=False)
        return
    _say(box, entries, as_json, screens.history_table(entries, delta, unit))


@budget.command()
@click.argument("pool", required=False)
@click.option(
    "--days", type=float, default=90, show_default=True, help="Over how many days to take the pace."
)
@_training_settings
@AS_JSON
@click.pass_obj
def forecast(box: Sandbox, /, pool: str | None, days: float, as_json: bool, **asked: Any) -> None:
    """When is POOL used up at the pace of late, and how many trainings remain?

    Counts trainings like the latest, or as the options say.
    """
    from sandbox.privacy import screens
    from sandbox.privacy.forecast import forecast as foreseen
    from sandbox.privacy.quote import quote as quoted

    name, request = _pool(box, pool), _request(asked)
    event = None if request.empty else quoted(box.store, name, request).event
    found = foreseen(box.store, name, days, event)
    _say(box, found, as_json, screens.forecast_table(found))


@budget.command()
@click.argument("pool", required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file, else the screen.")
@click.pass_obj
def export(box: Sandbox, pool: str | None, out: Path | None) -> None:
    """The charges of POOL, or of all, as JSON that dp-accounting alone can replay. Holds nothing about records."""
    import json

    from sandbox.privacy.export import export as exported

    text = json.dumps(exported(box.store, pool), indent=1, ensure_ascii=False, allow_nan=False)
    if out is None:
        click.echo(text)
        return
    out.write_text(text + "\n", encoding="utf-8")
    box.console.print(
        f"Written to {out}. Its field “replay” is a program that checks it with dp-accounting alone."
    )


@budget.command()
@click.argument("charge")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
@click.pass_obj
def release(box: Sandbox, charge: str, reason: str) -> None:
    """Give back CHARGE, a reservation that never reached the data. Operators only."""
    from sandbox.privacy import ledger

    done = ledger.release(box.store, _charge_id(box, charge), reason, box.person)
    box.console.print(f"{done.id} of {done.pool} is released and counts no more.", markup=False)


def _pool(box: Sandbox, pool: str | None) -> str:
    """The pool that was named, or the only training pool there is; raises Refused."""
    from sandbox.errors import Refused
    from sandbox.privacy import ledger

    if pool:
        return pool
    with box.store.reading() as view:
        known = [b.pool for b in ledger.budgets(view) if b.pool.startswith("training:")]
    if len(known) != 1:
        raise Refused(f"Name a POOL: there are {len(known)} training pools. See `ndl budget show`.")
    return known[0]


def _charge_id(box: Sandbox, charge: str) -> str:
    """The charge that starts with this, as `ndl budget history` shortens it; raises Refused, NotFound."""
    from sandbox.errors import NotFound, Refused
    from sandbox.records import Charge

    found = [c.id for c in box.store.all(Charge) if c.id.startswith(charge)] if len(charge) >= 8 else []
    if len(found) > 1:
        raise Refused(f"{len(found)} charges start with {charge}: give more of it.")
    if not found:
        raise NotFound("charge", charge)
    return found[0]


def _unit(view: Transaction, pool: str, units: Callable[[Transaction], dict[str, str]]) -> str:
    from sandbox.privacy import ledger

    return units(view).get(ledger.population_of(pool), "unit")


def _request(asked: dict[str, Any]) -> Request:
    from sandbox.privacy.quote import Request

    return Request(**asked)


def _say(box: Sandbox, found: object, as_json: bool, drawn: Any) -> None:
    if as_json:
        _print_json(found)
        return
    for part in drawn:
        box.console.print(part)


def _print_json(found: object) -> None:
    from sandbox.privacy.as_json import text_of

    click.echo(text_of(found))
