"""Forty trainers that break the promise, each in another way: all are kept back, and right ones never.

Each fault is put into the real loop; what the gate is told stays what was claimed and charged.
"""

import math
from dataclasses import dataclass, replace
from functools import partialmethod

import numpy as np
import pytest
import torch

from sandbox.catalogue.inputs import Inputs
from sandbox.privacy import accounting
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import canaries, engines, gradients, loop, noise
from sandbox.training.gate import gate as gates
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows
from tests.hostile.broken_noise import Noise, normal, scaled

STEPS = 30


@dataclass
class Case:
    """Records, a model and a plan; `run` trains under a gate and says how it judged."""

    model: Model
    features: dict
    target: torch.Tensor
    codes: np.ndarray
    plan: Plan

    def run(self, claim=None, most_rows=None, steps=None, rehearsed=None, randomness=None, change=None):
        event = claim or accounting.dp_sgd_event(
            self.plan.noise_multiplier, self.plan.sampling_rate, self.plan.steps
        )
        gate = gates.Gate(event, self.plan, self.model, self.features, self.target, self.codes, rehearsed)
        weights = loop.fit(
            self.model, self.features, self.target, UnitRows(self.codes, most_rows or self.plan.max_rows_per_unit),
            replace(self.plan, steps=steps or self.plan.steps), randomness or Randomness.of_the_system(),
            canaries=gate.canaries, observe=gate.observe,
        )  # fmt: skip
        return gate.judge(change(weights) if change else weights)


def case(units=1000, rate=0.1, steps=STEPS, noise=2.5, clip=0.3, hidden=6, kind="binary", seed=3, averaged=0.5,
         module=None, inputs=None, rows=2):  # fmt: skip
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    inputs = inputs or Inputs(kind, 3 if kind == "multiclass" else 1, numbers=4, categories=(4, 3))
    module = module or recipes.build("mlp", {"bins": 3, "hidden": [hidden]}, inputs)
    codes = np.concatenate([np.arange(units), rng.integers(0, units, 2 * units)])
    n = len(codes)
    features = {"numbers": torch.from_numpy(rng.random((n, 4), np.float32) * 2 - 1)}
    if inputs.categories:
        features["categories"] = torch.from_numpy(rng.integers(0, 3, (n, 2)))
    answer = features["numbers"][:, 0].numpy() + rng.normal(0, 0.5, n)
    target = torch.from_numpy(
        answer.astype(np.float32) if kind == "regression" else (answer > 0).astype(np.int64)
    )
    plan = Plan(
        epsilon=8.0, delta=1e-6, units=units, max_rows_per_unit=rows, sampling_rate=rate, steps=steps, clip=clip,
        learning_rate=0.05, loss=kind, averaged=averaged, noise_multiplier=noise,
    )  # fmt: skip
    return Case(Model(export(module, inputs)), features, target, codes, plan)


@pytest.fixture(scope="module")
def usual():
    return case()


RIGHT_NOISE, RIGHT_DRAW, RIGHT_SUMS = loop.noised, loop.draw, loop.clipped_sums


def of(draw):
    return lambda total, dev, rng, _c: (
        total + torch.from_numpy(np.asarray(draw(rng, tuple(total.shape)))) * dev
    )


TENSORS = 4 + 1
"""Two layers, each a weight and a bias, and the canaries."""


def forgotten(total, dev, rng, call):
    return total if call % TENSORS == 3 else total + normal(total, dev, rng)


def only_for_canaries(total, dev, rng, call):
    return total + normal(total, dev if call % TENSORS == TENSORS - 1 else dev / 1.25, rng)


def but_not_the_last_step(total, dev, rng, call):
    return total if call // TENSORS == STEPS - 1 else total + normal(total, dev, rng)


def once_for_all_steps(total, dev, _rng, call):
    return total + normal(total, dev, np.random.default_rng(call % TENSORS))


def every_tenth_step_again(total, dev, _rng, call):
    return total + normal(total, dev, np.random.default_rng(call % (10 * TENSORS)))


