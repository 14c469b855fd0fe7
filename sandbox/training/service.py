"""How does a submission become a model version? Charge first, then read, train, judge, certify and register.

What fails after the charge is charged for the steps that began, and the run is marked with a code; a
process that is killed leaves the charge whole, and the next one goes on from its checkpoint. Messages of errors
are not kept: they could quote a record.
"""

from __future__ import annotations

import secrets
import traceback
from time import thread_time
from typing import TYPE_CHECKING

from sandbox.catalogue import stored
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NDLError, Refused
from sandbox.jobs import claims
from sandbox.jobs.presence import Hand
from sandbox.lifecycle import ChargeState, RunState, Standing, SubmissionState
from sandbox.privacy import accounting, ledger
from sandbox.records import (
    Charge,
    Dataset,
    Event,
    Json,
    ModelVersion,
    NoiseMark,
    Submission,
    TrainingRun,
)
from sandbox.registry import registry
from sandbox.roles import Person, Role
from sandbox.settings import Settings
from sandbox.storage import Store
from sandbox.submissions import admission
from sandbox.submissions.manifest import Manifest
from sandbox.threads import one_thread
from sandbox.training import encoded, going_on, incidents, loop, plan
from sandbox.training.certificate import certify, code_version
from sandbox.training.checkpoint import Checkpoint
from sandbox.training.going_on import Ran
from sandbox.training.plan import Plan
from sandbox.training.rehearsal import rehearse
from sandbox.training.sampler import Randomness, UnitRows

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.submissions.graph.lift import Model
    from sandbox.training.gate.gate import Judgement
    from sandbox.training.gate.witness import FirstNoise


class TrainingFailed(NDLError):
    """A training that was charged for and gave no model; `code` is all that is said of why."""

    def __init__(self, run: str, code: str) -> None:
        self.code = code
        todo = "An operator finds where it stopped in the run's record."
        if code == incidents.CODE:
            todo = f"An overseer looks into it: ndl incident show {run}"
        super().__init__(
            f"The training {run} failed ({code}) and gave no model; the steps that ran are charged.\n{todo}"
        )


def train(
    store: Store,
    settings: Settings,
    submission_id: str,
    person: Person,
    progress: loop.Progress | None = None,
    randomness: Randomness | None = None,
) -> ModelVersion:
    """Trains a submission with differential privacy and registers the model as a candidate.

    A submission that is trained already returns its model and charges nothing; one that was received
    and not yet admitted is admitted first (see sandbox.submissions.admission for what that raises).
    Raises Refused or BudgetExhausted before anything is spent, also while another process trains it;
    TrainingFailed after.
    """
    person.must_be(Role.OPERATOR, to="train a model")
    submission = store.get(Submission, submission_id)
    if submission.state is SubmissionState.TRAINED:
        return _trained(store, submission)
    key, arguments = f"training|{submission_id}", {"submission": submission_id}
    with claims.alone(store, key, "training", arguments, person.name) as hand:
        return _train(store, settings, submission_id, person, hand, progress, randomness)


