"""A GRU or LSTM of a graph is torch's own, record by record, and its loop counts as the work it is."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.recurrent import MAX_STEPS, gru, lstm
from sandbox.submissions.graph.terms import Node, Ref, Spec, Weight, WeightRef
from sandbox.submissions.graph.verify import Caps, verify

STEPS, WIDE, SIZE, RECORDS = 7, 3, 5, 4
FORMS = {
    "plain": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "without biases": {"bias": False},
}
FUNCTIONS = {"gru": (nn.GRU, gru, torch.gru), "lstm": (nn.LSTM, lstm, torch.lstm)}
CASES = [(name, form) for name in FUNCTIONS for form in FORMS]


class Trend(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, 1)

    def forward(self, trend):
        return self.head(self.layer(trend.unsqueeze(2))[0][:, -1])


def both(name, form):
    """Ours and torch's, as functions of weights, one record's steps and where to start; and values for these."""
    torch.manual_seed(1)
    kind, ours, theirs = FUNCTIONS[name]
    layer = kind(WIDE, SIZE, batch_first=True, **FORMS[form])
    turns = 1 + layer.bidirectional
    weights = [w.detach().clone() for w in layer._flat_weights]
    x, start = torch.randn(RECORDS, STEPS, WIDE), torch.randn(RECORDS, layer.num_layers * turns, 1, SIZE)

    def run(function, **told):
        def answer(weights, x, start):
            state = (start, start.cos()) if name == "lstm" else start
            rest = (layer.bias, layer.num_layers, 0.0, False, layer.bidirectional, True)
            return function(x[None], state, weights, *rest, **told)

        return answer

    return run(ours, training=True), run(theirs), weights, x, start


def total(answer):
    """A number that every one of the results moves."""
    return lambda *given: sum(
        (r * torch.linspace(1, 2, r.numel()).view_as(r)).sin().sum() for r in answer(*given)
    )


@pytest.mark.parametrize(("name", "form"), CASES)
def test_every_result_and_every_record_s_gradients_are_those_of_torch(name, form):
    ours, theirs, weights, x, start = both(name, form)
    every = (0, 1, 2)
    answers = vmap(ours, (None, 0, 0))(weights, x, start)
    found = vmap(grad(total(ours), every), (None, 0, 0))(weights, x, start)
    for at in range(RECORDS):
        for mine, wanted in zip(answers, theirs(weights, x[at], start[at]), strict=True):
            torch.testing.assert_close(mine[at], wanted, rtol=1e-5, atol=1e-6)
        leaves = [t.clone().requires_grad_() for t in (*weights, x[at], start[at])]
        expected = torch.autograd.grad(total(theirs)(leaves[:-2], *leaves[-2:]), leaves)
        for mine, wanted in zip([*found[0], *found[1:]], expected, strict=True):
            torch.testing.assert_close(mine[at], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_of_all_records_together_is_the_sum_of_each_one_s(name):
    ours, _, weights, x, start = both(name, "plain")
    each = vmap(grad(total(ours)), (None, 0, 0))(weights, x, start)
    together = grad(lambda w: vmap(total(ours), (None, 0, 0))(w, x, start).sum())(weights)
    for apart, whole in zip(each, together, strict=True):
        torch.testing.assert_close(apart.sum(0), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_weights_that_a_record_brings_itself_are_used_for_it_alone(name):
    ours, theirs, weights, x, start = both(name, "plain")
    own = [torch.stack([w * (1 + at) for at in range(RECORDS)]) for w in weights]
    answers = vmap(ours)(own, x, start)
    found = vmap(grad(total(ours)))(own, x, start)
    for at in range(RECORDS):
        leaves = [w[at].clone().requires_grad_() for w in own]
        wanted = theirs(leaves, x[at], start[at])
        torch.testing.assert_close(answers[0][at], wanted[0], rtol=1e-5, atol=1e-6)
        expected = torch.autograd.grad(total(theirs)(leaves, x[at], start[at]), leaves)
        for mine, gradient in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[at], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_record_that_is_not_finite_moves_no_bit_of_another_s_answer_or_gradient(name):
    ours, _, weights, x, start = both(name, "two layers both ways")

    def all_of_it():
        learned = vmap(grad(total(ours)), (None, 0, 0))(weights, x, start)
        return [*vmap(ours, (None, 0, 0))(weights, x, start), *learned]

    before = all_of_it()
    x[2, 1], start[2] = torch.nan, torch.inf
    others = [0, 1, 3]
    after = all_of_it()
    assert all(torch.equal(a[others], b[others]) for a, b in zip(before, after, strict=True))
    assert after[0][2].isnan().any()


@pytest.mark.parametrize(("name", "form"), CASES)
def test_where_nothing_learns_every_record_is_answered_the_same_and_alone(name, form):
    ours, theirs, weights, x, start = both(name, form)
    with torch.no_grad():
        answers = vmap(ours, (None, 0, 0))(weights, x, start)
        for at in range(RECORDS):
            for mine, wanted in zip(answers, theirs(weights, x[at], start[at]), strict=True):
                torch.testing.assert_close(mine[at], wanted, rtol=1e-5, atol=1e-6)
        x[2, 1], start[2] = torch.nan, torch.inf
        others = [0, 1, 3]
        after = vmap(ours, (None, 0, 0))(weights, x, start)
        assert all(torch.equal(a[others], b[others]) for a, b in zip(answers, after, strict=True))
        own = [torch.stack([w * (1 + at) for at in range(RECORDS)]) for w in weights]
        brought = vmap(ours)(own, x, start)
        for at in others:
            wanted = theirs([w[at] for w in own], x[at], start[at])
            torch.testing.assert_close(brought[0][at], wanted[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_a_layer_stays_one_node_whose_work_is_counted(kind):
    steps, size = 24, 32
    gates = {nn.GRU: 3, nn.LSTM: 4}[kind]
    inputs = Inputs("binary", 1, arrays={"trend": (steps,)})
    graph = export(Trend(kind(1, size, batch_first=True)), inputs)
    assert [n.op for n in graph.nodes].count(f"aten.{kind.__name__.lower()}.input") == 1
    summary = verify(graph, inputs)
    products = 2 * steps * gates * size * (1 + size)
    assert products < summary.flops_per_record < 1.2 * products
    assert summary.values_per_record > steps * gates * size
    with pytest.raises(Invalid, match="more than the caps"):
        verify(graph, inputs, Caps(steps=steps - 1))
    with pytest.raises(Invalid, match="more than the caps"):
        verify(graph, inputs, Caps(total=steps * gates * size))


def test_scoring_takes_portions_that_fit_what_a_loop_keeps():
    def at_once(size):
        inputs = Inputs("binary", 1, arrays={"trend": (6,)})
        return Model(export(Trend(nn.GRU(1, size, batch_first=True)), inputs)).at_once

    assert at_once(256) < at_once(64)


def made(steps, *shapes, op="aten.gru.input"):
    """A graph of one layer over `steps` steps of two numbers, with weights of these shapes."""
    weights = [Weight(f"w{i}", "float32", shape, True) for i, shape in enumerate(((1, 1, 4), *shapes))]
    layer = (True, 1, 0.0, True, False, True)
    start = WeightRef("w0") if "gru" in op else (WeightRef("w0"), WeightRef("w0"))
    nodes = (
        Node("n0", op, (Ref("steps"), start, tuple(WeightRef(w.name) for w in weights[1:]), *layer)),
        Node("n1", "getitem", (Ref("n0"), 1)),
        Node("n2", "aten.sum.dim_IntList", (Ref("n1"), (2,))),
    )
    return RecordGraph((Spec("steps", "float32", (1, steps, 2)),), tuple(weights), nodes, "n2", {})


FITTING = ((12, 2), (12, 4), (12,), (12,))


def test_sizes_that_would_only_fit_by_spreading_are_refused():
    verify(made(3, *FITTING))
    for odd in (
        ((12, 1), *FITTING[1:]),
        ((12, 2), (12, 1), (12,), (12,)),
        ((12, 2), (12, 4), (1,), (12,)),
        ((1, 2), (12, 4), (12,), (12,)),
        FITTING[:2],
        FITTING[:3],
        (*FITTING, (4, 4)),
        FITTING * 2,
    ):
        with pytest.raises(Invalid, match="cannot run"):
            verify(made(3, *odd))
    with pytest.raises(Invalid, match="cannot run"):
        verify(made(3, *FITTING, op="aten.lstm.input"))


def test_a_loop_of_too_many_steps_is_refused_before_it_runs():
    with pytest.raises(Invalid, match=f"more than {MAX_STEPS} steps"):
        verify(made(2**22, *FITTING))
    with pytest.raises(Invalid, match="cannot run"):
        verify(made(0, *FITTING))
