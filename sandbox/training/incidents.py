"""What becomes of a training that did not keep its promise? An incident, open until a named person closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import NDLError, Refused
from sandbox.lifecycle import IncidentState
from sandbox.records import Event, Incident, NoiseMark, Submission, TrainingRun
from sandbox.roles import Person, Role, must_not_be_own
from sandbox.storage import Store, Transaction

if TYPE_CHECKING:
    from sandbox.training.gate.gate import Judgement

CODE = "kept back by the release gate"


class KeptBack(NDLError):
    """The release gate does not let this model be registered."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        super().__init__(judgement.sentence)


def judged(store: Store, run: TrainingRun, judgement: Judgement, person: Person) -> None:
    """Keeps what the gate said of a run; raises KeptBack when it said no."""
    with store.transaction() as tx:
        event = Event(person.name, "gate.judge", run.id, details=judgement.said)
        tx.add(NoiseMark(run.id, judgement.signs), event)
    if judgement.failed:
        raise KeptBack(judgement)


def opened(tx: Transaction, run: TrainingRun, judgement: Judgement, person: Person) -> None:
    """Opens the incident of a run that did not pass."""
    incident = Incident(
        id=run.id, submission=run.submission, test=judgement.failed[0].name, sentence=judgement.sentence,
        tests=judgement.said, state=IncidentState.OPEN, opened_at=tx.clock(),
    )  # fmt: skip
    tx.add(incident, Event(person.name, "incident.open", run.id, incident.sentence))


def resolve(store: Store, incident: str, person: Person, reason: str) -> Incident:
    """Says what was found and done about it. The submission may be trained again, at a new charge.

    Overseers only, not for their own submission, and with a reason. Raises Refused, NotFound.
    """
    person.must_be(Role.OVERSEER, to="resolve an incident")
    reason = reason.strip()
    if not reason:
        raise Refused("An incident is resolved with a reason: what was wrong, and what was done about it.")
    with store.transaction() as tx:
        found = tx.get(Incident, incident)
        must_not_be_own(person, [tx.get(Submission, found.submission).developer], to=f"resolve {incident}")
        if found.state is not IncidentState.OPEN:
            raise Refused(f"{incident} was resolved by {found.resolved_by}: {found.reason}")
        return tx.change(
            Incident,
            incident,
            Event(person.name, "incident.resolve", incident, reason),
            state=IncidentState.RESOLVED,
            resolved_by=person.name,
            reason=reason,
            resolved_at=store.clock(),
        )


def must_have_none_open(store: Store, submission: Submission) -> None:
    """Raises Refused: training again before somebody has looked would be charged for the same fault."""
    for incident in store.all(Incident, submission=submission.id, state=IncidentState.OPEN):
        raise Refused(
            f"{submission.id} is not trained again while an incident is open: {incident.sentence}\n"
            f"An overseer looks into it: ndl incident show {incident.id}"
        )
