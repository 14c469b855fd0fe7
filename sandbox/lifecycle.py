"""Which states things pass through, and which steps between them are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sandbox.errors import Refused


class WaveState(StrEnum):
    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"


class SubmissionState(StrEnum):
    """Received as bytes; admitted as a record graph that passed its checks, or refused; then trained."""

    RECEIVED = "received"
    ADMITTED = "admitted"
    REFUSED = "refused"
    TRAINED = "trained"
    FAILED = "failed"


class RunState(StrEnum):
    RESERVED = "reserved"
    FINISHED = "finished"
    FAILED = "failed"


class JobState(StrEnum):
    """What has been asked of the workers. Waiting and running are open; the others are over."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ChargeState(StrEnum):
    """A charge counts in full until it is settled, which may only lower it to the steps that ran.

    Touched: data is being read under it. One that was never touched may be released, and counts no more.
    """

    RESERVED = "reserved"
    TOUCHED = "touched"
    SETTLED = "settled"
    RELEASED = "released"


class Standing(StrEnum):
    CANDIDATE = "candidate"
    CHALLENGER = "challenger"
    CHAMPION = "champion"
    SUSPENDED = "suspended"
    RETIRED = "retired"


class Verdict(StrEnum):
    """The only three answers a finding may give."""

    BEYOND = "beyond tolerance"
    WITHIN = "within tolerance"
    UNKNOWN = "too little data to tell"


class IncidentState(StrEnum):
    """A promise that a training broke, until a named person has said what became of it."""

    OPEN = "open"
    RESOLVED = "resolved"


class FindingState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


STANDINGS: Mapping[Standing, frozenset[Standing]] = {
    Standing.CANDIDATE: frozenset({Standing.CHALLENGER, Standing.CHAMPION, Standing.RETIRED}),
    Standing.CHALLENGER: frozenset({Standing.CHAMPION, Standing.SUSPENDED, Standing.RETIRED}),
    Standing.CHAMPION: frozenset({Standing.CHALLENGER, Standing.SUSPENDED, Standing.RETIRED}),
    Standing.SUSPENDED: frozenset({Standing.CHALLENGER, Standing.CHAMPION, Standing.RETIRED}),
    Standing.RETIRED: frozenset(),
}


def check_standing(now: Standing, wanted: Standing) -> None:
    """Raises Refused when a model version may not move from `now` to `wanted`."""
    if wanted not in STANDINGS[now]:
        allowed = ", ".join(sorted(STANDINGS[now])) or "nothing: this is final"
        raise Refused(f"A {now} model cannot become {wanted}. From {now} it may become: {allowed}.")
