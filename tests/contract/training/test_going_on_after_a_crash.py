"""A training that is killed goes on from its checkpoint, with fresh noise, and pays for what may have run twice."""

import os
import signal
from contextvars import Context

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sandbox.lifecycle import ChargeState, RunState
from sandbox.privacy import accounting
from sandbox.records import Charge, Incident, Submission, TrainingRun
from sandbox.roles import Role
from sandbox.storage import Store
from sandbox.training import checkpoint, loop
from sandbox.training.sampler import Randomness
from sandbox.training.service import TrainingFailed, train
from tests.hostile.broken_noise import Noise, scaled

SETTINGS = "[training]\nbatch_size = 60\nepochs = 10\n"  # 240 units: 40 steps, kept every second one


class Unseen:
    """A gate that has seen nothing."""

    def state(self):
        return {}


def killed(clinic, submission, at):
    """Trains in a process of its own that is killed, as kill -9 does, once step `at` is done."""
    child = os.fork()
    if not child:

        def die(step, _steps):
            if step == at:
                os.kill(os.getpid(), signal.SIGKILL)

        store = Store(clinic.settings.database_url)
        Context().run(train, store, clinic.settings, submission.id, clinic.person("olga", Role.OPERATOR), die)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.fixture
def cut_off(clinic, mlflow_settings):
    """A training that was killed in its eighth step's aftermath; kept after step 6 is the newest that is whole."""
    submission = clinic.submit(settings=SETTINGS)
    killed(clinic, submission, 7)
    (run,) = clinic.store.all(TrainingRun)
    assert (run.state, run.plan["steps"]) == (RunState.RESERVED, 40)
    return submission, run


def test_a_killed_training_goes_on_and_is_charged_once_more_for_what_may_have_run_twice(clinic, cut_off):
    submission, run = cut_off
    told = []
    version = clinic.train(submission, progress=lambda step, _of: told.append(step))
    assert told == list(range(7, 41))
    assert version.run == run.id
    (finished,) = clinic.store.all(TrainingRun)
    assert finished.state is RunState.FINISHED
    whole, again = sorted(clinic.store.all(Charge), key=lambda charge: -charge.event["count"])
    assert [whole.event["count"], again.event["count"]] == [40, 2]
    assert again.state is ChargeState.TOUCHED  # it counts in full, for ever
    certificate = finished.certificate
    assert (certificate["steps"], certificate["steps_again"], certificate["audit_steps"]) == (40, 2, 40)
    assert certificate["charges_again"] == [again.id]
    both = accounting.epsilon_of([whole.event, again.event], certificate["delta"])
    assert certificate["epsilon"] == both > accounting.epsilon_of([whole.event], certificate["delta"])
    assert certificate["epsilon_opacus"] == pytest.approx(both, rel=0.02)
    assert list((clinic.settings.storage.folder / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("at", [3, 38])
def test_a_training_that_was_killed_and_had_too_little_noise_before_gives_no_model(
    clinic, mlflow_settings, monkeypatch, at
):
    submission = clinic.submit(settings=SETTINGS)
    with monkeypatch.context() as faulty:
        faulty.setattr(loop, "noised", Noise(scaled(1.25)))
        killed(clinic, submission, at)
    with pytest.raises(TrainingFailed, match="kept back by the release gate"):
        clinic.train(submission)
    (incident,) = clinic.store.all(Incident)
    assert "has not the claimed size" in incident.sentence


def test_a_training_that_has_too_little_noise_once_it_goes_on_gives_no_model(
    clinic, mlflow_settings, monkeypatch
):
    submission = clinic.submit(settings=SETTINGS)
    killed(clinic, submission, 39)  # kept after step 38: two are left
    monkeypatch.setattr(loop, "noised", Noise(scaled(1.25)))
    with pytest.raises(TrainingFailed, match="kept back by the release gate"):
        clinic.train(submission)


def test_a_second_training_of_changed_code_begins_anew_and_the_first_stays_charged(
    clinic, cut_off, monkeypatch
):
    submission, run = cut_off
    monkeypatch.setattr("sandbox.training.service.code_version", lambda: "another build")
    told = []
    version = clinic.train(submission, progress=lambda step, _of: told.append(step))
    assert told[0] == 1
    assert version.run != run.id
    assert clinic.store.get(TrainingRun, run.id).certificate["failure"] == "interrupted"
    assert [charge.event["count"] for charge in clinic.store.all(Charge)] == [40, 40]


def test_a_training_that_goes_on_and_fails_stays_charged_for_every_step_that_began(
    clinic, cut_off, monkeypatch
):
    submission, _run = cut_off
    monkeypatch.setattr(checkpoint.Checkpoint, "note", lambda *_: 1 / 0)
    with pytest.raises(TrainingFailed):
        clinic.train(submission)
    counts = sorted(charge.event["count"] for charge in clinic.store.all(Charge))
    assert counts == [2, 8]  # 6 that were kept and 2 that may have begun; and those 2 again
    assert clinic.store.get(Submission, submission.id).note == "training failed: crashed"
    assert list((clinic.settings.storage.folder / "checkpoints").iterdir()) == []


def test_what_is_kept_is_all_that_a_training_depends_on(tmp_path):
    """Given the same randomness, one that was taken up again ends where the other does."""
    from tests.unit.training import test_private_loop as small

    features, target = small.records()
    units, plan = small.UnitRows(small.CODES, 2), small.a_plan(steps=6)

    def training(seed):
        return loop.Training(small.a_model(), features, target, units, plan, small.randomness(seed))

    whole = training(1)
    for _ in range(3):
        whole.step()
    kept = checkpoint.Checkpoint(tmp_path / "vault/run.safetensors", "mark", 3, 6)
    kept.note(3, whole, Unseen())
    streams = [g.bit_generator.state for g in (whole._randomness.sampling, whole._randomness.noise)]
    for _ in range(3):
        whole.step()
    other = training(2)
    other.take_up(kept.read().training)
    assert other.done == 3
    for generator, state in zip((other._randomness.sampling, other._randomness.noise), streams, strict=True):
        generator.bit_generator.state = state
    for _ in range(3):
        other.step()
    small.assert_close(other.means, whole.means)
    assert all(torch.equal(one, whole.means[name]) for name, one in other.means.items())


def test_a_file_of_another_run_or_format_or_a_torn_one_is_not_read(tmp_path):
    from tests.unit.training import test_private_loop as small

    features, target = small.records()
    made = loop.Training(
        small.a_model(),
        features,
        target,
        small.UnitRows(np.arange(10), 1),
        small.a_plan(),
        Randomness.of_the_system(),
    )
    made.step()
    place = tmp_path / "run.safetensors"
    kept = checkpoint.Checkpoint(place, "mark", 1, 9)
    assert kept.read() is None
    kept.note(1, made, Unseen())
    assert kept.read().done == 1
    assert place.stat().st_mode & 0o777 == 0o600
    assert checkpoint.Checkpoint(place, "another", 1, 9).read() is None
    whole = place.read_bytes()
    save_file({"done": torch.tensor(1)}, place, {"mark": "mark"})  # as before there were formats
    assert kept.read() is None
    place.write_bytes(whole)
    assert kept.read().done == 1
    place.write_bytes(place.read_bytes()[:-10])
    assert kept.read() is None


@pytest.mark.parametrize(("done", "at_risk"), [(6, 2), (38, 2), (39, 1)])
def test_only_steps_up_to_the_next_checkpoint_may_have_run(tmp_path, done, at_risk):
    kept = checkpoint.Checkpoint(tmp_path / "run", "mark", 2, 40)
    assert kept.at_risk(done) == at_risk
