"""DP-EBM trainers that break the promise, each in another way: all are kept back, and right ones never.

Each fault is put into the real loop; what the gate is told stays what was claimed and charged.
"""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from sandbox.catalogue.inputs import Inputs
from sandbox.privacy import accounting
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import boosted_tables, boosting, loop
from sandbox.training.gate import gate
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows
from tests.hostile.broken_noise import Noise, normal, scaled

STEPS, UNITS, NOISE = 60, 400, 3.0
SETTINGS = {"bins": 6, "leaves": 3}
TENSORS = 3
"""What a step draws noise for: counts, leaves, canaries."""


def inputs_of(kind, numbers):
    return Inputs(kind, 1, numbers=numbers, categories=(4, 3))


@cache
def model_for(kind, numbers):
    inputs = inputs_of(kind, numbers)
    return Model(export(recipes.build("ebm", SETTINGS, inputs), inputs))


class Case:
    """Records, a model and a plan; `run` trains under a gate and says how it judged."""

    def __init__(self, kind="binary", units=UNITS, steps=STEPS, noise=NOISE, rows=2, clip=1.0, numbers=3):
        rng, inputs = np.random.default_rng(3), inputs_of(kind, numbers)
        self.model = model_for(kind, numbers)
        self.codes = np.concatenate([np.arange(units), rng.integers(0, units, 2 * units)])
        n = len(self.codes)
        self.features = {"categories": torch.from_numpy(rng.integers(0, 3, (n, 2)))}
        answer = rng.normal(0, 0.5, n)
        if numbers:
            self.features["numbers"] = torch.from_numpy(rng.random((n, numbers), np.float32) * 2 - 1)
            answer += self.features["numbers"][:, 0].numpy()
        self.target = torch.from_numpy(
            answer.clip(-1, 1).astype(np.float32) if kind == "regression" else (answer > 0).astype(np.int64)
        )
        self.plan = Plan(
            epsilon=8.0, delta=1e-6, units=units, max_rows_per_unit=rows, sampling_rate=1.0, steps=steps, clip=clip,
            learning_rate=0.3, loss=kind, noise_multiplier=noise, terms=recipes.Ebm(**SETTINGS).terms(inputs),
            ordered=numbers, leaves=3,
        )  # fmt: skip

    def run(self, *, charged=None, steps=None, most_rows=None, rehearsed=None, randomness=None, change=None):
        event = accounting.dp_sgd_event(self.plan.noise_multiplier, 1.0, charged or self.plan.steps)
        beside = gate.Gate(event, self.plan, self.model, self.features, self.target, self.codes, rehearsed)
        weights = self.fit(
            beside.canaries, beside.observe, steps or self.plan.steps, most_rows or self.plan.max_rows_per_unit,
            randomness,
        )  # fmt: skip
        return beside.judge(change(weights) if change else weights)

    def fit(self, canaries, observe, steps, most_rows, randomness=None):
        return loop.fit(
            self.model, self.features, self.target, UnitRows(self.codes, most_rows), replace(self.plan, steps=steps),
            randomness or Randomness.of_the_system(), canaries=canaries, observe=observe,
        )  # fmt: skip


@pytest.fixture(scope="module")
def usual():
    return Case()


def failed(judged):
    return {check.name for check in judged.failed}


def of(tensor, by):
    return lambda t, dev, rng, call: t + normal(t, dev / by if call % TENSORS == tensor else dev, rng)


def but_not_the_last_step(total, dev, rng, call):
    return total if call // TENSORS == STEPS - 1 else total + normal(total, dev, rng)


def every_tenth_step_again(total, dev, _rng, call):
    return total + normal(total, dev, np.random.default_rng(call % (10 * TENSORS)))


NOISES = {
    "noise off": scaled(math.inf),
    "noise / 1.05": scaled(1.05),
    "noise / 2": scaled(2),
    "noise times 1.1, which nobody claimed": scaled(1 / 1.1),
    "no noise on the leaves": of(1, math.inf),
    "half the noise on the leaves": of(1, 2),
    "no noise on the counts": of(0, math.inf),
    "no noise in the last step": but_not_the_last_step,
    "the same noise in every step": lambda t, dev, _r, c: t + normal(t, dev, np.random.default_rng(c % TENSORS)),
    "noise that comes again every tenth step": every_tenth_step_again,
    "noise of Laplace": lambda t, dev, rng, _c: t + torch.from_numpy(rng.laplace(0, dev / 2**0.5, tuple(t.shape))),
    "noise that is never negative": lambda t, dev, rng, _c: t + normal(t, dev, rng).abs(),
}  # fmt: skip


@pytest.mark.parametrize("fault", NOISES)
def test_wrong_noise_is_kept_back(fault, usual, monkeypatch):
    monkeypatch.setattr(boosting, "noised", Noise(NOISES[fault]))
    assert usual.run().failed