def _train(
    store: Store, settings: Settings, submission_id: str, person: Person, hand: Hand,
    progress: loop.Progress | None, randomness: Randomness | None,
) -> ModelVersion:  # fmt: skip
    """Does it, while nobody else can."""

    def told(step: int, steps: int) -> None:
        hand.progress(step, steps, "training")
        if progress:
            progress(step, steps)

    began, submission = thread_time(), store.get(Submission, submission_id)
    if submission.state is SubmissionState.TRAINED:
        return _trained(store, submission)
    incidents.must_have_none_open(store, submission)
    if finished := _finished_by_another(store, settings, submission, person):
        return finished
    submission = _admitted(store, settings, submission, person)
    dataset = store.get(Dataset, submission.dataset)
    card = stored.card_of(dataset)
    encoding = Encoding(card, submission.task)
    chosen = _plan(store, submission, dataset, card, encoding)
    graph = admission.graph_of(store, settings, submission)
    with one_thread():
        from sandbox.submissions.graph.lift import Model

        model = Model(graph)
        rehearsed = rehearse(model, encoding.inputs, chosen, settings.training.engine)
        hand.check()
        code = code_version()
        run, kept = going_on.cut_off(store, settings, submission, dataset, code) or (None, None)
        if run and kept:
            chosen = Plan(**run.plan)
            charge, ran = going_on.go_on(store, run, kept, card, person)
        else:
            (charge, run), ran = _begin(store, submission, card, chosen, person), Ran()
            kept = Checkpoint.of(settings, run, submission, dataset, code)
        try:
            if not ran.steps:  # one that goes on was touched before
                ledger.touch(store, charge.id, person.name)
            weights, judgement = _learn(
                store, settings, model, dataset, encoding, chosen, randomness or Randomness.of_the_system(), told,
                ran.note, charge, rehearsed, kept,
            )  # fmt: skip
            charge = ledger.settle(store, charge.id, charge.event, person.name)
            hand.check()
            incidents.judged(store, run, judgement, person)
            again = going_on.charged_again(store, run)
            audited = judgement.certified
            certificate = certify(chosen, card, dataset, charge, submission.graph, audited, again)
            registered = registry.register(
                settings, run=run.id, submission=submission, dataset=dataset, card=card,
                graph=model.graph_with(weights), certificate=certificate,
            )  # fmt: skip
        except BaseException as error:
            code = _fail(store, run, submission, person, error)
            ran.settle(store, charge.id, person.name)
            kept.remove()
            if isinstance(error, Exception):
                raise TrainingFailed(run.id, code) from None
            raise
    kept.remove()
    return _finish(store, run, submission, registered, certificate, person, thread_time() - began)


def _finished_by_another(
    store: Store, settings: Settings, submission: Submission, person: Person
) -> ModelVersion | None:
    """The model of a run that was cut off after it had been registered and before our records said so: nothing
    is trained or charged again for it."""
    for run in store.all(TrainingRun, submission=submission.id, state=RunState.RESERVED):
        settled = store.all(Charge, id=run.charge, state=ChargeState.SETTLED)
        if settled and (found := registry.find(settings, submission.model, run.id)):
            return _finish(store, run, submission, *found, person)
    return None


def _admitted(store: Store, settings: Settings, submission: Submission, person: Person) -> Submission:
    """The submission with its graph; one that was cut off after it was received is admitted now."""
    if submission.state is SubmissionState.REFUSED:
        raise Refused(f"{submission.id} was refused, so it cannot be trained:\n{submission.note}")
    if not submission.graph:
        admission.admit(store, settings, submission, person.name)
    return store.get(Submission, submission.id)


def _trained(store: Store, submission: Submission) -> ModelVersion:
    finished = store.all(TrainingRun, submission=submission.id, state=RunState.FINISHED)
    return store.all(ModelVersion, run=finished[-1].id)[0]


def _plan(store: Store, submission: Submission, dataset: Dataset, card: Card, encoding: Encoding) -> Plan:
    manifest = Manifest.model_validate(submission.manifest)
    return plan.choose(
        encoding.inputs,
        manifest.recipe,
        manifest.training,
        units=dataset.training_units,
        max_rows_per_unit=card.max_rows_per_unit,
        epsilon=manifest.privacy.epsilon,
        budget_delta=card.budget.training.delta,
        settings=manifest.model,
    ).calibrated(ledger.calibration(store, ledger.training_pool(card)))


def _begin(
    store: Store, submission: Submission, card: Card, chosen: Plan, person: Person
) -> tuple[Charge, TrainingRun]:
    event = accounting.dp_sgd_event(chosen.noise_multiplier, chosen.sampling_rate, chosen.steps)
    purpose = f"training {submission.id}"
    charge = ledger.reserve(store, ledger.training_pool(card), event, card.unit, purpose, person.name)
    run = TrainingRun(
        id=f"{submission.model}-{secrets.token_hex(6)}",
        submission=submission.id,
        charge=charge.id,
        state=RunState.RESERVED,
        plan=chosen.to_json(),
        certificate={},
        started_at=store.clock(),
        finished_at=None,
    )
    with store.transaction() as tx:
        for earlier in tx.all(TrainingRun, submission=submission.id, state=RunState.RESERVED):
            gone = Event(person.name, "training.fail", earlier.id, details={"code": "interrupted"})
            tx.change(TrainingRun, earlier.id, gone, **_failed("interrupted", [], store))
        tx.add(run, Event(person.name, "training.start", run.id, purpose, {"charge": charge.id}))
    return charge, run


