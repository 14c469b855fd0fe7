"""`gam` wastes little of the noise: gradients are as long as they may be, and shares go where the signal is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sandbox.catalogue import made_up
from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import layers_additive
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.manifest import Wishes
from sandbox.training import fitting
from sandbox.training.gradients import record_gradients, squared_norms


def test_a_curve_shares_a_number_between_the_edges_around_it_with_a_norm_of_one():
    seen = layers_additive.Curves(4)(torch.tensor([[-1.0], [-0.5], [0.125], [1.0], [7.0]]))
    circle, edges = seen[:, :2], seen[:, 2:]
    assert (edges > 0).int().tolist() == [
        [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1],
    ]  # fmt: skip
    assert torch.allclose(edges[2, 2] / edges[2, 3], torch.tensor(3.0))  # a quarter of the way
    assert torch.allclose(circle[0], -circle[3], atol=1e-6)  # false and true
    assert torch.allclose(circle.norm(dim=1), edges.norm(dim=1))
    assert torch.allclose(seen.norm(dim=1), torch.ones(5))


@given(st.floats(-30, 30), st.booleans())
def test_the_links_chances_are_laplace_s_and_its_loss_changes_by_at_most_one_for_each_one(answer, yes):
    at = torch.tensor(answer, dtype=torch.float64, requires_grad=True)
    odds = layers_additive.laplace_logit(at)
    laplace = torch.distributions.Laplace(0.0, 1.0).cdf(at.detach())
    assert torch.allclose(odds.sigmoid(), laplace, atol=1e-12)
    F.binary_cross_entropy_with_logits(odds, torch.tensor(float(yes), dtype=torch.float64)).backward()
    slope, towards = float(at.grad), -1.0 if yes else 1.0
    assert slope * towards > 0
    assert abs(slope) <= 1 + 1e-12
    if answer * towards > 0:  # on the wrong side: as much as it may be
        assert slope == pytest.approx(towards)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_the_gradients_of_a_gams_line_have_the_promised_norm_whatever_its_weights_and_shares(kind):
    inputs = Inputs(kind, 3 if kind == "multiclass" else 1, numbers=3, categories=(4,))
    torch.manual_seed(3)
    module = layers_additive.Additive(inputs, 8)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=5)  # as wrong as can be
    features = made_up.records(inputs, 200, torch.Generator().manual_seed(1))
    gradients = record_gradients(Model(export(module, inputs)), features, made_up.targets(inputs, 200), kind)
    gradients.pop("importance")
    most = squared_norms(gradients).sqrt().max()
    bound = 2**0.5 if kind == "multiclass" else 1.0
    assert 0.9 * bound < most <= bound + 1e-5


def test_a_record_is_shared_out_equally_among_columns_at_first():
    module = layers_additive.Additive(Inputs("binary", 1, numbers=2, categories=(4,)), 8)
    assert torch.allclose(module.shares(), torch.tensor([2, 1, 1, 1, 1, 2]) / 8)


def test_what_tells_something_gets_the_larger_shares_and_the_answers_stay_calibrated():
    """The fourth number tells in a line, the sixth in a way that no half circle bends."""
    random = np.random.default_rng(5)
    numbers = random.uniform(-1, 1, (6_000, 12)).astype(np.float32)
    chances = 1 / (1 + np.exp(-3 * numbers[:, 3] - 3 * np.sin(6 * numbers[:, 5]) + 1.5))
    answers = (random.random(6_000) < chances).astype(np.int64)
    asked = fitting.Asked("gam", {}, 2.0, 1e-5, Wishes(), 1)
    inputs = Inputs("binary", 1, numbers=12)
    found = fitting.fit(asked, inputs, {"numbers": numbers}, answers, np.arange(6_000))
    module = layers_additive.Additive(inputs, 8)
    module.load_state_dict(Model(found.graph).weights, strict=False)
    shares = module.shares().detach()[1:].reshape(12, 2)
    assert set(shares.sum(1).argsort()[-2:].tolist()) == {3, 5}
    assert shares[5, 1] > 4 * shares[5, 0]
    assert float(shares[3].sum() + shares[5].sum()) > 0.5  # at first 2/13
    said = 1 / (1 + np.exp(-found.answers({"numbers": numbers})[:, 0]))
    assert abs(said.mean() - answers.mean()) < 0.03
