"""`ndl submit`: a developer offers a model for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sandbox.api import Sandbox


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def submit(box: Sandbox, folder: Path) -> None:
    """Offer the model described in FOLDER (submission.toml, and model.py or a recipe) for training."""
    from rich.table import Table

    from sandbox.submissions import intake

    with box.console.status("Making the model’s record graph where there is no data, and checking it ..."):
        received = intake.submit(box.store, box.settings, folder, box.person)
    receipt = Table(title=str(received.state).capitalize(), show_header=False, title_justify="left")
    receipt.add_row("submission", received.id)
    receipt.add_row("sha256", received.digest)
    receipt.add_row("model", f"{received.model}, for {received.task} on {received.dataset}")
    receipt.add_row("developer", received.developer)
    receipt.add_row("record graph", received.graph)
    receipt.add_row("state", str(received.state))
    box.console.print(receipt)
    box.console.print(
        f"Next, an operator trains it with differential privacy: [bold]ndl train {received.id}[/bold]\n"
        "Then every wave of held-out data is scored, and an overseer decides where it stands."
    )
