"""How do workers train? Each submission is one job; who may ask for it is decided when it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from sandbox.jobs.kinds import Kind, Later
from sandbox.lifecycle import SubmissionState
from sandbox.records import Json, Submission

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.jobs.presence import Hand

JOB = "training"
MOST_DEATHS = 3
"""Whoever dies after the charge leaves it whole, and the next one is charged again: not for ever."""


def _due(box: Sandbox) -> list[Json]:
    waiting = (SubmissionState.RECEIVED, SubmissionState.ADMITTED)
    found = [s for state in waiting for s in box.store.all(Submission, state=state)]
    return [{"submission": s.id} for s in sorted(found, key=lambda s: (s.received_at, s.id))]


def _run(box: Sandbox, arguments: Json, _hand: Hand) -> None:
    try:
        box.train(arguments["submission"])
    except (OSError, MemoryError, OperationalError) as error:  # before the charge: after it, TrainingFailed
        raise Later(f"this machine could not begin it ({type(error).__name__})") from None


KIND = Kind(
    name=JOB, queue="trainings", when="train", key=lambda arguments: str(arguments["submission"]),
    due=_due, run=_run, most_deaths=MOST_DEATHS,
)  # fmt: skip
