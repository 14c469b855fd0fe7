"""Compiled gradients are the engine's, for portions of every size; where they cannot be had, training goes on."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.catalogue import made_up
from sandbox.catalogue.inputs import Inputs
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import compiled, loop
from sandbox.training.compiled import Compiled, instead_of, pays, portion
from sandbox.training.engines import Plain, Tapped, choose
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

INPUTS = Inputs("binary", 1, numbers=12)


def as_traced(graph, given):
    """What a compiler is given, run as it is."""
    return graph


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, numbers):
        return self.layers(numbers)


class Attention(nn.Module):
    """Three numbers at a time look at each other."""

    def __init__(self, dropout):
        super().__init__()
        self.layer = nn.MultiheadAttention(3, 1, dropout=dropout, batch_first=True)

    def forward(self, numbers):
        seen = numbers.reshape(-1, 4, 3)
        return self.layer(seen, seen, seen, need_weights=False)[0].flatten(1)


class Steps(nn.Module):
    """One number after the other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(1, 6, batch_first=True)

    def forward(self, numbers):
        return self.layer(numbers.unsqueeze(2))[0][:, -1]


def a_model(*layers):
    torch.manual_seed(1)
    layers = layers or (nn.Linear(12, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 1))
    return Model(export(Net(*layers), INPUTS))


def a_plan(**changes):
    whole = {
        "epsilon": 1.0, "delta": 1e-6, "units": 40, "max_rows_per_unit": 1, "sampling_rate": 0.3, "steps": 12,
        "clip": 0.3, "learning_rate": 0.1, "loss": "binary", "noise_multiplier": 1e-9,
    }  # fmt: skip
    return Plan(**{**whole, **changes})


def records(n, seed=2):
    features = made_up.records(INPUTS, n, torch.Generator().manual_seed(seed))
    return features, torch.arange(n) % 2


def test_a_portion_that_is_not_full_gives_the_sums_of_its_own_records_and_a_lost_one_counts_as_zeros():
    model = a_model()
    engine = Tapped(model, "binary", training=False)
    made = Compiled(engine, 16, as_traced)
    assert made.prepare(model, model.weights, torch.zeros(1, dtype=torch.int64), 0.3) < 1e-6
    for n in (1, 7, 16, 20):  # the last is two portions
        features, target = records(n)
        if n > 1:
            features["numbers"][1, 3] = float("nan")
        given = dict(model.weights), features, target, UnitRows(np.arange(n), 1), np.arange(n), 0.3
        ours, plain = (loop.clipped_sums(e, *given) for e in (made, Plain(model, "binary", training=False)))
        for name, total in plain.items():
            assert torch.allclose(ours[name], total, atol=1e-6), (n, name)


def test_units_of_several_records_are_left_to_the_engine():
    model = a_model()
    made = Compiled(Tapped(model, "binary", training=False), 16, as_traced)
    made.prepare(model, model.weights, torch.zeros(1, dtype=torch.int64), 0.3)
    features, target = records(6)
    given = dict(model.weights), features, target, torch.tensor([0, 0, 1, 2, 2, 2]), 0.3
    for name, total in Plain(model, "binary", training=False).sums(*given).items():
        assert torch.allclose(made.sums(*given)[name], total, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "compiler", "why"),
    [
        ((nn.Linear(12, 1),), lambda *_: 1 / 0, "is a C"),
        ((nn.Linear(12, 1),), lambda graph, _: lambda *a: [t * 1.1 for t in graph(*a)], "off"),
        ((nn.Dropout(0.5), nn.Linear(12, 1)), as_traced, "dropout"),
        ((Attention(0.5), nn.Linear(12, 1)), as_traced, "dropout"),
        ((Steps(), nn.Linear(6, 1)), as_traced, "recurrent"),
    ],
)
def test_what_cannot_be_compiled_or_gives_other_sums_is_trained_as_it_is_and_says_why(
    layers, compiler, why, caplog
):
    model = a_model(*layers)
    engine = choose(model, "binary")
    with caplog.at_level(logging.WARNING):
        found = instead_of(
            engine, model, model.weights, torch.zeros(1, dtype=torch.int64), 10.0, 0.3, compiler
        )
    assert found is engine
    assert why in caplog.text


def test_a_training_that_is_compiled_learns_the_same(monkeypatch):
    monkeypatch.setattr(compiled, "by_torch", as_traced)
    learned = []
    for how in ("never", "always"):
        features, target = records(40)
        training = loop.Training(
            a_model(), features, target, UnitRows(np.arange(40), 1), a_plan(),
            Randomness(np.random.default_rng(1), np.random.default_rng(2)), compiled=how,
        )  # fmt: skip
        for _ in range(12):
            training.step()
        learned.append(torch.cat([weight.flatten() for weight in training.means.values()]))
        assert isinstance(training._engine, Compiled) == (how == "always")
    assert torch.allclose(*learned, atol=1e-3)


@pytest.mark.parametrize("layer", [Attention(0.0), nn.Dropout(0.0)])
def test_what_could_drop_but_does_not_is_compiled(layer):
    model = a_model(layer, nn.Linear(12, 1))
    answers = torch.zeros(1, dtype=torch.int64)
    found = instead_of(Tapped(model, "binary"), model, model.weights, answers, 10.0, 0.3, as_traced)
    assert isinstance(found, Compiled)


def test_short_trainings_are_not_compiled_and_larger_graphs_only_in_longer_ones():
    assert not pays(steps_left=200, step_seconds=0.01, nodes=5)
    assert pays(steps_left=10_000, step_seconds=0.01, nodes=5)
    assert not pays(steps_left=10_000, step_seconds=0.01, nodes=80)


@pytest.mark.parametrize("expected", [1, 50, 2_048, 20_000])
def test_a_step_seldom_needs_one_portion_more(expected):
    size = portion(expected, 4_096)
    assert size <= 4_096
    assert (expected + 2.5 * expected**0.5) / size <= np.ceil(expected / 4_096 + 0.2)
