"""A training that crashes and goes on is judged by every step whose noise is in its model, as one that ran through."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from sandbox.privacy import accounting
from sandbox.training import boosting, loop
from sandbox.training.checkpoint import Checkpoint
from sandbox.training.gate.gate import Gate, rehearsal
from sandbox.training.gate.witness import Claim, Witness
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows
from tests.hostile import test_broken_boosting as of_tables
from tests.hostile import test_broken_trainers as of_sgd
from tests.hostile.broken_noise import Noise, scaled

STEPS, EVERY, CRASH = 30, 5, 12
"""A training of so many steps is kept so often; where it crashes after step 12, the first ten are in the model."""


class Crash(Exception):
    pass


class Training:
    """One training through crashes, each time with all that a new process would make anew.

    `process` counts from 0, and `step` is the one that is being taken, for faults that come only in some.
    """

    def __init__(self, case, place):
        self.case, self.process, self.step = case, 0, 0
        self.kept = Checkpoint(place / "kept", "mark", EVERY, case.plan.steps)

    def judged(
        self, crashes=(), randomness=lambda _: Randomness.of_the_system(), rehearsed=None, changed=None
    ):
        """It crashes after each of these steps, before they are kept; `changed` is made of what was kept."""
        self.kept.remove()
        for self.process, last in enumerate((*crashes, None)):
            found = self.kept.read()
            found = changed(found) if changed and found else found
            gate, weights = self._process(found, last, randomness(self.process), rehearsed)
            if weights:
                return gate.judge(weights)
        raise AssertionError("it never came to an end")

    def _process(self, found, last, randomness, rehearsed):
        case, plan = self.case, self.case.plan
        event = accounting.dp_sgd_event(plan.noise_multiplier, plan.sampling_rate, plan.steps)
        given = case.model, case.features, case.target
        gate = Gate(event, plan, case.model, *given[1:], case.codes, rehearsed, found and found.gate)

        def begins(step, _steps):
            self.step = step

        def keep(training):
            if training.done == last:
                raise Crash
            self.kept.note(training.done, training, gate)

        try:
            return gate, loop.fit(
                *given, UnitRows(case.codes, plan.max_rows_per_unit), plan, randomness, begins=begins,
                canaries=gate.canaries, observe=gate.observe, taken_up=found and found.training, keep=keep,
            )  # fmt: skip
        except Crash:
            return gate, None


CASES = {"sgd": lambda: of_sgd.case(hidden=3, steps=STEPS), "tables": lambda: of_tables.Case(steps=STEPS)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]()


@pytest.fixture(scope="module")
def sgd():
    return CASES["sgd"]()


@pytest.fixture
def training(case, tmp_path):
    return Training(case, tmp_path)


def names(judged):
    return {check.name for check in judged.failed}


@pytest.mark.parametrize("crashes", [(), (1,), (7,), (29,), (6, 13, 13, 27)])
def test_a_right_training_passes_through_any_crashes_and_is_judged_by_all_its_steps(crashes, training):
    judged = training.judged(crashes)
    assert judged.failed == []
    assert judged.certified["audit_steps"] == STEPS


def put(monkeypatch, training, fault, where):
    """This noise in steps of which `where` (of the process and the step) says so, and right noise in the others."""
    right, wrong = loop.noised, Noise(fault)

    def noised(*given):
        return (wrong if where(training.process, training.step) else right)(*given)

    for module in (loop, boosting):
        monkeypatch.setattr(module, "noised", noised)


KEPT = CRASH // EVERY * EVERY
WHERE = {
    "before the crash": lambda _process, step: step <= KEPT,
    "after the crash": lambda _process, step: step > KEPT,
    "in the first step": lambda _process, step: step == 1,
    "in the last that was kept": lambda _process, step: step == KEPT,
    "in the last of all": lambda _process, step: step == STEPS,
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("crashes", [(), (CRASH,), (CRASH, 16, 29)])
def test_too_little_noise_is_kept_back_wherever_it_is_in_the_model(where, crashes, training, monkeypatch):
    put(monkeypatch, training, scaled(1.25), WHERE[where])
    failed = names(training.judged(crashes))
    assert failed & {"weights: size", "canary coordinates: size", "canaries: noise"}


@pytest.mark.parametrize("crashes", [(), (CRASH,), (CRASH, 22)])
def test_a_noise_a_tenth_too_small_before_a_crash_and_after_it_adds_up(crashes, sgd, tmp_path, monkeypatch):
    """In half of the steps, some on either side: no step by itself says so."""
    training = Training(sgd, tmp_path)
    put(monkeypatch, training, scaled(1.1), lambda _process, step: step % 2)
    assert names(training.judged(crashes)) & {"canary coordinates: size", "canaries: noise"}


def test_what_was_wrong_in_steps_that_are_not_in_the_model_is_no_fault_of_it(training, monkeypatch):
    put(monkeypatch, training, scaled(math.inf), lambda process, step: process == 0 and step > KEPT)
    assert training.judged([CRASH]).failed == []


def test_a_gate_that_saw_only_the_steps_left_keeps_the_model_back(training):
    judged = training.judged([29], changed=lambda found: replace(found, gate={}))
    assert {"steps", "sound steps"} <= names(judged)


def test_noise_that_comes_again_after_the_crash_is_kept_back(training):
    def seeded(_process):
        return Randomness(Randomness.of_the_system().sampling, np.random.default_rng(2026))

    assert not training.judged(randomness=seeded).failed  # within one process it looks like any other
    assert "canary coordinates: freshness" in names(training.judged([CRASH], randomness=seeded))


def test_noise_after_the_crash_that_was_the_rehearsals_is_kept_back(training, case):
    def streams(process):
        return Randomness(np.random.default_rng(), np.random.default_rng(7 if process else None))

    witness, planted = rehearsal(case.plan, case.model)
    loop.fit(
        case.model, case.features, case.target, UnitRows(case.codes, 2), replace(case.plan, steps=1), streams(1),
        canaries=planted, observe=witness.note,
    )  # fmt: skip
    assert not training.judged(randomness=streams, rehearsed=witness.first_noise).failed
    again = training.judged([CRASH], randomness=streams, rehearsed=witness.first_noise)
    assert "canary coordinates: freshness" in names(again)


def test_every_process_leaves_a_mark_of_its_noise(training):
    once, thrice = training.judged(), training.judged([CRASH, 22])
    assert len(thrice.signs) == 3 * len(once.signs)


def test_weights_that_the_crash_changed_are_kept_back(training):
    def nudged(found):
        name = "weights" if "weights" in found.training else "table"
        return replace(found, training={**found.training, name: found.training[name] + 0.1})

    assert names(training.judged([CRASH], changed=nudged)) == {"weights by replay"}


def test_a_wrong_move_of_the_last_step_that_was_kept_is_kept_back(sgd, tmp_path, monkeypatch):
    training, right = Training(sgd, tmp_path), Plan.expected_batch.fget
    monkeypatch.setattr(
        Plan, "expected_batch", property(lambda plan: right(plan) * (2 if training.step == KEPT else 1))
    )
    assert names(training.judged([CRASH])) == {"weights by replay"}


def test_wrong_sums_in_the_steps_left_are_always_found(sgd, tmp_path, monkeypatch):
    training, right = Training(sgd, tmp_path), loop.clipped_sums

    def doubled(*given):
        *others, clip = given
        return right(*others, 2 * clip if training.step > 25 else clip)

    monkeypatch.setattr(loop, "clipped_sums", doubled)
    assert "sums by definition" in names(training.judged([29]))


def test_wrong_sampling_before_the_crash_alone_is_kept_back(sgd, tmp_path, monkeypatch):
    training, right = Training(sgd, tmp_path), loop.draw
    monkeypatch.setattr(
        loop, "draw", lambda units, rate, rng: right(units, rate * (1.5 if training.step <= KEPT else 1), rng)
    )
    assert {"sampling rate", "canaries: rate"} <= names(training.judged([CRASH]))


@pytest.fixture(scope="module")
def seen(case):
    """What a witness is told of a training: its claim, the shapes of what is released, the canaries, and every step."""
    steps, event = [], accounting.dp_sgd_event(case.plan.noise_multiplier, case.plan.sampling_rate, STEPS)
    gate = Gate(event, case.plan, case.model, case.features, case.target, case.codes)
    loop.fit(
        case.model, case.features, case.target, UnitRows(case.codes, 2), case.plan, Randomness.of_the_system(),
        canaries=gate.canaries, observe=lambda step: steps.append(replace(step, weights={})),
    )  # fmt: skip
    shapes = {
        name: tuple(total.shape) for name, total in steps[0].sums.items() if name != of_sgd.canaries.NAME
    }
    return Claim.of(event, case.plan), shapes, gate.canaries, steps


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(0, STEPS)))
def test_a_witness_says_the_same_wherever_it_was_written_down_and_taken_up(seen, cuts):
    *told, steps = seen

    def witness():
        return Witness(*told, np.random.default_rng(1))

    whole, parted = witness(), witness()
    for step in steps:
        whole.note(step)
        if step.number - 1 in cuts:
            state, parted = save(parted.state()), witness()
            parted.take_up(load(state))
        parted.note(step)
    assert parted.checks() == whole.checks()
    assert parted.bounds() == whole.bounds()
