"""A model made of a graph: every record by itself, dropout only while training, trained weights put back."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.errors import Invalid
from sandbox.submissions.graph.lift import Model, flushed

_spec = importlib.util.spec_from_file_location("graph_cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)


def model(op="aten.dropout.default", *args):
    made = cases.Builder()
    return Model(made.graph(made.node(op, made.x, *args)))


def features(n):
    return {"numbers": torch.rand(n, 12), "categories": torch.randint(0, 4, (n, 12))}


def test_one_record_never_moves_the_answer_of_another():
    batch = features(6)
    lifted = model("aten.cumsum.default", 0)  # along the batch of one
    before = lifted.answers(batch)
    batch["numbers"][3] = torch.nan
    after = lifted.answers(batch)
    assert torch.equal(before[[0, 1, 2, 4, 5]], after[[0, 1, 2, 4, 5]])
    assert after[3].isnan().all()


def test_no_records_get_no_answers():
    assert model("aten.relu.default").answers(features(0)).shape == (0, 1)


def test_many_records_are_answered_as_few_are(monkeypatch):
    lifted, batch = model("aten.relu.default"), features(300)
    whole = lifted.answers(batch)
    monkeypatch.setitem(lifted.__dict__, "at_once", 64)
    torch.testing.assert_close(lifted.answers(batch), whole)


def test_dropout_happens_in_training_alone_and_differs_between_records():
    lifted, batch = model("aten.dropout.default", 0.5), features(1)
    same = {name: tensor.expand(8, 12) for name, tensor in batch.items()}
    assert lifted.answers(same).unique().numel() == 1

    def training(weights, record):
        return lifted.one(weights, record, training=True)

    torch.manual_seed(0)
    answers = torch.func.vmap(training, (None, 0), randomness="different")(lifted.weights, same)
    assert answers.unique().numel() > 1


def test_trained_weights_come_back_in_a_graph_of_another_digest():
    lifted = model("aten.relu.default")
    trained = {name: w + 1 for name, w in lifted.weights.items()}
    again = Model(lifted.graph_with(trained))
    assert all(torch.equal(again.weights[name], w) for name, w in trained.items())
    assert again.graph.digest != lifted.graph.digest
    with pytest.raises(Invalid, match="not finite"):
        lifted.graph_with({name: torch.full_like(w, torch.nan) for name, w in trained.items()})


def test_training_a_model_leaves_the_graph_it_came_from_alone():
    lifted = model("aten.relu.default")
    before = {name: value.copy() for name, value in lifted.graph.values.items()}
    for weight in lifted.weights.values():
        weight.add_(1)
    assert all(np.array_equal(before[name], value) for name, value in lifted.graph.values.items())


def test_denormal_numbers_are_flushed_inside_and_kept_outside():
    tiny = torch.tensor(1e-310, dtype=torch.float64)
    with flushed():
        assert tiny.mul(1.0) == 0
    assert tiny.mul(1.0) != 0


def test_a_linear_layer_answers_the_same_whether_its_bias_is_shared_or_each_records_own():
    made = cases.Builder()
    own = made.node(
        "aten.linear.default", made.x, made.weight((5, 12)), made.node("aten.narrow.default", made.x, 1, 0, 5)
    )
    lifted = Model(made.graph(own))
    batch = features(6)
    together = lifted.answers(batch)
    alone = [lifted.answers({name: tensor[i : i + 1] for name, tensor in batch.items()}) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone))
