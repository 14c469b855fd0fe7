"""`ndl evaluate`, `findings`, `report`, `release`: judge models, read the verdicts, look closer, publish."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from sandbox.api import Sandbox
    from sandbox.records import Finding

_MARKS = {
    "beyond tolerance": "[bold red]▲",
    "within tolerance": "[green]✓",
    "too little data to tell": "[yellow]?",
}


@click.command()
@click.option("--due", is_flag=True, help="Do every evaluation that has no result yet.")
@click.option(
    "--list", "listed", is_flag=True, help="Say which evaluators there are, those of other packages too."
)
@click.pass_obj
def evaluate(box: Sandbox, due: bool, listed: bool) -> None:
    """Evaluate every hosted model on every wave that has arrived; doing it again changes nothing."""
    if due == listed:
        raise click.UsageError("Say --due or --list.")
    if listed:
        box.console.print(_evaluators())
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from evaluators.harness import evaluate_due
    from sandbox.records import Finding
    from sandbox.roles import Role

    box.person.must_be(Role.OPERATOR, Role.OVERSEER, to="run evaluations")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=box.console, transient=True) as bar:
        task = bar.add_task("Looking for what is due", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what or "Done")

        evaluations = evaluate_due(box.store, box.settings, box.person.name, progress)
    pairs = {(e.model_version, e.wave) for e in evaluations}
    failed = [e for e in evaluations if e.failure]
    box.console.print(f"{len(evaluations)} evaluations done, on {len(pairs)} pairs of a model and a wave.")
    for e in failed:
        box.console.print(f"[red]Failed[/red] {e.model_version} on {e.wave}, {e.evaluator}: {e.failure}")
    found = [f for f in box.store.all(Finding) if (f.model_version, f.wave) in pairs]
    if found:
        box.console.print(verdicts(found))
        box.console.print("Why, and what to do: [bold]ndl findings[/bold]")


@click.command()
@click.argument("model", default="")
@click.option("--all", "everything", is_flag=True, help="Also what is within tolerance.")
@click.pass_obj
def findings(box: Sandbox, model: str, everything: bool) -> None:
    """Say what moved and what to do, for MODEL (a name, or name/version) or every model."""
    from sandbox.errors import NotFound
    from sandbox.lifecycle import Verdict
    from sandbox.records import Finding, ModelVersion

    versions = box.store.all(ModelVersion)
    if model and not any(model in (v.model, v.id) for v in versions):
        raise NotFound("model", model, {v.model for v in versions})
    found = [
        f
        for f in box.store.all(Finding)
        if not model or model in (f.model_version.rsplit("/", 1)[0], f.model_version)
    ]
    shown = [f for f in found if everything or f.verdict is not Verdict.WITHIN]
    levels = ("High", "Medium", "Low")
    for f in sorted(shown, key=lambda f: (f.model_version, f.wave, levels.index(f.level), f.rule, f.subject)):
        box.console.print(
            f"{_MARKS[f.verdict]} {f.level}[/] [bold]{f.model_version}[/bold] {f.rule} ({f.state})"
        )
        box.console.print(f"  {f.sentence}", highlight=False, markup=False)
    hidden = len(found) - len(shown)
    if hidden:
        box.console.print(f"{hidden} more within tolerance; --all shows them.")
    if found:
        from evaluators.monitor import budget
        from evaluators.policy import load_policy

        policy = load_policy(box.settings.evaluation.policy).monitoring
        said = budget(box.store, policy).words
        box.console.print(f"Alarm budget: {said}", highlight=False)
    else:
        box.console.print("No findings yet. Evaluate what is due: [bold]ndl evaluate --due[/bold]")


@click.command()
@click.argument("model_version", default="", metavar="[MODEL/VERSION]")
@click.option("--all", "everything", is_flag=True, help="One release for every model.")
@click.pass_obj
def release(box: Sandbox, model_version: str, everything: bool) -> None:
    """Publish what may be said of MODEL/VERSION; charged to each wave's privacy budget, once."""
    from evaluators import publication

    if bool(model_version) == everything:
        raise click.UsageError("Name one MODEL/VERSION, or say --all.")
    if everything:
        releases = publication.publish_all(box.store, box.settings, box.person)
    else:
        releases = [publication.publish(box.store, box.settings, model_version, box.person)]
    for made in releases:
        box.console.print(f"{made.model_version} released as {made.id[:16]}", highlight=False)
    if not releases:
        box.console.print("No model to release. Train one first: [bold]ndl train[/bold]")


@click.command()
@click.argument("model_version", metavar="MODEL/VERSION")
@click.argument("wave")
@click.pass_obj
def report(box: Sandbox, model_version: str, wave: str) -> None:
    """Make Evidently's report of MODEL/VERSION on WAVE, for looking closer; it stays inside."""
    from evaluators.evidently_report import make_report

    with box.console.status("Reading a sample and asking the model"):
        file = make_report(box.store, box.settings, model_version, wave, box.person)
    box.console.print(
        f"{file}\nThe model's page of the live dashboard links to it. It may not leave.", highlight=False
    )


def _evaluators() -> Table:
    from rich.table import Table

    from evaluators.catalogue import all_evaluators

    table = Table(
        "evaluator", "version", "tasks", "what it answers", title="Evaluators", title_justify="left"
    )
    for e in all_evaluators():
        table.add_row(e.name, str(e.version), ", ".join(sorted(e.kinds)), e.question)
    return table


def verdicts(found: Iterable[Finding]) -> Table:
    """The checks of each model version and wave by their worst answer: those beyond, those unsure, how many within."""
    from rich import box
    from rich.table import Table

    from sandbox.lifecycle import Verdict

    order = [Verdict.WITHIN, Verdict.UNKNOWN, Verdict.BEYOND]
    worst: dict[tuple[str, str], dict[str, Verdict]] = {}
    for f in found:
        row = worst.setdefault((f.model_version, f.wave), {})
        row[f.rule] = max(row.get(f.rule, Verdict.WITHIN), f.verdict, key=order.index)
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("model", "wave"):
        table.add_column(title, no_wrap=True)
    for verdict in reversed(order):
        table.add_column(
            f"{_MARKS[verdict]}[/] {verdict}", justify="right" if verdict is Verdict.WITHIN else "left"
        )
    for (model, wave), row in sorted(worst.items()):
        checks = {v: sorted(rule for rule in row if row[rule] is v) for v in order}
        beyond, unsure = (", ".join(checks[v]) for v in (Verdict.BEYOND, Verdict.UNKNOWN))
        table.add_row(model, wave.rpartition("/")[2], beyond, unsure, str(len(checks[Verdict.WITHIN])))
    return table
