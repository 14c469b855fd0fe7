"""`ndl results`: shows, exports and archives what was measured."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.records import Measurement


@click.group()
def results() -> None:
    """Show, export or archive what was measured."""


@results.command()
@click.argument("model", default="")
@click.option("--name", default="", help="Of this measure only, week by week, such as auc.")
@click.option("--groups", is_flag=True, help="Of every group too, not of everyone only.")
@click.pass_obj
def show(box: Sandbox, model: str, name: str, groups: bool) -> None:
    """Show the newest values, of MODEL (name/version) or of every model."""
    from rich.table import Table

    from sandbox.roles import Role

    box.person.must_be(Role.OVERSEER, Role.CUSTODIAN, Role.OPERATOR, to="see exact results")
    with box.store.reading() as view:
        found = view.latest(model or None, name or None, None if groups else "")
        weeks = view.weekly(model, name) if model and name else []
    table = Table("model", "measure", "of", "value", "95 %", "n", "wave", box=None)
    for one in sorted(found, key=lambda o: (o.model_version, o.measurement.name, o.measurement.group)):
        m = one.measurement
        of = " ".join(part for part in (m.group, m.feature) if part) or "everyone"
        table.add_row(one.model_version, m.name, of, _value(m), _interval(m), str(m.n), one.wave)
    box.console.print(table)
    if weeks:
        by_week = Table("week of", "waves", "mean", "least", "most", box=None)
        for week in weeks:
            numbers = ("-" if v is None else f"{v:.4g}" for v in (week.mean, week.least, week.most))
            by_week.add_row(week.start.isoformat(), str(week.waves), *numbers)
        box.console.print(by_week)


@results.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", default="", help="Of this model version only (name/version).")
@click.pass_obj
def export(box: Sandbox, file: Path, model: str) -> None:
    """Write every value to FILE: .csv, .parquet or .json (one record a line)."""
    from sandbox.roles import Role
    from sandbox.storage import export as exported

    box.person.must_be(Role.OVERSEER, Role.CUSTODIAN, to="take exact results out of the database")
    count = exported.export(box.store, file, model or None, box.person.name)
    box.console.print(f"{count:,} values written to {file}. They are exact figures: they stay inside.")


@results.command()
@click.option(
    "--before", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Waves dated before this day."
)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Else results/ in our folder."
)
@click.pass_obj
def archive(box: Sandbox, before: datetime, folder: Path | None) -> None:
    """Move old values into Parquet files with a manifest; newest values and weekly summaries stay."""
    from sandbox.roles import Role
    from sandbox.storage.archive import archive as archived

    box.person.must_be(Role.OPERATOR, to="archive results")
    made = archived(
        box.store, before.date(), folder or box.settings.storage.folder / "results", box.person.name
    )
    box.console.print(
        f"{made.values:,} values of {made.evaluations:,} evaluations moved to {made.folder} (sha256 {made.id})."
    )


def _value(m: Measurement) -> str:
    return m.status if m.value is None else f"{m.value:.4g}"


def _interval(m: Measurement) -> str:
    return "" if m.low is None or m.high is None else f"{m.low:.4g} to {m.high:.4g}"
