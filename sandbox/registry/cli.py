"""`ndl model`: which models there are, what one is, and where it shall stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sandbox.lifecycle import Standing

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.records import Submission


@click.group()
def model() -> None:
    """List and show trained models; decide where they stand."""


@model.command("list")
@click.pass_obj
def list_(box: Sandbox) -> None:
    """Every model version, with its standing and its privacy guarantee."""
    from rich.table import Column, Table

    from sandbox.privacy import wording
    from sandbox.records import ModelVersion, TrainingRun

    versions = sorted(box.store.all(ModelVersion), key=lambda v: (v.model, v.version))
    if not versions:
        box.console.print("No model is registered yet. Train one: [bold]ndl train --all[/bold]")
        return
    whole = [Column(name, no_wrap=True) for name in ("model", "standing")]
    table = Table(*whole, Column("task", overflow="fold"), "developer", wording.alone("training"))
    for version in versions:
        certificate = box.store.get(TrainingRun, version.run).certificate
        table.add_row(
            version.id,
            str(version.standing),
            version.task,
            version.developer,
            wording.certified(certificate),
        )
    box.console.print(table)


@model.command()
@click.argument("version", metavar="NAME/VERSION")
@click.pass_obj
def show(box: Sandbox, version: str) -> None:
    """One model version: its lineage, its certificate, the decisions about it."""
    from rich.table import Column, Table

    from sandbox.records import Decision, ModelVersion, Submission, TrainingRun

    found = box.store.get(ModelVersion, version)
    run = box.store.get(TrainingRun, found.run)
    lines = Table("what", Column("value", overflow="fold"), title=found.id, show_header=False)
    for name in ("standing", "dataset", "task", "developer", "run", "logged_model", "digest"):
        lines.add_row(name.replace("_", " "), str(getattr(found, name)))
    for name, value in run.certificate.items():
        lines.add_row(name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value))
    for name, text in _graph_lines(box, box.store.get(Submission, run.submission)):
        lines.add_row(name, text)
    box.console.print(lines)
    for decision in sorted(box.store.all(Decision, model_version=version), key=lambda d: d.decided_at):
        when = f"{decision.decided_at:%Y-%m-%d %H:%M}"
        box.console.print(f"{when}  {decision.action}, by {decision.person}: {decision.reason}", markup=False)


def _graph_lines(box: Sandbox, submission: Submission) -> list[tuple[str, str]]:
    """What the admitted graph is and who made it; none for a version from before there were graphs."""
    from rich.markup import escape

    from sandbox.records import AdmittedGraph

    lines = []
    for graph in box.store.all(AdmittedGraph, id=submission.graph):
        made, told = graph.made_by, graph.summary
        by = f"recipe {made['recipe']}" if "recipe" in made else f"model.py behind {made['backend']}"
        kinds = [layer["kind"] or "steps" for layer in told["layers"]]
        lines += [
            ("graph made by", by),
            ("graph layers", escape(", ".join(kinds))),
            ("graph reads", escape(", ".join(told["inputs_used"]))),
            ("parameters", f"{told['trainable']:,} learned of {told['parameters']:,}"),
            ("work per record", f"{told['flops_per_record']:,} operations in {told['nodes']:,} steps"),
        ]
    return lines


@model.command()
@click.argument("version", metavar="NAME/VERSION")
@click.argument("standing", type=click.Choice([str(s) for s in Standing if s is not Standing.CANDIDATE]))
@click.option("--reason", required=True, help="Why; kept with the decision, and may be published.")
@click.pass_obj
def decide(box: Sandbox, version: str, standing: str, reason: str) -> None:
    """Give NAME/VERSION another standing. Overseers only, and never for their own model."""
    decided = box.decide(version, Standing(standing), reason)
    box.console.print(f"{decided.id} is now [bold]{decided.standing}[/bold].")
