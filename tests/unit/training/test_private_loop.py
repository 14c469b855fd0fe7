"""The trusted loop against a plain loop a reader can follow: clipped per unit, noisy, divided by what was expected."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import loop
from sandbox.training.canaries import NAME, Canaries
from sandbox.training.descent import Descent
from sandbox.training.engines import Plain, Tapped
from sandbox.training.gradients import loss_of_one, record_gradients
from sandbox.training.noise import Grid
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows


def inputs_of(kind):
    return Inputs(kind, 2 if kind == "multiclass" else 1, numbers=2, categories=(4,))


CODES = np.array([0, 0, 0, 1, 2, 2, 3, 4, 4, 5])


def a_plan(**changes):
    whole = {
        "epsilon": 1.0, "delta": 1e-6, "units": 6, "max_rows_per_unit": 2, "sampling_rate": 0.5, "steps": 3,
        "clip": 0.3, "learning_rate": 0.1, "loss": "binary", "noise_multiplier": 1.0,
    }  # fmt: skip
    return Plan(**{**whole, **changes})


def randomness(seed=1):
    return Randomness(np.random.default_rng(seed), np.random.default_rng(seed + 100))


def records(kind="binary", seed=4):
    generator = torch.Generator().manual_seed(seed)
    features = {
        "numbers": torch.rand(10, 2, generator=generator) * 2 - 1,
        "categories": torch.randint(0, 4, (10, 1), generator=generator),
    }
    target = torch.randint(0, 2, (10,), generator=generator)
    return features, target if kind != "regression" else target.float()


def a_module(inputs):
    torch.manual_seed(5)
    module = recipes.build("mlp", {"bins": 3, "hidden": [4]}, inputs)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


@cache
def a_graph(kind):
    return export(a_module(inputs_of(kind)), inputs_of(kind))


def a_model(kind="binary"):
    return Model(a_graph(kind))


def start(model):
    return {name: weight.clone() for name, weight in model.weights.items()}


def sums(model, features, target, units, drawn, plan, engine=Tapped):
    chosen = engine(model, plan.loss)
    chosen.records_at_once = 4  # more than one portion
    return loop.clipped_sums(chosen, start(model), features, target, units, np.array(drawn), plan.clip)


def by_hand(module, features, target, unit_rows, clip, kind):
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for rows in unit_rows:
        mean = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
        for row in rows:
            module.zero_grad()
            one = {name: tensor[row : row + 1] for name, tensor in features.items()}
            loss_of_one(module(**one)[0], target[row], kind).backward()
            for name, parameter in module.named_parameters():
                mean[name] += parameter.grad / len(rows)
        norm = torch.sqrt(sum(m.square().sum() for m in mean.values()))
        total = {name: t + mean[name] * min(1.0, clip / float(norm)) for name, t in total.items()}
    return total


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert torch.allclose(one, expected[name], atol=1e-5), name


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("clip", [0.05, 100.0])
@pytest.mark.parametrize("engine", [Plain, Tapped])
def test_units_are_averaged_clipped_and_summed_as_by_hand(kind, clip, engine):
    features, target = records(kind)
    found = sums(
        a_model(kind), features, target, UnitRows(CODES, 2), [0, 1, 4], a_plan(clip=clip, loss=kind), engine
    )
    assert_close(
        found, by_hand(a_module(inputs_of(kind)), features, target, [[0, 1], [3], [7, 8]], clip, kind)
    )


def test_one_unit_changes_the_sum_by_at_most_the_clip_whatever_it_holds():
    features, target = records()
    features["numbers"] = features["numbers"] * 1e6
    units, plan = UnitRows(CODES, 2), a_plan(clip=0.3)
    without = sums(a_model(), features, target, units, [1, 2, 3], plan)
    for unit in (0, 4, 5):
        having = sums(a_model(), features, target, units, [1, 2, 3, unit], plan)
        moved = torch.sqrt(sum((having[name] - without[name]).square().sum() for name in having))
        assert moved <= 0.3 * (1 + 1e-4)


class Ratio(nn.Module):
    """Has an infinite gradient where its number is nought."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, numbers):
        return self.line(1 / numbers)


def test_a_record_whose_gradient_is_not_finite_counts_for_nothing():
    features, target = records()
    del features["categories"]
    model = Model(export(Ratio(), Inputs("binary", 1, numbers=2)))
    units, plan = UnitRows(np.arange(10), 1), a_plan(units=10, max_rows_per_unit=1)
    for value in (0.0, 1e-20):  # 1e-20 gives a finite gradient too long to square
        features["numbers"][3] = value
        with_it = sums(model, features, target, units, [1, 2, 3], plan)
        assert_close(with_it, sums(model, features, target, units, [1, 2], plan))


