"""`ndl check`: a developer asks, before submitting, whether a submission would be admitted and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.catalogue.card import Card
    from sandbox.records import Dataset
    from sandbox.submissions.check import Report

ASSUMED_UNITS = 10_000


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--card", "card_file", type=click.Path(path_type=Path), help="The dataset's card.json, or its folder."
)
@click.option("--units", type=click.IntRange(min=1), help="How many units the training side has.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def check(box: Sandbox, folder: Path, card_file: Path | None, units: int | None, as_json: bool) -> None:
    """Try out the submission in FOLDER on dummy records: would it be admitted, and what would it cost?

    Nothing is stored or charged. Ends with 6 when a model.py cannot be isolated here, after saying what was
    checked all the same.
    """
    import json

    from sandbox.submissions import check as checking
    from sandbox.submissions.check_tables import report_tables

    contents, manifest = checking.read(folder)
    card, known_units = _card(box, manifest.dataset, card_file)
    of_units = units or known_units or ASSUMED_UNITS
    with box.console.status("Trying it out on dummy records"):
        report = checking.check(box.settings, contents, manifest, card, of_units)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        for part in report_tables(report):
            box.console.print(part)
        if not (units or known_units):
            box.console.print(
                f"The card does not say how many units the training side has: {of_units:,} are assumed. "
                "Give --units.", style="yellow",
            )  # fmt: skip
        box.console.print(_verdict(report), style="bold")
        box.console.print("Nothing was stored and nothing charged.")
    report.quote.must_fit()
    report.must_be_whole()


def _verdict(report: Report) -> str:
    if report.missing:
        return "As far as it could be checked here, it would be admitted."
    if not report.quote.fits:
        return "It would be admitted, and then not trained: no budget of this dataset holds its epsilon."
    return "It would be admitted."


def _card(box: Sandbox, name: str, file: Path | None) -> tuple[Card, int | None]:
    """The card from this file, else from this installation's store; and the training side's units, where known."""
    from sandbox.catalogue.card import load_card
    from sandbox.catalogue.stored import card_of
    from sandbox.errors import Invalid, Problem

    stored = _stored(box, name)
    if file:
        card = load_card(file)
        same = stored is not None and card.digest == stored.card_digest
        return card, stored.training_units if stored and same else None
    if stored is None:
        what = f"this installation has no dataset called {name!r}, so its card is not known here"
        todo = "Give its card, which is public: --card card.json."
        raise Invalid("This check", [Problem("card", what, todo)])
    return card_of(stored), stored.training_units


def _stored(box: Sandbox, name: str) -> Dataset | None:
    """The dataset as stored here; a store that is not there yet is not made."""
    from sandbox.records import Dataset

    settings = box.settings.storage
    if not settings.database and not (settings.folder / "ndl.db").is_file():
        return None
    return next(iter(box.store.all(Dataset, name=name)), None)
