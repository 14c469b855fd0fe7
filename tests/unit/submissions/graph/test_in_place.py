"""Scoring writes over what nobody else reads, and nobody could tell: answers, records and weights are the same."""

import random
from functools import partial

import numpy as np
import pytest
import torch

from sandbox.submissions.graph import in_place
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.lift import Model, flushed
from sandbox.submissions.graph.terms import Dtype, Node, Ref, Spec, Weight, WeightRef

WIDE, RECORDS, GRAPHS, NODES = 6, 4, 40, 25
SHAPES = {"matrix": (WIDE, WIDE), "row": (WIDE,), "one": (1,)}
UNARY = [op for op in in_place._OVER if op.endswith(".default")]
BINARY = [op for op in in_place._OVER if op.endswith(".Tensor")]
VIEWS = [
    ("aten.alias.default",),
    ("aten.detach.default",),
    ("aten.view.default", (1, WIDE)),
    ("aten.expand.default", (1, WIDE)),
    ("aten.dropout.default", 0.5),  # passes on what it is given, when nobody trains
    ("aten.slice.Tensor", -1, 0, WIDE),
]


def random_graph(seed):
    """A graph that writes, looks at the same memory twice, and reads values late, at random."""
    draw = random.Random(seed)
    nodes, values = [], [Ref("numbers")]

    def add(op, *args):
        nodes.append(Node(f"n{len(nodes)}", op, args))
        return Ref(nodes[-1].name)

    whole = [Ref("categories")]
    values += [add("aten._to_copy.default", Ref("categories"))]
    nodes[-1] = Node("n0", "aten._to_copy.default", (Ref("categories"),), {"dtype": Dtype("float32")})
    values += [add("aten.mul.Tensor", WeightRef("row"), 0.5)]  # the same for every record
    while len(nodes) < NODES:
        one, other = draw.choice(values[-4:]), draw.choice(values)
        kind = draw.random()
        if kind < 0.3:
            values.append(add(draw.choice(UNARY), one))
        elif kind < 0.55:
            second = draw.choice([other, WeightRef("row"), WeightRef("one"), 0.75])
            values.append(add(draw.choice(BINARY), one, second))
        elif kind < 0.7:
            values.append(add("aten.linear.default", one, WeightRef("matrix"), WeightRef("row")))
        elif kind < 0.75:
            whole.append(add("aten.add.Tensor", whole[-1], 1))
            values.append(add("aten.mul.Tensor", whole[-1], one))
        else:
            op, *rest = draw.choice(VIEWS)
            values.append(add(op, one, *rest))
    values = [add("aten.add.Tensor", value, WeightRef("row")) for value in draw.sample(values, 4)]
    total = Ref("numbers")
    for value in values:
        total = add("aten.add.Tensor", total, value)
    answer = add("aten.linear.default", total, WeightRef("matrix"))
    inputs = (Spec("numbers", "float32", (1, WIDE)), Spec("categories", "int64", (1, WIDE)))
    weights = tuple(Weight(name, "float32", shape, True) for name, shape in SHAPES.items())
    made = np.random.default_rng(seed)
    arrays = {name: made.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return RecordGraph(inputs, weights, tuple(nodes), answer.name, arrays)


@pytest.fixture(scope="module")
def tried():
    """For every graph, how many steps write over something."""
    counts = []
    for seed in range(GRAPHS):
        graph = random_graph(seed)
        model = Model(graph)
        torch.manual_seed(seed)
        batch = {
            "numbers": torch.randn(RECORDS, WIDE),
            "categories": torch.randint(0, 4, (RECORDS, WIDE)),
        }
        kept = {name: tensor.clone() for name, tensor in batch.items()}
        every = {name: torch.from_numpy(value) for name, value in graph.values.items()}
        one = partial(model.one, model.weights, training=False)  # writes over nothing
        with torch.no_grad(), flushed():
            wanted = torch.func.vmap(one)(batch)
        for _ in range(2):
            torch.testing.assert_close(model.answers(batch), wanted, rtol=0, atol=0, equal_nan=True)
        assert all(torch.equal(batch[name], kept[name]) for name in batch)
        assert all(torch.equal(model.weights[name], every[name]) for name in every)
        counts.append(len(in_place.functions(graph, model._made)))
    return counts


def test_answers_records_and_weights_are_the_same(tried):
    assert len(tried) == GRAPHS


def test_many_steps_of_them_did_write_over_something(tried):
    assert sum(tried) > 2 * GRAPHS


def test_what_all_records_share_never_takes_what_one_has_for_itself():
    nodes = (
        Node("n0", "aten.mul.Tensor", (WeightRef("row"), 2.0)),
        Node("n1", "aten.add.Tensor", (Ref("n0"), Ref("numbers"))),
        Node("n2", "aten.relu.default", (Ref("n1"),)),
    )
    graph = of_numbers(nodes, "n2")
    model = Model(graph)
    assert set(in_place.functions(graph, model._made)) == {"n2"}
    assert torch.equal(
        model.answers({"numbers": torch.arange(12.0).view(2, 6)}), torch.arange(12.0).view(2, 6) + 2
    )


def test_what_only_has_the_shape_of_a_record_s_is_not_taken_for_its_own():
    """`zeros_like` reads the record and is the same for all."""
    nodes = (
        Node("n0", "aten.zeros_like.default", (Ref("numbers"),)),
        Node("n1", "aten.add.Tensor", (Ref("n0"), WeightRef("row"))),
        Node("n2", "aten.add.Tensor", (Ref("n1"), Ref("numbers"))),
    )
    model, numbers = Model(of_numbers(nodes, "n2")), torch.rand(3, WIDE)
    assert torch.equal(model.answers({"numbers": numbers}), numbers + 1)


def test_a_weight_with_the_name_of_a_step_is_not_written_over():
    weights = (Weight("n0", "float32", (1, WIDE), True),)
    nodes = (
        Node("n0", "aten.mul.Tensor", (Ref("numbers"), 2.0)),
        Node("n1", "aten.mul.Tensor", (WeightRef("n0"), 3.0)),
        Node("n2", "aten.add.Tensor", (Ref("n1"), Ref("n0"))),
    )
    graph = RecordGraph(
        of_numbers((), "").inputs, weights, nodes, "n2", {"n0": np.ones((1, WIDE), np.float32)}
    )
    model = Model(graph)
    for _ in range(2):
        assert torch.equal(model.answers({"numbers": torch.zeros(2, WIDE)}), torch.full((2, WIDE), 3.0))


def test_the_answer_is_not_written_over_by_what_comes_after_it():
    nodes = (
        Node("n0", "aten.add.Tensor", (Ref("numbers"), WeightRef("row"))),
        Node("n1", "aten.mul.Tensor", (Ref("n0"), 0.0)),
    )
    model = Model(of_numbers(nodes, "n0"))
    assert torch.equal(model.answers({"numbers": torch.zeros(2, WIDE)}), torch.ones(2, WIDE))


def of_numbers(nodes, output):
    return RecordGraph(
        (Spec("numbers", "float32", (1, WIDE)),),
        (Weight("row", "float32", (1, WIDE), True),),
        nodes,
        output,
        {"row": np.ones((1, WIDE), np.float32)},
    )