@pytest.fixture
def gradients(monkeypatch):
    """What the weights were moved by in each step, in one row."""
    seen, right = [], Descent.step

    def step(self, sums, batch):
        seen.append(torch.cat([sums[name].flatten() for name in self.weights]) / batch)
        right(self, sums, batch)

    monkeypatch.setattr(Descent, "step", step)
    return seen


def test_an_empty_step_still_adds_fresh_noise_of_the_stated_size(gradients):
    plan = a_plan(sampling_rate=1e-12, steps=400, noise_multiplier=2.0, clip=0.5)
    features, target = records()
    loop.fit(a_model(), features, target, UnitRows(CODES, 2), plan, randomness())
    noise = torch.stack(gradients) * plan.expected_batch
    assert noise.shape[0] == 400
    assert abs(float(noise.std()) - 2.0 * 0.5) < 0.02
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 0.02  # no step repeats the one before
    assert float(noise.std(0).min()) > 0.8  # no parameter goes without


def watched(plan, canaries=None, seed=7):
    """Every step of a training, and the gradients its optimiser was given."""
    steps, model, (features, target) = [], a_model(), records()

    def observe(step):
        steps.append(replace(step, weights={name: w.clone() for name, w in step.weights.items()}))

    loop.fit(
        model,
        features,
        target,
        UnitRows(CODES, 2),
        plan,
        randomness(seed),
        canaries=canaries,
        observe=observe,
    )
    return steps


def test_the_divisor_is_the_expected_batch_not_the_actual_one(gradients):
    steps = watched(a_plan(sampling_rate=0.5, steps=8, noise_multiplier=1e-9, clip=0.3))
    for step, gradient in zip(steps, gradients, strict=True):
        total = torch.cat([one.flatten() for one in step.sums.values()])
        assert torch.allclose(gradient.float(), total / 3.0, atol=1e-5)
    assert len({len(step.drawn) for step in steps}) > 1


def test_a_step_shows_its_observer_what_was_drawn_summed_and_noised():
    plan = a_plan(steps=6, clip=0.3, noise_multiplier=2.0)
    steps = watched(plan)
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    grid = Grid.of(0.3, sum(w.numel() for w in steps[0].weights.values()))
    features, target = records()
    same = np.random.default_rng(7)
    for step in steps:
        assert step.drawn.tolist() == loop.draw(6, 0.5, same).tolist()
        engine = Plain(a_model(), "binary")
        expected = loop.clipped_sums(
            engine, step.weights, features, target, UnitRows(CODES, 2), step.drawn, grid.inner_clip
        )
        assert_close(dict(step.sums), expected)
        for name, total in step.sums.items():
            assert not torch.allclose(step.noised[name], total.double(), atol=1e-3)


def test_canaries_go_the_way_of_people_and_touch_no_weight():
    canaries = Canaries(np.arange(400) % 2 == 0)
    plan = a_plan(steps=60, clip=0.3, noise_multiplier=0.5)
    steps, inner = watched(plan, canaries), None
    for step in steps:
        inner = Grid.of(0.3, sum(w.numel() for w in step.weights.values()) + 400).inner_clip
        planted = step.sums[NAME]
        drawn = step.drawn[step.drawn >= step.units] - step.units
        assert torch.allclose(planted[np.flatnonzero(canaries.included)[drawn]], torch.tensor(inner))
        assert int((planted != 0).sum()) == len(drawn)
        assert not planted[1::2].any()  # the excluded are in no sum
        assert NAME not in step.weights
    noise = torch.stack([step.noised[NAME][1::2] for step in steps])
    assert abs(float(noise.std()) - 0.5 * 0.3) < 0.01
    shares = np.mean([(step.sums[NAME][::2] != 0).double().mean() for step in steps])
    assert abs(shares - 0.5) < 0.03
    features, target = records()
    for step in steps[:3]:  # people are summed as if there were none
        people = step.drawn[step.drawn < step.units]
        alone = loop.clipped_sums(
            Plain(a_model(), "binary"), step.weights, features, target, UnitRows(CODES, 2), people, inner
        )
        assert_close({name: total for name, total in step.sums.items() if name != NAME}, alone)


