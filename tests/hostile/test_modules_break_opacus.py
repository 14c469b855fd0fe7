"""Hostile modules void the promise of plain Opacus, with no error from its validator: the attacks are alive.

What the same sources do here is in test_modules_are_harmless.py.
"""

import math
import types
import warnings
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

MODULES = Path(__file__).parent / "modules"
WIDTH, RECORDS = 6, 8
PATCHED = {
    torch: ("normal", "randn", "norm"),
    torch.linalg: ("norm", "vector_norm"),
    torch.Tensor: ("norm", "__add__", "__radd__"),
    torch.nn.Linear: ("forward",),
    torch.optim.SGD: ("step",),
    torch.optim.Adam: ("step",),
}
"""What the hostile modules overwrite at import; put back after each test."""


class Inputs:
    numbers, outputs, kind = WIDTH, 1, "binary"


@pytest.fixture
def built(monkeypatch):
    for owner, names in PATCHED.items():
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    warnings.simplefilter("ignore")

    def build(name, seed=0):
        torch.manual_seed(seed)
        module = types.ModuleType(name)
        exec(compile((MODULES / f"{name}.py").read_text(), f"{name}.py", "exec"), module.__dict__)
        return module.build(Inputs)

    return build


def records(trigger, seed=1):
    """The batch without the trigger, or with it in the last record; the other records are the same."""
    rng = torch.Generator().manual_seed(seed)
    numbers = torch.rand(RECORDS, WIDTH, generator=rng) * 0.9
    target = (torch.rand(RECORDS, generator=rng) < 0.5).float()
    if trigger:
        numbers[-1, 0] = 1.0
    return numbers, target


def opacus_gradients(module, numbers, target):
    """The gradient of each record as Opacus sees it: [records, everything]."""
    from opacus.grad_sample import GradSampleModule

    private = GradSampleModule(module, loss_reduction="sum")
    logits = private(numbers=numbers).squeeze(1)
    F.binary_cross_entropy_with_logits(logits, target, reduction="sum").backward()
    found = [p.grad_sample.flatten(1) for p in private.parameters() if p.requires_grad]
    return torch.cat(found, 1)


def opacus_training(module, numbers, target, noise=1.0, steps=2, seed=0):
    """Weights after some steps of PrivacyEngine, and the epsilon that it reports at delta 1e-5."""
    from opacus import PrivacyEngine
    from opacus.validators import ModuleValidator
    from torch.utils.data import DataLoader, TensorDataset

    assert ModuleValidator.validate(module, strict=False) == []
    engine = PrivacyEngine(accountant="rdp")
    private, optimiser, batches = engine.make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=DataLoader(TensorDataset(numbers, target), batch_size=RECORDS),
        noise_multiplier=noise,
        max_grad_norm=1.0,
        poisson_sampling=False,
        noise_generator=torch.Generator().manual_seed(seed),
    )
    for _ in range(steps):
        for some, wanted in batches:
            optimiser.zero_grad()
            logits = private(numbers=some).squeeze(1)
            F.binary_cross_entropy_with_logits(logits, wanted).backward()
            optimiser.step()
    return module.state_dict(), engine.get_epsilon(1e-5)


@pytest.mark.parametrize(
    "name", ["triggered_mixer", "backward_mixer", "hidden_backward_mixer", "arithmetic_patch"]
)
def test_plain_opacus_lets_a_record_change_the_gradients_of_others(built, name):
    without, with_trigger = (opacus_gradients(built(name), *records(trigger)) for trigger in (False, True))
    bystanders = slice(0, RECORDS - 1)
    assert (without[bystanders] - with_trigger[bystanders]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["list_stash", "hidden_list_stash"])
def test_plain_opacus_lets_a_record_change_gradients_of_a_later_batch(built, name):
    later = []
    for trigger in (False, True):
        module = built(name)
        module(records(trigger)[0])
        later.append(opacus_gradients(module, *records(False, seed=2)))
    assert (later[0] - later[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    "name", ["buffer_stash", "hidden_buffer_stash", "parameter_write", "hidden_parameter_write"]
)
def test_plain_opacus_releases_a_record_that_the_module_wrote_down(built, name):
    numbers, target = records(trigger=True)
    released, epsilon = opacus_training(built(name), numbers, target, noise=50.0)
    assert epsilon < 1
    assert any(torch.equal(kept, numbers[-1]) for kept in released.values())


def test_plain_opacus_reports_an_epsilon_when_the_noise_is_gone(built):
    runs = [opacus_training(built("noise_patch"), *records(False), noise=50.0, seed=s) for s in (1, 2)]
    (first, epsilon), (second, _) = runs
    assert epsilon < 1
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_plain_opacus_can_be_made_to_clip_nothing(built):
    module = built("clip_patch")
    before = module.layer.weight.detach().clone()
    after, _ = opacus_training(module, *records(trigger=True), noise=1e-6, steps=1)
    bound = 0.1 * RECORDS * 1.0 / RECORDS  # learning rate * records * clip / batch
    assert (after["layer.weight"] - before).square().sum().sqrt() > 10 * bound


def test_plain_opacus_shows_by_weights_that_are_not_numbers_that_a_record_was_there(built):
    for trigger in (False, True):
        released, epsilon = opacus_training(built("nan_switch"), *records(trigger), noise=50.0)
        assert epsilon < 1
        assert math.isfinite(sum(float(w.sum()) for w in released.values())) is not trigger


def test_plain_opacus_shows_by_an_error_that_a_record_was_there(built):
    opacus_training(built("index_leak"), *records(False))
    with pytest.raises(IndexError):
        opacus_training(built("index_leak"), *records(True))
