"""`ndl compare`: declare the one test of a challenger against a champion, and read what tests have said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sandbox.api import Sandbox


@click.command()
@click.argument("challenger", default="", metavar="[CHALLENGER/VERSION]")
@click.argument("champion", default="", metavar="[CHAMPION/VERSION]")
@click.option("--reason", default="", help="Why this test; kept with the declaration.")
@click.pass_obj
def compare(box: Sandbox, challenger: str, champion: str, reason: str) -> None:
    """Declare a paired test of CHALLENGER against CHAMPION on the next wave to arrive; alone: list the tests."""
    from evaluators import challenger as tests
    from evaluators.tallies import Tallies
    from sandbox.records import ModelVersion

    if challenger:
        if not champion:
            raise click.UsageError("Name both: CHALLENGER/VERSION and CHAMPION/VERSION.")
        version = box.store.get(ModelVersion, challenger)
        kind = Tallies(box.store, box.settings).encoding(version.dataset, version.task).task.kind
        made = tests.declare(box.store, challenger, champion, kind, box.person, reason)
        box.console.print(
            f"Declared: {made.measure}, on the next wave of {made.dataset} to arrive. It runs once."
        )
        return
    with box.store.reading() as view:
        lines = tests.told(view)
    for line in lines or ["No test is declared."]:
        box.console.print(line, highlight=False, markup=False)