def test_half_of_the_canaries_are_planted_by_coins_nobody_chose():
    one, other = Canaries.planted(4000), Canaries.planted(4000)
    assert len(one) == 4000
    assert 1800 < one.units < 2200
    assert (one.included != other.included).any()
    assert Canaries.none().units == 0


def test_torchs_own_seed_does_not_decide_the_noise():
    weights = []
    for seed in (1, 2):
        torch.manual_seed(0)
        features, target = records()
        found = loop.fit(a_model(), features, target, UnitRows(CODES, 2), a_plan(), randomness(seed))
        weights.append(torch.cat([weight.flatten() for weight in found.values()]))
    assert not torch.allclose(*weights)


def test_the_weights_returned_are_the_mean_of_the_last_steps(monkeypatch):
    def step(self, *given):
        right(self, *given)
        seen.append(torch.cat([weight.flatten() for weight in self.weights.values()]))

    right = Descent.step
    monkeypatch.setattr(Descent, "step", step)
    model, (features, target), seen = a_model(), records(), []
    before = start(model)
    found = loop.fit(model, features, target, UnitRows(CODES, 2), a_plan(steps=4, averaged=0.5), randomness())
    released = torch.cat([weight.flatten() for weight in found.values()])
    assert torch.allclose(released, torch.stack(seen[1:]).mean(0), atol=1e-6)
    assert_close(start(model), before)  # the model itself stays as it was


def test_progress_is_told_of_every_step():
    features, target = records()
    told = []
    loop.fit(
        a_model(), features, target, UnitRows(CODES, 2), a_plan(), randomness(), lambda *s: told.append(s)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


class Forgetful(nn.Module):
    """Drops half of what it sees while it learns."""

    def __init__(self):
        super().__init__()
        self.forget = nn.Dropout(0.5)
        self.line = nn.Linear(2, 1, bias=False)

    def forward(self, numbers):
        return self.line(self.forget(numbers))


def test_dropout_is_on_in_training_and_drawn_for_each_record_by_itself():
    model = Model(export(Forgetful(), Inputs("binary", 1, numbers=2)))
    features, target = {"numbers": torch.ones(64, 2)}, torch.zeros(64, dtype=torch.int64)
    found = record_gradients(model, features, target, "binary")["line.weight"]
    kept = found != 0
    assert 0.3 < float(kept.float().mean()) < 0.7
    assert len({tuple(row) for row in kept.flatten(1).tolist()}) == 4
    assert float(model.answers(features).std()) == 0.0


def test_a_relation_is_learned_when_there_is_little_noise():
    generator = torch.Generator().manual_seed(8)
    features = {"numbers": torch.rand(2000, 2, generator=generator) * 2 - 1}
    target = (features["numbers"][:, 0] > 0).long()
    inputs = Inputs("binary", 1, numbers=2)
    model = Model(export(recipes.build("logistic", {"bins": 4}, inputs), inputs))
    plan = a_plan(
        units=2000, max_rows_per_unit=1, steps=40, clip=1.0, learning_rate=0.5, noise_multiplier=0.5
    )
    weights = loop.fit(model, features, target, UnitRows(np.arange(2000), 1), plan, randomness())
    guess = Model(model.graph_with(weights)).answers(features).squeeze(1) > 0
    assert (guess.long() == target).float().mean() > 0.95


class Tempered(nn.Module):
    """A weight that is a single number, and one whose gradients torch makes by repeating one number."""

    def __init__(self):
        super().__init__()
        self.warmth, self.shift = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.zeros(3))

    def forward(self, numbers, categories):
        return (numbers[:, :1].log() * self.warmth) + self.shift.sum()


def test_a_weight_that_is_a_single_number_is_trained_and_a_lost_record_is_all_zeros():
    model = Model(export(Tempered(), inputs_of("binary")))
    features, target = records()
    features["numbers"] = features["numbers"].abs() + 0.1
    features["numbers"][4] = 0.0
    found = record_gradients(model, features, target, "binary")
    assert found["warmth"].shape == (10,)
    assert [bool(g[4].abs().sum() == 0) for g in found.values()] == [True, True]
    assert all(bool((g[:4] != 0).all()) for g in found.values())
    units = UnitRows(np.arange(10), 1)
    total = sums(model, features, target, units, range(10), a_plan(max_rows_per_unit=1, clip=100.0))
    for name, gradients in found.items():
        assert torch.allclose(total[name], gradients.sum(0), atol=1e-5)
