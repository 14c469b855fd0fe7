"""`ndl demo`: tells the story of one dataset and three models while it happens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from sandbox.api import Sandbox

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from dashboards.demo.story import Story
    from sandbox.records import Finding, ModelVersion, Submission


@click.command()
@click.option("--serve/--no-serve", default=True, help="Serve the three faces afterwards.")
@click.pass_obj
def demo(box: Sandbox, serve: bool) -> None:
    """Run the whole job on real data, from the first record to the public page."""
    from dashboards.demo.fresh import fresh_folder
    from dashboards.up import serve as serve_until_stopped

    with fresh_folder(box.folder):
        try:
            _tell(box)
            if serve:
                serve_until_stopped(box)
        finally:
            box.store.close()


def _tell(box: Sandbox) -> None:
    import time

    from dashboards.demo.story import Story

    started = time.monotonic()
    say, story = box.console, Story(box)
    say.print("\n[bold]NDL Sandbox[/]: models trained on people's records, and not a record handed out.\n")

    _chapter(say, "The custodian brings in the data")
    with say.status("Checking the card and every record ..."):
        dataset = story.bring_in_data()
    say.print(f"  {dataset.title}\n  {dataset.training_rows:,} records to train on; the rest is held out.")

    _chapter(say, "Three developers each submit a model; none of them sees a record")
    submissions = story.submit()
    for s in submissions:
        how = s.manifest.get("recipe") or "model.py"
        epsilon = s.manifest["privacy"]["epsilon"]
        say.print(f"  [green]✓[/] {s.developer:<8} {s.model:<20} {how:<10} asks for ε = {epsilon}")

    _chapter(say, "Each model is trained with differential privacy")
    models = _train(say, story, submissions)

    _chapter(say, "Every held-out wave that has arrived is evaluated")
    _evaluate(say, story)

    _chapter(say, "The overseer decides")
    for model in story.decide():
        say.print(f"  [green]✓[/] {model.model} {model.version} is now {model.standing}")

    for name, bring in story.later_waves(dataset):
        _chapter(say, f"A new wave arrives: {name}")
        with say.status("Checking the wave ..."):
            wave = bring()
        say.print(f"  {wave.rows:,} records, {wave.state}")
        _evaluate(say, story)

    _chapter(say, "What the public may know")
    with say.status("Drawing noise once, checking disclosure rules, building the pages ..."):
        releases = story.publish()
        pages = story.build_pages()
    say.print(f"  {len(releases)} releases cleared, {len(pages)} files in {box.folder / 'public'}")
    seconds = time.monotonic() - started
    say.print(
        f"\n[bold green]Done[/] in {seconds:.0f} s: {len(models)} models, everything in {box.folder}.\n"
    )


def _chapter(say: Console, title: str) -> None:
    say.print(f"\n[bold blue]▌[/] [bold]{title}[/]")


def _advance(progress: Progress, bar: TaskID, step: int, of: int) -> None:
    progress.update(bar, completed=step, total=of)


def _train(say: Console, story: Story, submissions: list[Submission]) -> list[ModelVersion]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sandbox.privacy import wording
    from sandbox.records import TrainingRun

    columns = (
        TextColumn("  {task.description:<20}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    models = []
    with Progress(*columns, console=say) as progress:
        bars = [progress.add_task(s.model, total=None) for s in submissions]
        for submission, bar in zip(submissions, bars, strict=True):
            models.append(story.train(submission, partial(_advance, progress, bar)))
    for model in models:
        certificate = story.box.store.get(TrainingRun, model.run).certificate
        say.print(
            f"  [green]✓[/] {model.id:<22} {wording.alone('training')}:\n      {wording.certified(certificate)}"
        )
    return models


def _evaluate(say: Console, story: Story) -> None:
    from evaluators.cli import verdicts

    with say.status("Scoring, counting, judging ..."):
        findings = story.evaluate()
    say.print(verdicts(findings))
    _say_what_is_beyond(say, findings)


def _say_what_is_beyond(say: Console, findings: list[Finding]) -> None:
    from rich.padding import Padding

    for finding in findings:
        if finding.verdict == "beyond tolerance":
            words = f"[bold red]▲[/] [bold]{finding.model_version}[/]: {finding.sentence}"
            say.print(Padding(words, (0, 4, 0, 2)), highlight=False)
