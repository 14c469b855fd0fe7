"""A record graph is one row of bytes: written one way, read strictly, named by its digest."""

import contextlib
import hashlib
import json
import math

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import Invalid
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.reading import strict_json
from sandbox.submissions.graph.terms import Dtype, Node, Ref, Spec, Weight, WeightRef

FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph(**changed):
    """A linear layer with an odd number of truths beside it."""
    parts = {
        "inputs": (Spec("numbers", "float32", (1, 3)),),
        "weights": (Weight("mask", "bool", (3,), False), Weight("a.weight", "float32", (2, 3), True)),
        "nodes": (
            Node("n0", "aten.linear.default", (Ref("numbers"), WeightRef("a.weight"))),
            Node("n1", "aten.clamp.default", (Ref("n0"), -math.inf, 2.5), {}, "top", "Clamp", "model.py:9"),
            Node("n2", "aten.sum.dim_IntList", (Ref("n1"), (1,), True), {"dtype": Dtype("float32")}),
        ),
        "output": "n2",
        "values": {"mask": np.array([True, False, True]), "a.weight": FLOATS},
    }
    return RecordGraph(**{**parts, **changed})


def parts_of(made):
    line, _, rest = made.to_bytes().partition(b"\n")
    return json.loads(line), rest


def joined(document, rest):
    return json.dumps(document, separators=(",", ":")).encode() + b"\n" + rest


def test_what_is_written_is_read_and_named_by_its_sha256():
    made = graph()
    read = RecordGraph.from_bytes(made.to_bytes())
    assert (read.inputs, read.weights, read.nodes, read.output) == (
        made.inputs, made.weights, made.nodes, made.output,
    )  # fmt: skip
    np.testing.assert_array_equal(read.values["a.weight"], FLOATS)
    assert read.to_bytes() == made.to_bytes()
    assert read.digest == hashlib.sha256(made.to_bytes()).hexdigest()


def test_the_weights_are_a_safetensors_file_for_anyone_else():
    loaded = safetensors.numpy.load(parts_of(graph())[1])
    np.testing.assert_array_equal(loaded["a.weight"], FLOATS)
    np.testing.assert_array_equal(loaded["mask"], [True, False, True])


def test_trained_weights_replace_the_old_ones_and_nothing_else():
    trained = graph().with_values({"a.weight": FLOATS + 1})
    np.testing.assert_array_equal(trained.values["a.weight"], FLOATS + 1)
    assert trained.nodes == graph().nodes
    assert trained.digest != graph().digest


@pytest.mark.parametrize(
    "value", [FLOATS[:1], FLOATS.astype(np.float64), np.full((2, 3), np.nan, np.float32)]
)
def test_weights_that_do_not_fit_or_are_not_finite_are_refused(value):
    with pytest.raises(Invalid):
        graph().with_values({"a.weight": value})
    with pytest.raises(Invalid):
        graph().with_values({"unknown": FLOATS})


def _changed(path, value):
    document, rest = parts_of(graph())
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return joined(document, rest)


