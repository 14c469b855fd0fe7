"""How does a training go on whose process is gone, and what is it charged for? See `checkpoint` for why twice."""

from __future__ import annotations

from sandbox.catalogue.card import Card
from sandbox.lifecycle import ChargeState, RunState
from sandbox.privacy import accounting, ledger
from sandbox.records import Charge, Dataset, Event, Submission, TrainingRun
from sandbox.roles import Person
from sandbox.settings import Settings
from sandbox.storage import Store
from sandbox.training.checkpoint import Checkpoint


class Ran:
    """How many steps of a training began, for what it is charged when it fails."""

    def __init__(self, steps: int = 0) -> None:
        self.steps = steps

    def note(self, step: int, _of: int) -> None:
        self.steps = max(self.steps, step)

    def settle(self, store: Store, charge_id: str, person_name: str) -> None:
        """Lowers the charge of a training that failed; one that was released or settled stays as it is."""
        charge = store.get(Charge, charge_id)
        if charge.state is ChargeState.TOUCHED:
            event = accounting.with_steps(charge.event, self.steps)
            ledger.settle(store, charge_id, event, person_name)


def cut_off(
    store: Store, settings: Settings, submission: Submission, dataset: Dataset, code: str
) -> tuple[TrainingRun, Checkpoint] | None:
    """The training of this submission whose process is gone and which can go on from a checkpoint, if there is one."""
    for run in store.all(TrainingRun, submission=submission.id, state=RunState.RESERVED):
        kept = Checkpoint.of(settings, run, submission, dataset, code)
        if kept.read() and store.get(Charge, run.charge).state in (ChargeState.TOUCHED, ChargeState.SETTLED):
            return run, kept
        kept.remove()
    return None


def go_on(store: Store, run: TrainingRun, kept: Checkpoint, card: Card, person: Person) -> tuple[Charge, Ran]:
    """The charge of a training that goes on; the steps that may have run already are charged once more, first."""
    charge, found = store.get(Charge, run.charge), kept.read()
    assert found is not None
    done, steps = found.done, kept.at_risk(found.done)
    event = accounting.with_steps(charge.event, steps)
    again = ledger.reserve(store, charge.pool, event, card.unit, _again(run), person.name)
    ledger.touch(store, again.id, person.name)
    with store.transaction() as tx:
        details = {"charge": charge.id, "steps_done": done, "steps_charged_again": steps}
        tx.log(Event(person.name, "training.resume", run.id, f"training {run.submission}", details))
    return charge, Ran(done + steps)


def charged_again(store: Store, run: TrainingRun) -> list[Charge]:
    """The charges for steps of this run that were taken a second time."""
    return store.all(Charge, purpose=_again(run))


def _again(run: TrainingRun) -> str:
    return f"training {run.submission}: steps taken again after a crash of {run.id}"
