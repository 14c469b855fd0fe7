"""`ndl worker` does what is asked for; `ndl jobs` shows it, asks for it, tries it again, calls it off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import threading

    from sandbox.api import Sandbox

_MARKS = {
    "running": "cyan",
    "waiting": "yellow",
    "failed": "bold red",
    "cancelled": "magenta",
    "done": "green",
}


@click.command()
@click.option(
    "--only", type=click.Choice(["trainings", "evaluations"]), help="Leave the others to other workers."
)
@click.pass_obj
def worker(box: Sandbox, only: str | None) -> None:
    """Train and evaluate what is asked for, here, until Ctrl-C or SIGTERM.

    As many workers as wanted, on as many machines as reach the database and the storage folder.
    """
    import logging
    import os
    import sys

    from sandbox.engine import QUEUES, SHARDS
    from sandbox.jobs.worker import work
    from sandbox.roles import Role

    box.person.must_be(Role.OPERATOR, to="run a worker")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    queues = {"trainings": ("trainings",), "evaluations": ("evaluations", SHARDS)}.get(
        only or "", tuple(QUEUES)
    )
    stop = stops_on_a_signal()

    def left() -> None:  # its threads may still be doing what is somebody else's now
        words = "Stopped." if stop.is_set() else "This worker was silent for too long and was taken for dead."
        box.console.print(words)
        sys.stdout.flush()
        os._exit(0 if stop.is_set() else 1)

    def ready(name: str) -> None:
        box.console.print(f"Worker {name} is at work. Ctrl-C stops it; what it has begun goes on elsewhere.")

    work(box, stop, queues=queues, ready=ready, left=left)


@click.group()
def jobs() -> None:
    """What is being done, what waits, and what went wrong."""


@jobs.command("list")
@click.option("--all", "everything", is_flag=True, help="Also all that is done.")
@click.pass_obj
def list_(box: Sandbox, everything: bool) -> None:
    """List what is running, waiting and failed, and what was done lately."""
    from rich.table import Table

    from sandbox.jobs.listing import jobs_now

    _may_see(box)
    found = jobs_now(box.store, everything=everything)
    table = Table("job", "state", "attempt", "done", "since (UTC)", "note", box=None, padding=(0, 1))
    for line in found.lines:
        share = "" if line.share is None else f"{line.share:.0%}"
        state = f"[{_MARKS[line.state]}]{line.words}[/]"
        table.add_row(line.key, state, str(line.attempt), share, f"{line.since:%Y-%m-%d %H:%M:%S}", line.note)
    if found.lines:
        box.console.print(table)
    counted = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    workers = f"{found.workers} worker{'' if found.workers == 1 else 's'} at work"
    box.console.print(f"{counted or 'No jobs'}; {workers}.", highlight=False)


@jobs.command()
@click.argument("key")
@click.pass_obj
def show(box: Sandbox, key: str) -> None:
    """Show all that is known of the job KEY."""
    from rich.table import Table

    from sandbox.jobs.listing import listed
    from sandbox.jobs.presence import everybody
    from sandbox.records import Job

    _may_see(box)
    job = box.store.get(Job, key)
    (line,) = listed([job], *everybody(box.store)).lines
    table = Table(title=key, show_header=False, title_justify="left")
    table.add_row("state", line.words)
    table.add_row("note", line.note)
    table.add_row("progress", f"{job.done:,} of {job.total:,}" if job.total else "")
    table.add_row("worker", line.worker)
    table.add_row(
        "attempt", f"{job.attempt}, on which {job.deaths} workers died" if job.deaths else str(job.attempt)
    )
    table.add_row("asked for by", job.asked_by)
    for name in ("asked_at", "started_at", "ended_at", "again_at"):
        moment = getattr(job, name)
        table.add_row(name.replace("_", " "), f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "")
    box.console.print(table)


@jobs.command()
@click.argument("key")
@click.option("--reason", default="", help="Why; kept in the audit log.")
@click.pass_obj
def retry(box: Sandbox, key: str, reason: str) -> None:
    """Have the job KEY tried again: one that failed, was cancelled, or waits to be tried again."""
    from sandbox.jobs import claims

    claims.retry(box.store, key, box.person, reason)
    box.console.print(f"{key} waits for a worker.", highlight=False)


@jobs.command()
@click.argument("key")
@click.option("--reason", default="", help="Why; kept in the audit log.")
@click.pass_obj
def cancel(box: Sandbox, key: str, reason: str) -> None:
    """Call the job KEY off. A training that has begun is charged for the steps it took."""
    from sandbox.jobs import claims

    claims.cancel(box.store, key, box.person, reason)
    box.console.print(f"{key} is cancelled; a worker that does it stops within seconds.", highlight=False)


@jobs.command()
@click.option("--trainings", is_flag=True, help="Also ask for every submission that waits to be trained.")
@click.pass_obj
def ask(box: Sandbox, trainings: bool) -> None:
    """Ask for all that is due, once: every kind of job with a schedule. Asking twice changes nothing."""
    from sandbox.jobs.kinds import all_kinds
    from sandbox.jobs.scheduler import scheduled, tick
    from sandbox.roles import Role

    box.person.must_be(Role.OPERATOR, Role.OVERSEER, to="ask for jobs")
    wanted = {kind.name: kind for kind in scheduled(box)}
    if trainings:
        wanted["training"] = all_kinds()["training"]
    box.console.print(f"{tick(box, wanted.values())} new jobs wait for a worker.")


@jobs.command()
@click.pass_obj
def schedule(box: Sandbox) -> None:
    """Ask for what is due whenever `[schedule]` says, until Ctrl-C or SIGTERM. Several may run.

    Meanwhile it sees to workers that died, as every worker does.
    """
    import logging

    from sandbox.engine import Engine
    from sandbox.jobs.care import Care
    from sandbox.jobs.kinds import all_kinds
    from sandbox.jobs.scheduler import keep_schedule, scheduled
    from sandbox.roles import Role

    box.person.must_be(Role.OPERATOR, to="keep the schedule")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    names = ", ".join(f"{kind.name}s" for kind in scheduled(box))
    box.console.print(f"Keeping the schedule of: {names or 'nothing; see [schedule] in the settings'}.")
    care = Care(box.store, Engine(box.settings), all_kinds())
    keep_schedule(box, stops_on_a_signal(), meanwhile=care.look)
    box.console.print("Stopped.")


def stops_on_a_signal() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set; the second Ctrl-C interrupts as usual."""
    import signal
    import threading

    stop = threading.Event()

    def asked(_number: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    return stop


def _may_see(box: Sandbox) -> None:
    from sandbox.roles import Role

    box.person.must_be(Role.OPERATOR, Role.OVERSEER, Role.CUSTODIAN, to="see the jobs")
