"""The trusted loop against a plain loop a reader can follow: clipped per unit, noisy, divided by what was expected."""

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import nn

from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import recipes
from sandbox.training import loop
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

INPUTS = Inputs("binary", 1, numbers=2, categories=(4,))
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


def a_module(inputs=INPUTS):
    torch.manual_seed(5)
    module = recipes.build("mlp", {"bins": 3, "hidden": [4]}, inputs)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def sums(module, features, target, units, drawn, plan):
    private = GradSampleModule(module, loss_reduction="sum")
    parameters = list(private.parameters())
    try:
        with loop.quiet_opacus():
            return loop.clipped_sums(private, parameters, features, target, units, np.array(drawn), plan)
    finally:
        private.remove_hooks()


def by_hand(module, features, target, unit_rows, clip, kind):
    total = [torch.zeros_like(p) for p in module.parameters()]
    for rows in unit_rows:
        mean = [torch.zeros_like(p) for p in module.parameters()]
        for row in rows:
            module.zero_grad()
            one = {name: tensor[row : row + 1] for name, tensor in features.items()}
            loop.loss_sum(module(**one), target[row : row + 1], kind).backward()
            mean = [m + p.grad / len(rows) for m, p in zip(mean, module.parameters(), strict=True)]
        norm = torch.sqrt(sum(m.square().sum() for m in mean))
        total = [t + m * min(1.0, clip / float(norm)) for t, m in zip(total, mean, strict=True)]
    return total


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_units_are_averaged_clipped_and_summed_as_by_hand(kind, clip, monkeypatch):
    monkeypatch.setattr(loop, "_GRADIENT_FLOATS", 200)  # several portions, which must not matter
    inputs = Inputs(kind, 2 if kind == "multiclass" else 1, numbers=2, categories=(4,))
    module, (features, target) = a_module(inputs), records(kind)
    found = sums(module, features, target, UnitRows(CODES, 2), [0, 1, 4], a_plan(clip=clip, loss=kind))
    assert_close(found, by_hand(module, features, target, [[0, 1], [3], [7, 8]], clip, kind))


def test_one_unit_changes_the_sum_by_at_most_the_clip_whatever_it_holds():
    features, target = records()
    features["numbers"] = features["numbers"] * 1e6
    units, plan = UnitRows(CODES, 2), a_plan(clip=0.3)
    without = sums(a_module(), features, target, units, [1, 2, 3], plan)
    for unit in (0, 4, 5):
        having = sums(a_module(), features, target, units, [1, 2, 3, unit], plan)
        moved = torch.sqrt(sum((a - b).square().sum() for a, b in zip(having, without, strict=True)))
        assert moved <= 0.3 * (1 + 1e-4)


class Ratio(nn.Module):
    """Has an infinite gradient where its number is nought."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, **batch):
        return self.line(1 / batch["numbers"])


def test_a_record_whose_gradient_is_not_finite_counts_for_nothing():
    features, target = records()
    module, units, plan = Ratio(), UnitRows(np.arange(10), 1), a_plan(units=10, max_rows_per_unit=1)
    features["numbers"][3] = 0.0
    with_it = sums(module, features, target, units, [1, 2, 3], plan)
    assert_close(with_it, sums(module, features, target, units, [1, 2], plan))


class Recorder:
    """An optimiser that only notes the gradients it is given."""

    seen: list

    def __init__(self, parameters, lr):
        self.parameters = parameters
        Recorder.seen = []

    def step(self):
        Recorder.seen.append(torch.cat([p.grad.flatten() for p in self.parameters]))


def test_an_empty_step_still_adds_fresh_noise_of_the_stated_size(monkeypatch):
    monkeypatch.setattr(torch.optim, "Adam", Recorder)
    plan = a_plan(sampling_rate=1e-12, steps=400, noise_multiplier=2.0, clip=0.5)
    features, target = records()
    loop.fit(a_module(), features, target, UnitRows(CODES, 2), plan, randomness())
    noise = torch.stack(Recorder.seen) * plan.expected_batch
    assert noise.shape[0] == 400
    assert abs(float(noise.std()) - 2.0 * 0.5) < 0.02
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 0.02  # no step repeats the one before
    assert float(noise.std(0).min()) > 0.8  # no parameter goes without


def test_the_divisor_is_the_expected_batch_not_the_actual_one(monkeypatch):
    monkeypatch.setattr(torch.optim, "Adam", Recorder)
    features, target = records()
    plan = a_plan(sampling_rate=0.5, steps=8, noise_multiplier=1e-9, clip=0.3)
    loop.fit(a_module(), features, target, UnitRows(CODES, 2), plan, randomness(7))
    same, sizes = np.random.default_rng(7), []
    for gradient in Recorder.seen:
        drawn = np.array(loop.draw(6, 0.5, same))
        sizes.append(len(drawn))
        expected = torch.cat(
            [s.flatten() for s in sums(a_module(), features, target, UnitRows(CODES, 2), drawn, plan)]
        )
        assert torch.allclose(gradient, expected / 3.0, atol=1e-5)
    assert len(set(sizes)) > 1


def test_torchs_own_seed_does_not_decide_the_noise():
    weights = []
    for seed in (1, 2):
        torch.manual_seed(0)
        module, (features, target) = a_module(), records()
        loop.fit(module, features, target, UnitRows(CODES, 2), a_plan(), randomness(seed))
        weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    assert not torch.allclose(*weights)


def test_the_module_ends_with_the_mean_of_its_last_steps():
    module, (features, target) = recipes.build("logistic", {"bins": 1}, INPUTS), records()
    seen = []
    plan = a_plan(steps=4, averaged=0.5)
    look = lambda *_: seen.append(module.line.weight.detach().clone())  # noqa: E731
    loop.fit(module, features, target, UnitRows(CODES, 2), plan, randomness(), look)
    assert torch.allclose(module.line.weight, torch.stack(seen[1:]).mean(0), atol=1e-6)


def test_progress_is_told_of_every_step():
    features, target = records()
    told = []
    loop.fit(
        a_module(), features, target, UnitRows(CODES, 2), a_plan(), randomness(), lambda *s: told.append(s)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_module_that_mixes_records_is_refused():
    mixing = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    features, target = records()
    with pytest.raises(NotImplementedError):
        loop.fit(mixing, features, target, UnitRows(CODES, 2), a_plan(), randomness())


def test_a_relation_is_learned_when_there_is_little_noise():
    generator = torch.Generator().manual_seed(8)
    features = {"numbers": torch.rand(2000, 2, generator=generator) * 2 - 1}
    target = (features["numbers"][:, 0] > 0).long()
    module = recipes.build("logistic", {"bins": 4}, Inputs("binary", 1, numbers=2))
    plan = a_plan(
        units=2000, max_rows_per_unit=1, steps=40, clip=1.0, learning_rate=0.5, noise_multiplier=0.5
    )
    loop.fit(module, features, target, UnitRows(np.arange(2000), 1), plan, randomness())
    guess = module(**features).squeeze(1) > 0
    assert (guess.long() == target).float().mean() > 0.95
