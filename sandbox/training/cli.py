"""`ndl train`: an operator trains what was submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from sandbox.api import Sandbox
    from sandbox.records import Json, ModelVersion


@click.command()
@click.argument("submission", required=False)
@click.option("--all", "everything", is_flag=True, help="Train every submission that waits.")
@click.option("--later", is_flag=True, help="Only ask for it: a worker trains it (ndl jobs list).")
@click.pass_obj
def train(box: Sandbox, submission: str | None, everything: bool, later: bool) -> None:
    """Train SUBMISSION with differential privacy and register the model as a candidate."""
    from sandbox.lifecycle import SubmissionState
    from sandbox.records import Submission

    if bool(submission) == everything:
        raise click.UsageError("Name one submission, or give --all.")
    states = (SubmissionState.RECEIVED, SubmissionState.ADMITTED)
    waiting = [s for s in box.store.all(Submission) if s.state in states]
    names = [submission] if submission else [s.id for s in sorted(waiting, key=lambda s: s.received_at)]
    if not names:
        box.console.print("No submission waits for training.")
    if later:
        _ask(box, names)
        return
    for name in names:
        _train(box, name)


def _ask(box: Sandbox, submissions: list[str]) -> None:
    from sandbox.jobs import claims
    from sandbox.records import Submission
    from sandbox.roles import Role
    from sandbox.training.jobs import KIND

    box.person.must_be(Role.OPERATOR, to="have a model trained")
    wanted = [{"submission": box.store.get(Submission, name).id} for name in submissions]
    asked = claims.ask(box.store, ((KIND.key_of(a), KIND.name, a) for a in wanted), box.person.name)
    box.console.print(f"{asked} of {len(wanted)} trainings are new and wait for a worker.")


def _train(box: Sandbox, submission: str) -> None:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    from sandbox.records import TrainingRun

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} steps/s" if task.speed else "", style="cyan")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=box.console, transient=True) as bar:
        task = bar.add_task(f"training {submission}", total=1)
        version = box.train(submission, lambda step, steps: bar.update(task, completed=step, total=steps))
    _print_certificate(box.console, version, box.store.get(TrainingRun, version.run).certificate)


def _print_certificate(console: Console, version: ModelVersion, certificate: Json) -> None:
    from rich.table import Table

    from sandbox.privacy import wording

    table = Table(title=f"Certificate of {version.id}", show_header=False, title_justify="left")
    table.add_row(f"{wording.alone('training')}, by PLD", wording.certified(certificate))
    table.add_row(
        f"the same, by {certificate['epsilon_opacus_by']}", wording.number(certificate["epsilon_opacus"])
    )
    if bound := wording.audited(certificate):
        table.add_row(wording.AUDITED, bound)
        table.add_row("release gate", certificate["gate"])
    table.add_row("unit", certificate["unit_means"])
    table.add_row("charged to", certificate["pool"])
    table.add_row("noise multiplier", f"{certificate['noise_multiplier']:.3f}")
    table.add_row("sampling", f"{certificate['sampling_rate']:.4f} of {certificate['units']:,} units a step")
    table.add_row("steps", f"{certificate['steps']:,}")
    console.print(table)
