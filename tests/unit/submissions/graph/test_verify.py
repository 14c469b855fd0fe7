"""A graph meets records only when every operator, argument, shape, cost and gradient is known to be sound."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.summary import Summary
from sandbox.submissions.graph.terms import Dtype, Node, Ref, Spec, Weight, WeightRef
from sandbox.submissions.graph.verify import Caps, verify, verify_again

_spec = importlib.util.spec_from_file_location("graph_cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

INPUTS = Inputs("binary", 1, numbers=12, categories=(6,) * 12)
X, WHOLE = Ref("numbers"), Ref("categories")


def one(op, *args, **kwargs):
    """A graph with one odd node among sound ones."""
    made = cases.Builder()
    return made.graph(made.node(op, *args, **kwargs))


def test_a_sound_graph_is_summed_up():
    summary = verify(one("aten.relu.default", X), INPUTS)
    assert summary.inputs_used == ("numbers",)
    assert summary.inputs_unused == ("categories",)
    assert (summary.parameters, summary.trainable, summary.outputs) == (12, 12, 1)
    assert [layer.module for layer in summary.layers] == ["layer"]
    assert Summary.from_json(summary.to_json()) == summary


def test_flops_count_what_a_matrix_product_costs():
    made = cases.Builder()
    linear = made.node("aten.linear.default", X, made.weight((100, 12)))
    summary = verify(made.graph(linear))
    assert 2 * 12 * 100 <= summary.flops_per_record <= 2 * 12 * 100 + 1_000


ODD = {
    "an unknown operator": ("aten.bernoulli.default", (X,), "not among those"),
    "uninitialised memory": ("aten.empty.memory_format", ((1, 3),), "not among those"),
    "something in place": ("aten.relu_.default", (X,), "not among those"),
    "sorting": ("aten.sort.default", (X,), "not among those"),
    "a shape that depends on values": ("aten.nonzero.default", (X,), "not among those"),
    "Python": ("builtins.eval", ("1",), "not among those"),
    "an attribute": ("aten.relu.default.__globals__", (X,), "not among those"),
    "too many arguments": ("aten.relu.default", (X, 1), "may have 1"),
    "too few arguments": ("aten.select.int", (X, 1), "index is missing"),
    "an argument that is text": ("aten.add.Tensor", (X, "x"), "not a tensor or a number"),
    "whole numbers divided by values": ("aten.floor_divide.default", (WHOLE, WHOLE), "float32 tensor"),
    "whole numbers divided by zero": ("aten.remainder.Scalar", (WHOLE, 0), "float32 tensor"),
    "whole numbers to a negative power": ("aten.pow.Tensor_Scalar", (WHOLE, -1), "float32 tensor"),
    "boolean indexing": ("aten.index.Tensor", (X, (X,)), "int64 tensors"),
    "floats as an index": ("aten.embedding.default", (X, X), "int64 tensor"),
    "classes counted from values": ("aten.one_hot.default", (WHOLE, -1), "from 1 on"),
    "a stride of zero": ("aten.avg_pool1d.default", (X, (2,), (0,)), "from 1 on"),
    "an unknown mode": ("aten.pad.default", (X, (1, 1), "evil"), "one of constant"),
    "an index out of range": ("aten.select.int", (X, 1, 12), "out of range"),
    "a huge tensor": ("aten.expand.default", (X, (2**20, 2**20, 12)), "larger than"),
    "a tensor beyond all bounds": ("aten.zeros.default", ((2**31 - 1,) * 8,), "cannot run"),
    "a huge range": ("aten.arange.default", (2**40,), "larger than"),
    "a result of none": ("getitem", (X, 0), "several"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ODD))
def test_an_odd_node_is_refused_with_the_developers_own_line(name):
    op, args, words = ODD[name]
    with pytest.raises(Invalid, match=r"(?s)of module 'layer' \(Layer\) at model\.py:7.*" + words):
        verify(one(op, *args), INPUTS)


@pytest.mark.parametrize(
    "name", [name for name in ODD if not name.startswith(("a huge range", "a tensor beyond"))]
)
def test_an_odd_node_is_refused_when_looked_at_again_too(name):
    op, args, words = ODD[name]
    with pytest.raises(Invalid, match=r"(?s)of module 'layer' \(Layer\) at model\.py:7.*" + words):
        verify_again(one(op, *args), INPUTS)


def test_a_graph_of_another_task_or_beyond_the_caps_is_refused_when_looked_at_again():
    sound = one("aten.relu.default", X)
    assert verify_again(sound, INPUTS) == verify(sound, INPUTS).values_per_record
    for inputs, caps in (
        (Inputs("binary", 1, numbers=11, categories=(6,) * 12), Caps()),
        (Inputs("multiclass", 3, numbers=12, categories=(6,) * 12), Caps()),
        *((INPUTS, caps) for caps in (Caps(elements=5), Caps(total=20), Caps(parameters=3))),
    ):
        with pytest.raises(Invalid):
            verify_again(sound, inputs, caps)


def test_inputs_and_output_must_be_those_of_the_task():
    sound = one("aten.relu.default", X)
    with pytest.raises(Invalid, match="inputs are not those of the task"):
        verify(sound, Inputs("binary", 1, numbers=11, categories=(6,) * 12))
    with pytest.raises(Invalid, match=r"should be \[1, 3\]"):
        verify(sound, Inputs("multiclass", 3, numbers=12, categories=(6,) * 12))
    spec, weight = Spec("numbers", "float32", (1, 2)), Weight("w", "float32", (2,), True)
    values = {"w": np.ones(2, np.float32)}
    for node in (
        Node("n0", "aten.sum.default", (X,)),
        Node("n0", "aten._to_copy.default", (X,), {"dtype": Dtype("int64")}),
        Node("n0", "aten.repeat.default", (X, (2, 1))),
        Node("n0", "aten.unbind.int", (X, 1)),
    ):
        with pytest.raises(Invalid, match="output"):
            verify(RecordGraph((spec,), (weight,), (node,), "n0", values))


def test_a_graph_that_cannot_learn_is_refused():
    made = cases.Builder()
    graph = made.graph(made.x)
    fixed = tuple(Weight(w.name, w.dtype, w.shape, False) for w in graph.weights)
    with pytest.raises(Invalid, match="none is trainable"):
        verify(RecordGraph(graph.inputs, fixed, graph.nodes, graph.output, graph.values))


def test_work_beyond_the_caps_is_refused_where_it_passes_them():
    graph = one("aten.relu.default", X)
    for caps in (Caps(elements=5), Caps(total=20), Caps(flops=20), Caps(parameters=3)):
        with pytest.raises(Invalid):
            verify(graph, INPUTS, caps)


def test_every_problem_with_operators_is_named_at_once():
    nodes = (Node("n0", "aten.a.b", (X,)), Node("n1", "aten.c.d", (X,)))
    weight = Weight("w", "float32", (2,), True)
    graph = RecordGraph((Spec("numbers", "float32", (1, 2)),), (weight,), nodes, "n1", {})
    with pytest.raises(Invalid) as refusal:
        verify(graph)
    assert len(refusal.value.problems) == 2


def test_pooling_over_a_large_window_counts_as_the_work_it_is():
    made = cases.Builder()
    square = made.node(
        "aten.expand.default", made.node("aten.reshape.default", made.x, (1, 1, 12, 1)), (1, 1, 12, 12)
    )
    pooled = made.node("aten.avg_pool2d.default", square, (7, 7), (1, 1), (3, 3))
    assert verify(made.graph(pooled)).flops_per_record > 144 * 49


def test_a_weight_shared_by_two_layers_counts_once():
    shared = WeightRef("w")
    nodes = (
        Node("n0", "aten.linear.default", (X, shared), {}, "a"),
        Node("n1", "aten.linear.default", (Ref("n0"), shared), {}, "b"),
        Node("n2", "aten.sum.dim_IntList", (Ref("n1"), (1,), True)),
    )
    weight = Weight("w", "float32", (2, 2), True)
    graph = RecordGraph((Spec("numbers", "float32", (1, 2)),), (weight,), nodes, "n2", {})
    assert [layer.parameters for layer in verify(graph).layers] == [4, 0, 0]