HOSTILE = {
    "another format": (["format"], "ndl-record-graph/2"),
    "a key more": (["extra"], 1),
    "inputs are no list": (["inputs"], {}),
    "a shape without the batch of one": (["inputs", 0, "shape"], [3]),
    "a shape of truths": (["inputs", 0, "shape"], [True, 3]),
    "a negative size": (["inputs", 0, "shape"], [1, -3]),
    "an empty name": (["inputs", 0, "name"], ""),
    "a name with a control character": (["inputs", 0, "name"], "a\u202eb"),
    "an input called as a node": (["inputs", 0, "name"], "n0"),
    "float64": (["inputs", 0, "dtype"], "float64"),
    "a dtype that is a list": (["inputs", 0, "dtype"], ["float32"]),
    "a trainable mask": (["weights", 0, "trainable"], True),
    "trainable is one": (["weights", 1, "trainable"], 1),
    "a weight called __metadata__": (["weights", 0, "name"], "__metadata__"),
    "a weight with a path": (["weights", 0, "name"], "../x"),
    "two weights of one name": (["weights", 0, "name"], "a.weight"),
    "a huge shape": (["weights", 0, "shape"], [0, 2**31 - 1, 2**31 - 1]),
    "more dimensions than any model": (["weights", 0, "shape"], [1] * 9),
    "a node out of order": (["nodes", 0, "name"], "n1"),
    "an operator with a newline": (["nodes", 0, "op"], "aten.relu\n"),
    "an operator that is a number": (["nodes", 0, "op"], 3),
    "a reference forward": (["nodes", 0, "args", 0], {"of": "n2"}),
    "a reference to itself": (["nodes", 0, "args", 0], {"of": "n0"}),
    "a reference to nothing": (["nodes", 0, "args", 0], {"weight": "b"}),
    "a reference in a list forward": (["nodes", 0, "args", 0], [{"of": "n2"}]),
    "an argument of an unknown form": (["nodes", 0, "args", 0], {"call": "os.system"}),
    "an argument with two forms": (["nodes", 0, "args", 0], {"of": "numbers", "weight": "a.weight"}),
    "lists in lists": (["nodes", 0, "args", 0], [[1]]),
    "a number that is none": (["nodes", 0, "args", 0], {"number": "nan"}),
    "an integer of 65 bits": (["nodes", 0, "args", 0], 2**64),
    "kwargs with an odd key": (["nodes", 2, "kwargs"], {"__class__": 1}),
    "kwargs that are a list": (["nodes", 0, "kwargs"], []),
    "a module with an escape": (["nodes", 1, "module"], "\x1b[31m"),
    "a line that is too long": (["nodes", 1, "line"], "x" * 121),
    "a kind that is no text": (["nodes", 1, "kind"], None),
    "an output that is not there": (["output"], "n9"),
    "an output that is a list": (["output"], ["n2"]),
    "a null for everything": (["nodes"], None),
    "a string for a node": (["nodes", 1], "n1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused(name):
    with pytest.raises(Invalid):
        RecordGraph.from_bytes(_changed(*HOSTILE[name]))


def test_other_bytes_are_refused():
    good = graph().to_bytes()
    line, _, rest = good.partition(b"\n")
    odd = bytearray(good)
    odd[good.index(rest) + len(rest) - FLOATS.nbytes - 3] = 7  # the first truth
    for data in (
        b"", b"\n", b"{}\n", line, good + b"x", good[:-1], b" " + good, line + b" \n" + rest, b"\xff" + good,
        line.replace(b'"format"', b'"format":"x","format"') + b"\n" + rest,
        line.replace(b"2.5", b"2.50") + b"\n" + rest,
        line.replace(b"2.5", b"NaN") + b"\n" + rest,
        line.replace(b"2.5", b"1e999") + b"\n" + rest,
        line.replace(b"2.5", b"9" * 5000) + b"\n" + rest,
        b"[" * 100_000 + b"\n", b'{"a":' * 100_000 + b"\n",
        line + b"\n" + rest.replace(b"F32", b"F64"), bytes(odd),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            RecordGraph.from_bytes(data)


def test_weights_that_are_not_finite_are_refused():
    values = {**graph().values, "a.weight": np.full((2, 3), np.inf, np.float32)}
    with pytest.raises(Invalid, match=r"a\.weight: not finite"):
        RecordGraph.from_bytes(graph(values=values).to_bytes())


def test_a_weight_of_nothing_at_the_end_is_read():
    empty = Weight("z", "float32", (0, 4), False)
    made = graph(
        weights=(*graph().weights, empty), values={**graph().values, "z": np.zeros((0, 4), np.float32)}
    )
    assert RecordGraph.from_bytes(made.to_bytes()).values["z"].shape == (0, 4)


_LITERAL = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from([Ref("numbers"), WeightRef("mask"), Dtype("int64")])
)
_ARGUMENT = _LITERAL | st.lists(_LITERAL, max_size=4).map(tuple)


@given(
    st.lists(_ARGUMENT, max_size=5), st.dictionaries(st.sampled_from(["dim", "value", "dtype"]), _ARGUMENT)
)
@settings(max_examples=200, deadline=None)
def test_every_argument_comes_back_as_it_was(args, kwargs):
    made = graph(nodes=(Node("n0", "aten.relu.default", tuple(args), kwargs),), output="n0")
    node = RecordGraph.from_bytes(made.to_bytes()).nodes[0]
    assert repr((node.args, dict(node.kwargs))) == repr(
        (made.nodes[0].args, {key: kwargs[key] for key in sorted(kwargs)})
    )


@given(st.binary(max_size=200))
def test_strict_json_raises_invalid_or_gives_a_value(data):
    with contextlib.suppress(Invalid):
        strict_json(data)


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_flipped_byte_is_refused_or_is_another_graph(at, byte):
    good = graph().to_bytes()
    data = bytearray(good)
    data[at % len(good)] = byte
    try:
        read = RecordGraph.from_bytes(bytes(data))
    except Invalid:
        return
    assert read.to_bytes() == bytes(data)
