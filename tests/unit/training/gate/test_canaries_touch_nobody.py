"""A training with canaries gives a person no other weights, and no other chance to be drawn, than one without."""

import numpy as np
import torch

from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import loop
from sandbox.training.canaries import NAME, Canaries
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

PEOPLE, PLANTED = 200, 1000
DRAW, NOISED = loop.draw, loop.noised


def test_with_the_canaries_randomness_taken_aside_the_weights_are_the_same(monkeypatch):
    """Only the grid is finer, as there are more coordinates: a thousandth of the noise, which is rounding."""
    torch.manual_seed(1)
    inputs = Inputs("binary", 1, numbers=3)
    model = Model(export(recipes.build("mlp", {"bins": 3, "hidden": [4]}, inputs), inputs))
    features = {"numbers": torch.rand(PEOPLE, 3) * 2 - 1}
    target = (features["numbers"][:, 0] > 0).long()
    plan = Plan(1.0, 1e-6, PEOPLE, 1, 0.2, 25, 0.5, 0.05, "binary", 0.5, 1.5)
    aside = np.random.default_rng(99)

    def draw(units, rate, generator):
        people = DRAW(PEOPLE, rate, generator)
        return np.concatenate([people, PEOPLE + DRAW(units - PEOPLE, rate, aside)])

    def noised(sums, deviation, grid, generator):
        of_people = {name: total for name, total in sums.items() if name != NAME}
        of_canaries = {NAME: sums[NAME]} if NAME in sums else {}
        after = NOISED(of_people, deviation, grid, generator)
        return after | NOISED(of_canaries, deviation, grid, aside) if of_canaries else after

    monkeypatch.setattr(loop, "draw", draw)
    monkeypatch.setattr(loop, "noised", noised)
    found = []
    for canaries in (None, Canaries(np.arange(PLANTED) % 2 == 0)):
        randomness = Randomness(np.random.default_rng(5), np.random.default_rng(6))
        units = UnitRows(np.arange(PEOPLE), 1)
        found.append(loop.fit(model, features, target, units, plan, randomness, canaries=canaries))
    without, having = found
    assert without.keys() == having.keys() == model.weights.keys()
    for name, weight in without.items():
        assert float((weight - model.weights[name]).abs().max()) > 0.05
        assert torch.allclose(weight, having[name], atol=5e-3), name


def test_people_are_drawn_by_their_own_coins_whatever_canaries_are_drawn():
    rng, times, both = np.random.default_rng(8), np.zeros(20), []
    for _ in range(4000):
        drawn = loop.draw(20 + 30, 0.3, rng)
        times[drawn[drawn < 20]] += 1
        both.append(((drawn < 20).sum(), (drawn >= 20).sum()))
    counts = np.array(both)
    assert np.abs(times / 4000 - 0.3).max() < 5.5 * (0.21 / 4000) ** 0.5
    assert abs(np.corrcoef(counts.T)[0, 1]) < 5 / 4000**0.5
    assert abs(counts[:, 0].var() / (20 * 0.21) - 1) < 5 * (2 / 4000) ** 0.5
