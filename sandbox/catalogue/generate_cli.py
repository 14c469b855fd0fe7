"""`ndl dataset generate`: synthetic people at any size, with drift where and when one asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sandbox.api import Sandbox

if TYPE_CHECKING:
    from sandbox.catalogue.people_drift import Drift

_ROWS = click.IntRange(1, 10_000_000)


@click.command("generate")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--subject", default="health", show_default=True, help="What the records are about.")
@click.option("--linked", is_flag=True, help="One dataset of each subject, about the same people.")
@click.option("--rows", type=_ROWS, default=10_000, show_default=True, help="Records in the training file.")
@click.option("--waves", type=click.IntRange(0), default=4, show_default=True, help="Later waves.")
@click.option("--wave-rows", type=_ROWS, default=5_000, show_default=True, help="Records in each later wave.")
@click.option("--sites", type=click.IntRange(1), default=6, show_default=True)
@click.option(
    "--recurs/--no-recurs", default=True, show_default=True, help="Do people come again in later waves?"
)
@click.option(
    "--max-rows", type=click.IntRange(1), default=4, show_default=True, help="Per person in a file."
)
@click.option("--label-delay", type=click.IntRange(0), default=0, show_default=True, help="In days.")
@click.option("--canaries", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same bytes.")
@click.option(
    "--drift", "drifts", multiple=True, metavar="KIND@WAVE[:STRENGTH[:GROUP]]", help="May be repeated."
)
@click.pass_obj
def generate(
    box: Sandbox, out: Path, subject: str, linked: bool, rows: int, waves: int, wave_rows: int, sites: int,
    recurs: bool, max_rows: int, label_delay: int, canaries: int, seed: int, drifts: tuple[str, ...],
) -> None:  # fmt: skip
    """Make a dataset of synthetic people, with its card, in the new folder OUT."""
    from sandbox.catalogue import people

    plan = people.PeoplePlan(
        subject=subject, seed=seed, rows=rows, waves=waves, wave_rows=wave_rows, sites=sites, recurs=recurs,
        max_rows_per_person=max_rows, label_delay_days=label_delay, canaries=canaries,
        drifts=tuple(map(_drift, drifts)),
    )  # fmt: skip
    with box.console.status("Making synthetic people"):
        made = people.generate_linked(out, plan) if linked else [people.generate(out, plan)]
    for folder in made:
        box.console.print(
            f"Wrote {rows:,} training records and {waves} waves of {wave_rows:,} to {folder}", soft_wrap=True
        )
    box.console.print("They are synthetic. Bring them in with: ndl dataset add FOLDER")


def _drift(text: str) -> Drift:
    from sandbox.catalogue.people_drift import Drift

    kind, _, rest = text.partition("@")
    onset, strength, group = [*rest.split(":", 2), "", ""][:3]
    try:
        more = {"group": group} if group else {}
        return Drift(kind, int(onset), float(strength or 1), **more)
    except ValueError:
        todo = f"{text!r}: write KIND@WAVE, such as inputs@2, or inputs@2:0.5 with a strength."
        raise click.BadParameter(todo, param_hint="--drift") from None