@pytest.mark.parametrize(("charged", "run"), [(STEPS // 2, STEPS), (STEPS, STEPS + 5), (STEPS, STEPS - 1)])
def test_other_steps_than_were_charged_are_kept_back(usual, charged, run):
    """Five more are one round more than was charged for."""
    assert "steps" in failed(usual.run(charged=charged, steps=run))


def test_noise_from_a_seed_is_kept_back_by_the_rehearsal(usual):
    def seeded():
        return Randomness(Randomness.of_the_system().sampling, np.random.default_rng(2026))

    witness, planted = gate.rehearsal(usual.plan, usual.model)
    usual.fit(planted, witness.note, 2, 2, seeded())
    assert usual.run(randomness=seeded(), rehearsed=witness.first_noise).failed


def test_residuals_without_a_bound_are_kept_back(monkeypatch):
    """As interpret's own of numbers: an answer out of bounds leaves a residual longer than the range."""
    right = Case("regression", clip=0.2)
    assert not right.run().failed
    monkeypatch.setattr(boosting, "residuals", lambda scores, target, *_: target - scores)
    assert "sums by definition" in failed(right.run())


SUMS = {
    "twice the part of each": lambda sums, _self: {n: 2 * total for n, total in sums.items()},
    "people's part doubled, canaries' not": lambda sums, _self: {
        n: total * (1 if "canaries" in n else 2) for n, total in sums.items()
    },
    "counts of one for each column": lambda sums, _self: {
        n: total * 5**0.5 if n == boosted_tables.COUNTS else total for n, total in sums.items()
    },
}


@pytest.mark.parametrize("fault", SUMS)
def test_wrong_sums_are_kept_back(fault, monkeypatch):
    right, short = boosting.Boosting._sums, Case(steps=3)  # all three are repeated by the definition
    monkeypatch.setattr(boosting.Boosting, "_sums", lambda self, split: SUMS[fault](right(self, split), self))
    assert short.run().failed


def test_contributions_without_bound_are_kept_back(usual):
    assert failed(usual.run(most_rows=1000)) == {"sums by definition"}


def test_splits_that_looked_at_people_are_kept_back(usual, monkeypatch):
    """The best of some splits, by un-noised sums: a choice that nobody was charged for."""
    right = boosted_tables.Tables.split

    def best(self):
        found = right(self)
        if found is None or not isinstance(self, Peeking):
            return found
        leaf_of = (np.arange(len(found.leaf_of)) >= 1).astype(np.int64)
        return replace(found, leaf_of=leaf_of)

    class Peeking(boosted_tables.Tables):
        split = best

    monkeypatch.setattr(boosting, "Tables", Peeking)
    assert {"weights by replay", "sums by definition"} & failed(usual.run())


def test_counts_without_their_noise_that_move_the_tables_are_kept_back(usual, monkeypatch):
    right = boosted_tables.Tables.learn

    class Exact(boosted_tables.Tables):
        def learn(self, split, noised):
            if split is None:
                noised = {**noised, boosted_tables.COUNTS: noised[boosted_tables.COUNTS].round(decimals=-1)}
            return right(self, split, noised)

    monkeypatch.setattr(boosting, "Tables", Exact)
    assert "weights by replay" in failed(usual.run())


def test_weights_moved_by_more_than_the_noised_sums_are_kept_back(usual):
    def peeked(weights):
        return {name: w + 0.05 * usual.target.double().mean().float() for name, w in weights.items()}

    assert failed(usual.run(change=peeked)) == {"weights by replay"}
    nothing = {"table.weight": torch.full((25, 1), math.nan)}
    for instead in (nothing, {}):
        assert failed(usual.run(change=lambda _, w=instead: w)) == {"weights by replay"}


def test_people_left_out_of_a_step_are_kept_back(usual, monkeypatch):
    step = loop.Step
    monkeypatch.setattr(
        boosting, "Step", lambda number, weights, drawn, *rest: step(number, weights, drawn[1:], *rest)
    )
    assert "sampling rate" in failed(usual.run())


CLEAN = {
    "usual": {},
    "regression": {"kind": "regression"},
    "a short clip": {"clip": 0.1},
    "one unit, one step": {"units": 1, "steps": 1, "rows": 1},
    "counts and one split": {"steps": 2},
    "many steps": {"steps": 300, "units": 100},
    "categories only": {"numbers": 0},
    "much noise": {"noise": 80.0},
    "hardly any noise": {"noise": 0.4, "steps": 20},
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_right_training_passes_and_proves_no_more_than_it_claims(name):
    right = Case(**CLEAN[name])
    judged = right.run()
    assert judged.failed == []
    epsilon = accounting.epsilon_of(
        [accounting.dp_sgd_event(right.plan.noise_multiplier, 1.0, right.plan.steps)], right.plan.delta
    )
    assert judged.bounds.formal < epsilon