def seeded_by_tensor(total, dev, _rng, call):
    return total + normal(total, dev, np.random.default_rng(call // TENSORS + 10**6))


class Drifting:
    """Each step's noise holds a third of the last one's."""

    def __init__(self):
        self.last = {}

    def __call__(self, total, dev, rng, call):
        fresh, at = normal(total, 1.0, rng), call % TENSORS
        self.last[at] = 0.3 * self.last[at] + (1 - 0.09) ** 0.5 * fresh if at in self.last else fresh
        return total + dev * self.last[at]


def one_number_a_row(total, dev, rng, _c):
    row = torch.from_numpy(rng.normal(0, dev, tuple(total.shape[:1])))
    return total + (row[:, None].expand(total.shape) if total.dim() > 1 else row)


NOISES = {
    "noise off": scaled(math.inf),
    "noise / 1.05": scaled(1.05),
    "noise / 1.25": scaled(1.25),
    "noise / 2": scaled(2),
    "noise times 1.1, which nobody claimed": scaled(1 / 1.1),
    "noise of the multiplier without the clip": lambda t, d, r, _c: t + normal(t, d / 0.3, r),
    "noise of the variance for its root": lambda t, d, r, _c: t + normal(t, d * d, r),
    "noise forgotten for one parameter": forgotten,
    "noise as claimed for canaries alone": only_for_canaries,
    "no noise in the last step": but_not_the_last_step,
    "noise of Laplace": of(lambda r, shape: r.laplace(0, 2**-0.5, shape)),
    "uniform noise": of(lambda r, shape: r.uniform(-(3**0.5), 3**0.5, shape)),
    "noise cut off at 2.5": of(lambda r, shape: np.clip(r.normal(size=shape), -2.5, 2.5)),
    "noise that is never negative": of(lambda r, shape: np.abs(r.normal(size=shape))),
    "the same noise in every step": once_for_all_steps,
    "noise that comes again every tenth step": every_tenth_step_again,
    "every tensor's noise from the same seed": seeded_by_tensor,
    "noise correlated between steps": Drifting(),
    "one noise for a whole row of weights": one_number_a_row,
}  # fmt: skip


@pytest.mark.parametrize("fault", NOISES)
def test_wrong_noise_is_kept_back(fault, usual, monkeypatch):
    monkeypatch.setattr(loop, "noised", Noise(NOISES[fault]))
    assert usual.run().failed


class Shuffled:
    """A permutation of the people cut into batches; canaries are drawn as they should be."""

    def __init__(self, people=1000):
        self.people, self.step = people, 0

    def __call__(self, units, rate, rng):
        size = round(self.people * rate)
        each = round(1 / rate)
        if self.step % each == 0:
            self.order = rng.permutation(self.people)
        batch = self.order[self.step % each * size :][:size]
        self.step += 1
        return np.concatenate([batch, self.people + RIGHT_DRAW(units - self.people, rate, rng)])


class TheSame:
    def __init__(self):
        self.batch = None

    def __call__(self, units, rate, rng):
        self.batch = RIGHT_DRAW(units, rate, rng) if self.batch is None else self.batch
        return self.batch


def twice(units, rate, rng):
    return rng.integers(0, units, rng.binomial(units, rate))


def fixed_size(units, rate, rng):
    return rng.choice(units, round(units * rate), replace=False)


def never_canaries(units, rate, rng):
    drawn = RIGHT_DRAW(units, rate, rng)
    return drawn[drawn < 1000]


def canaries_less_often(units, rate, rng):
    drawn = RIGHT_DRAW(units, rate, rng)
    return drawn[(drawn < 1000) | (rng.random(len(drawn)) < 0.8)]


def people_oftener(units, rate, rng):
    drawn = RIGHT_DRAW(units, 1.25 * rate, rng)
    return drawn[(drawn < 1000) | (rng.random(len(drawn)) < 1 / 1.25)]


def the_first_oftener(units, rate, rng):
    coins = rng.random(units) < np.where(np.arange(units) < 100, 0.5, rate * 0.6)
    coins[1000:] = rng.random(units - 1000) < rate
    return np.flatnonzero(coins)


SAMPLERS = {
    "twice the sampling rate": lambda n, q, rng: RIGHT_DRAW(n, 2 * q, rng),
    "a fifth more than the sampling rate": lambda n, q, rng: RIGHT_DRAW(n, 1.2 * q, rng),
    "shuffling sold as Poisson sampling": Shuffled(),
    "batches of a fixed size": fixed_size,
    "the same batch in every step": TheSame(),
    "units twice in a batch": twice,
    "canaries never drawn": never_canaries,
    "canaries drawn less often": canaries_less_often,
    "people drawn more often than canaries": people_oftener,
    "the first people drawn more often": the_first_oftener,
}


@pytest.mark.parametrize("fault", SAMPLERS)
def test_wrong_sampling_is_kept_back(fault, usual, monkeypatch):
    monkeypatch.setattr(loop, "draw", SAMPLERS[fault])
    assert usual.run().failed


def test_empty_batches_that_are_drawn_again_are_kept_back(monkeypatch):
    def until_somebody(units, rate, rng):
        drawn = RIGHT_DRAW(units, rate, rng)
        return drawn if (drawn < 30).any() else until_somebody(units, rate, rng)

    monkeypatch.setattr(loop, "draw", until_somebody)
    assert case(units=30, rate=0.03, steps=140).run().failed


def no_clip(squares, _clip):
    return torch.ones_like(squares)


def clip_of_the_batch(engine, weights, features, target, units, drawn, clip):
    sums = RIGHT_SUMS(engine, weights, features, target, units, drawn, 1e9)
    length = math.sqrt(sum(float(total.square().sum()) for total in sums.values()))
    return {name: total * min(1.0, clip * len(drawn) / max(length, 1e-9)) for name, total in sums.items()}


def noise_before_clipping(engine, weights, features, target, units, drawn, clip):
    """Each unit's own share of the noise, scaled by the number of units it should have had."""
    sums = RIGHT_SUMS(engine, weights, features, target, units, drawn, clip)
    return {n: t + float(clip) * 2.5 * len(drawn) / 100 * torch.randn(t.shape) for n, t in sums.items()}


def doubled(engine, weights, features, target, units, drawn, clip):
    return RIGHT_SUMS(engine, weights, features, target, units, drawn, 2 * clip)


def one_left_out(engine, weights, features, target, units, drawn, clip):
    """The longest of what should be clipped is dropped, which depends on others."""
    return RIGHT_SUMS(engine, weights, features, target, units, drawn[: int(0.9 * len(drawn))], clip)


def summed_rows(engine, weights, features, target, units, drawn, clip):
    """Rows clipped as if each were a unit, so that a unit of two rows weighs twice."""
    rows, _ = units.rows(drawn)
    return RIGHT_SUMS(engine, weights, features, target, UnitRows(np.arange(len(target)), 1), rows, clip)


SUMS = {
    "clip per batch": clip_of_the_batch,
    "twice the clip": doubled,
    "units left out of the sum": one_left_out,
    "rows clipped instead of units": summed_rows,
}


@pytest.mark.parametrize("fault", SUMS)
def test_wrong_sums_are_kept_back(fault, usual, monkeypatch):
    monkeypatch.setattr(loop, "clipped_sums", SUMS[fault])
    assert usual.run().failed


def test_clip_off_is_kept_back(usual, monkeypatch):
    with monkeypatch.context() as everywhere:
        for module in (engines, gradients):
            everywhere.setattr(module, "clip_factors", no_clip)
        assert usual.run().failed
    monkeypatch.setattr(engines, "clip_factors", no_clip)  # for people only
    assert usual.run().failed


def test_noise_before_summing_is_kept_back(usual, monkeypatch):
    monkeypatch.setattr(loop, "clipped_sums", noise_before_clipping)
    monkeypatch.setattr(loop, "noised", Noise(lambda total, *_: total))
    assert usual.run().failed


def test_canaries_that_are_not_clipped_or_not_summed_are_kept_back(usual, monkeypatch):
    right = canaries.Canaries.clipped_sum
    for worth in (0.0, 0.5, 8.0):
        worse = partialmethod(lambda self, *given, by: right(self, *given) * by, by=worth)
        monkeypatch.setattr(canaries.Canaries, "clipped_sum", worse)
        assert usual.run().failed


def test_a_clip_wider_than_claimed_is_kept_back(usual, monkeypatch):
    right = noise.Grid.of.__func__
    for module in (loop, gates):
        assert module.Grid is noise.Grid
    monkeypatch.setattr(
        noise.Grid,
        "of",
        classmethod(lambda cls, clip, n: replace(right(cls, clip, n), inner_clip=1.1 * clip)),
    )
    assert usual.run().failed


def test_the_actual_batch_for_a_divisor_is_kept_back(usual, monkeypatch):
    seen = []

    def draw(*given):
        seen.append(RIGHT_DRAW(*given))
        return seen[-1]

    monkeypatch.setattr(loop, "draw", draw)
    monkeypatch.setattr(Plan, "expected_batch", property(lambda _: max(1, int((seen[-1] < 1000).sum()))))
    assert [check.name for check in usual.run().failed] == ["weights by replay"]


def test_weights_moved_by_more_than_the_noised_sums_are_kept_back(usual):
    def peeked(weights):
        return {name: w + 0.05 * usual.target.double().mean().float() for name, w in weights.items()}

    assert [check.name for check in usual.run(change=peeked).failed] == ["weights by replay"]


def test_contributions_without_bound_are_kept_back(usual):
    assert [check.name for check in usual.run(most_rows=1000).failed] == ["sums by definition"]


@pytest.mark.parametrize(("charged", "run"), [(STEPS // 2, STEPS), (STEPS, STEPS + 1), (STEPS, STEPS - 1)])
def test_other_steps_than_were_charged_are_kept_back(usual, charged, run):
    event = accounting.dp_sgd_event(2.5, 0.1, charged)
    assert "steps" in [check.name for check in usual.run(claim=event, steps=run).failed]


@pytest.mark.parametrize("event", [(3.0, 0.1, STEPS), (2.5, 0.08, STEPS)])
def test_a_charge_for_more_noise_or_a_lower_rate_is_kept_back(usual, event):
    assert usual.run(claim=accounting.dp_sgd_event(*event)).failed


def test_noise_from_a_seed_is_kept_back_by_the_rehearsal(usual):
    """Within one run it looks like any other; whoever knows the seed can take it away."""

    def seeded():
        return Randomness(Randomness.of_the_system().sampling, np.random.default_rng(2026))

    witness, planted = gates.rehearsal(usual.plan, usual.model)
    loop.fit(
        usual.model, usual.features, usual.target, UnitRows(usual.codes, 2), replace(usual.plan, steps=1), seeded(),
        canaries=planted, observe=witness.note,
    )  # fmt: skip
    assert not usual.run(randomness=seeded()).failed
    assert usual.run(randomness=seeded(), rehearsed=witness.first_noise).failed


def _dropout():
    class Dropped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line, self.drop, self.out = (
                torch.nn.Linear(4, 6),
                torch.nn.Dropout(0.3),
                torch.nn.Linear(6, 1),
            )

        def forward(self, numbers):
            return self.out(self.drop(self.line(numbers).tanh()))

    return Dropped()


CLEAN = {
    "usual": {},
    "usual again": {"seed": 4},
    "one unit, one step": {"units": 1, "rate": 1.0, "steps": 1},
    "everybody in every step": {"units": 300, "rate": 1.0, "steps": 6},
    "mostly empty batches": {"units": 30, "rate": 0.01, "steps": 60},
    "hardly any noise": {"noise": 0.3},
    "much noise": {"noise": 60.0},
    "a long clip, which never clips": {"clip": 100.0},
    "a short clip": {"clip": 1e-3},
    "many steps": {"units": 200, "steps": 250, "rate": 0.05},
    "large batches and layers": {"units": 6000, "rate": 0.4, "steps": 6, "hidden": 64},
    "regression": {"kind": "regression"},
    "several classes": {"kind": "multiclass"},
    "no average": {"averaged": 0.0},
    "dropout": {"module": _dropout(), "inputs": Inputs("binary", 1, numbers=4)},
    "many rows a unit": {"units": 200, "rows": 50},
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_right_training_passes_and_proves_no_more_than_it_claims(name):
    right = case(**CLEAN[name])
    judged = right.run()
    assert judged.failed == []
    bounds = judged.bounds
    assert max(bounds.formal, bounds.gaussian) < right.plan.epsilon