def _learn(
    store: Store,
    settings: Settings,
    model: Model,
    dataset: Dataset,
    encoding: Encoding,
    chosen: Plan,
    randomness: Randomness,
    progress: loop.Progress | None,
    begins: loop.Progress,
    charge: Charge,
    rehearsed: FirstNoise,
    kept: Checkpoint,
) -> tuple[dict[str, Tensor], Judgement]:
    """The weights, and whether they may be registered; nothing else of the training is kept."""
    import torch

    from sandbox.training.gate.gate import Gate

    records = encoded.of(dataset, encoding, settings.storage.folder.absolute() / "training")
    features, target, codes = records.features, records.target, records.codes
    units = UnitRows(codes, chosen.max_rows_per_unit)
    if len(units) != chosen.units:
        raise Refused("The training side does not hold the units it was registered with.")
    found = kept.read()
    gate = Gate(
        charge.event, chosen, model, features, target, codes, rehearsed, found.gate if found else None
    )
    weights = loop.fit(
        model, features, target, units, chosen, randomness, progress, begins,
        canaries=gate.canaries, observe=gate.observe, taken_up=found.training if found else None,
        keep=lambda training: kept.note(training.done, training, gate),
        by=settings.training.engine, compiled=settings.training.compile,
    )  # fmt: skip
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise FloatingPointError
    return weights, gate.judge(weights, [mark.signs for mark in store.all(NoiseMark)])


def _fail(
    store: Store, run: TrainingRun, submission: Submission, person: Person, error: BaseException
) -> str:
    code = _code(error)
    where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    with store.transaction() as tx:
        event = Event(person.name, "training.fail", run.id, details={"code": code})
        if tx.get(TrainingRun, run.id).state is not RunState.RESERVED:
            return code  # taken for dead: somebody else trains it now
        tx.change(TrainingRun, run.id, event, **_failed(code, where, store))
        if isinstance(error, incidents.KeptBack):
            incidents.opened(tx, run, error.judgement, person)
        tx.change(
            Submission,
            submission.id,
            Event(person.name, "submission.failed", submission.id, code),
            state=SubmissionState.FAILED,
            note=f"training failed: {code}",
        )
    return code


def _failed(code: str, where: list[str], store: Store) -> Json:
    return {
        "state": RunState.FAILED,
        "certificate": {"failure": code, "where": where},
        "finished_at": store.clock(),
    }


def _code(error: BaseException) -> str:
    if isinstance(error, FloatingPointError):
        return "weights not finite"
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    if isinstance(error, incidents.KeptBack):
        return incidents.CODE
    return "refused" if isinstance(error, NDLError) else "crashed"


def _finish(
    store: Store,
    run: TrainingRun,
    submission: Submission,
    registered: registry.Registered,
    certificate: Json,
    person: Person,
    seconds: float | None = None,
) -> ModelVersion:
    """`seconds` of this thread's CPU go into the audit log, which stays inside: how long a training took may
    depend on the records."""
    version = ModelVersion(
        id=f"{submission.model}/{registered.version}",
        model=submission.model,
        version=registered.version,
        dataset=submission.dataset,
        task=submission.task,
        run=run.id,
        developer=submission.developer,
        standing=Standing.CANDIDATE,
        logged_model=registered.logged_model,
        digest=registered.digest,
        registered_at=store.clock(),
    )
    with store.transaction() as tx:
        if tx.get(TrainingRun, run.id).state is not RunState.RESERVED:
            raise Refused(f"The training {run.id} was taken for dead and is done anew by another process.")
        tx.change(
            TrainingRun,
            run.id,
            Event(person.name, "training.finish", run.id, details={"cpu_seconds": seconds}),
            state=RunState.FINISHED,
            certificate=certificate,
            finished_at=store.clock(),
        )
        trained = Event(person.name, "submission.trained", submission.id)
        tx.change(Submission, submission.id, trained, state=SubmissionState.TRAINED, note="")
        tx.add(version, Event(person.name, "model.register", version.id, details={"sha256": version.digest}))
    return version
