"""Hostile graphs that read well and may not run: `verify` refuses each, naming the node and what is wrong.

The table is the list: a name, nodes as (operator, arguments[, keyword arguments]), and what the refusal
must say. Each graph stands between an honest linear layer (n0) and nothing: the last node is the answer.
"""

import time

import numpy as np
import pytest

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.terms import Dtype, Node, Ref, Spec, Weight, WeightRef
from sandbox.submissions.graph.verify import verify

INPUTS = Inputs(kind="binary", outputs=1, numbers=4, categories=(5, 5))
SECONDS = 5.0
"""How long a refusal may take in-process, torch being loaded: generous, for a busy machine."""

X, WHOLE, ROW = Ref("numbers"), Ref("categories"), Ref("n0")
W, B, FIXED = WeightRef("w"), WeightRef("b"), WeightRef("fixed")
F32, I64, BOOL = Dtype("float32"), Dtype("int64"), Dtype("bool")
LINEAR = ("aten.linear.default", (X, W, B))
FAR = 2**63 - 1


def graph(*nodes, weights=None, inputs=None, output=None):
    """A record graph of these nodes, named by place; its weights are zeros."""
    made = tuple(
        Node(f"n{i}", op, tuple(args), kwargs[0] if kwargs else {}, "net.head", "Head", "model.py:9")
        for i, (op, args, *kwargs) in enumerate(nodes)
    )
    if weights is None:
        weights = (
            Weight("w", "float32", (1, 4), True),
            Weight("b", "float32", (1,), True),
            Weight("fixed", "float32", (1, 4), False),
        )
    if inputs is None:
        inputs = (Spec("numbers", "float32", (1, 4)), Spec("categories", "int64", (1, 2)))
    values = {w.name: np.zeros(w.shape, w.dtype) for w in weights}
    return RecordGraph(tuple(inputs), tuple(weights), made, output or f"n{len(made) - 1}", values)


def after(*nodes):
    """These nodes after an honest linear layer."""
    return graph(LINEAR, *nodes)


NOT_THERE = r"not among those"
FORBIDDEN = {
    "a sample": ("aten.bernoulli.default", (X,)),
    "noise": ("aten.randn.default", ((1, 4),)),
    "noise like a tensor": ("aten.rand_like.default", (X,)),
    "a permutation": ("aten.randperm.default", (4,)),
    "a sample of classes": ("aten.multinomial.default", (X, 1)),
    "uninitialised memory": ("aten.empty.memory_format", ((1, 4),)),
    "uninitialised memory like a tensor": ("aten.empty_like.default", (X,)),
    "a change of a weight": ("aten.add_.Tensor", (W, 1)),
    "a change of an input": ("aten.copy_.default", (X, X)),
    "a change of a view": ("aten.index_put_.default", (W, (WHOLE,), X)),
    "a fill in place": ("aten.fill_.Scalar", (W, 0)),
    "an out variant": ("aten.add.out", (X, X), {"out": W}),
    "storage read past its end": ("aten.as_strided.default", (X, (4, 4), (1, 1), 1_000_000)),
    "storage exchanged": ("aten.set_.source_Tensor", (W, X)),
    "storage grown": ("aten.resize_.default", (W, (2**20,))),
    "floats read as whole numbers": ("aten.view.dtype", (X,), {"dtype": I64}),
    "a shape from values": ("aten.nonzero.default", (X,)),
    "a choice by values": ("aten.masked_select.default", (X, X)),
    "unique values": ("aten._unique2.default", (X,)),
    "a number read out": ("aten._local_scalar_dense.default", (X,)),
    "an item": ("aten.item.default", (X,)),
    "repeats counted by values": ("aten.repeat_interleave.Tensor", (WHOLE,)),
    "bins counted by values": ("aten.bincount.default", (WHOLE,)),
    "an assertion about a value": ("aten._assert_async.msg", (X, "leak")),
    "sorting": ("aten.sort.default", (X,)),
    "running statistics": ("aten._native_batch_norm_legit.default", (X, W, B, W, B, True, 0.1, 1e-5)),
    "float64": ("aten.to.dtype", (X, F32)),
    "a complex number": ("aten.view_as_complex.default", (X,)),
    "a print": ("aten._print.default", ("leak",)),
    "a file": ("aten.from_file.default", ("/etc/passwd",)),
    "a loop": ("higher_order.while_loop", (X, X)),
    "a branch": ("higher_order.cond", (X, X)),
    "another device": ("aten._to_copy.device", (X,), {"device": "cuda"}),
    "a custom operator": ("mylib.steal.default", (X,)),
    "torch.load": ("torch.load", ("model.pt",)),
    "Python's eval": ("builtins.eval", ("1",)),
    "an attribute of an operator": ("aten.relu.default.__globals__", (X,)),
    "a packet without overload": ("aten.relu", (X,)),
}  # fmt: skip

ODD_ARGUMENTS = {
    "an argument too many": (("aten.relu.default", (X, X)), "may have 1"),
    "an argument too few": (("aten.mul.Tensor", (X,)), "other is missing"),
    "an argument twice": (("aten.mul.Tensor", (X, 2), {"self": X}), "given twice"),
    "a truth for a factor": (("aten.add.Tensor", (X, X), {"alpha": True}), "alpha is not a number"),
    "an out by keyword": (("aten.relu.default", (X,), {"out": W}), "may not have the argument out"),
    "a generator": (("aten.dropout.default", (X, 0.5), {"generator": 1}), "may not have the argument generator"),
    "dropout switched by the developer": (("aten.dropout.default", (X, 0.5, True)), "may have 2"),
    "dropout switched by a keyword": (("aten.dropout.default", (X, 0.5), {"training": False}), "training"),
    "dropout of twice everything": (("aten.dropout.default", (X, 2.0)), "from 0 to 1"),
    "a dtype for a number": (("aten.mul.Scalar", (X, F32)), "not a number"),
    "a tensor for a number": (("aten.mul.Scalar", (X, X)), "not a number"),
    "text for a tensor": (("aten.relu.default", ("numbers",)), "not a tensor"),
    "nothing for a tensor": (("aten.relu.default", (None,)), "not a tensor"),
    "true for a size": (("aten.one_hot.default", (WHOLE, True)), "from 1 on"),
    "floats as indices": (("aten.embedding.default", (W, X)), "int64 tensor"),
    "a mask as an index": (("aten.index.Tensor", (X, (X,))), "int64 tensors"),
    "whole numbers in a float's place": (("aten.exp.default", (WHOLE,)), "float32 tensor"),
    "whole numbers divided by people's": (("aten.floor_divide.default", (WHOLE, WHOLE)), "float32 tensor"),
    "whole numbers divided by zero": (("aten.remainder.Scalar", (WHOLE, 0)), "float32 tensor"),
    "whole numbers to a power below nothing": (("aten.pow.Tensor_Scalar", (WHOLE, -1)), "float32 tensor"),
    "classes counted from values": (("aten.one_hot.default", (WHOLE, -1)), "from 1 on"),
    "normalising over running statistics": (
        ("aten.instance_norm.default", (X, None, None, W, W, False, 0.1, 1e-5, False)), "not nothing|not null|not",
    ),
    "grouped heads": (
        ("aten.scaled_dot_product_attention.default", (X, X, X), {"enable_gqa": True}), "enable_gqa",
    ),
    "a stride of nothing": (("aten.conv1d.default", (X, W, None, (0,))), "stride is not"),
    "padding below nothing": (("aten.conv1d.default", (X, W, None, (1,), (-3,))), "padding is not"),
    "an unknown way to pad": (("aten.pad.default", (X, (1, 1), "evil")), "one of constant"),
    "an item by keyword": (("getitem", (ROW,), {"index": 0}), "does not name one"),
    "an item of one result": (("getitem", (ROW, 0)), "does not name one"),
    "an item by an item": (("getitem", (ROW, ROW)), "does not name one"),
    "an item of a list": (("getitem", ((X, X), 0)), "does not name one"),
    "a dimension that is not there": (("aten.select.int", (X, 7, 0)), "cannot run"),
    "an index past the end": (("aten.select.int", (X, 1, 4)), "cannot run"),
    "an index at the edge of 64 bits": (("aten.select.int", (X, 1, -FAR)), "cannot run"),
    "a narrow past the end": (("aten.narrow.default", (X, 1, 2, 4)), "cannot run"),
    "shapes that do not meet": (("aten.mm.default", (X, X)), "cannot run"),
    "a shape of other size": (("aten.view.default", (X, (1, 5))), "cannot run"),
    "two unknown sizes": (("aten.view.default", (X, (-1, -1))), "cannot run"),
    "a permutation that repeats": (("aten.permute.default", (X, (0, 0))), "cannot run"),
    "groups that do not divide": (("aten.group_norm.default", (X, 3)), "cannot run"),
    "scatter past the end": (("aten.slice_scatter.default", (X, W, 1, 2, 9)), "cannot run"),
    "pieces of nothing": (("aten.split_with_sizes.default", (X, (1, 1), 1)), "cannot run"),
}  # fmt: skip

BOMBS = {
    "an expansion": ((("aten.expand.default", (X, (2**20, 2**20, 4))),), "larger than"),
    "a repetition": ((("aten.repeat.default", (X, (2**15, 2**15))),), "larger than"),
    "a tile": ((("aten.tile.default", (X, (2**30,))),), "larger than"),
    "every element a billion times": ((("aten.repeat_interleave.self_int", (X, 2**30)),), "larger than"),
    "an outer product": (
        (("aten.arange.default", (2**20,), {"dtype": F32}), ("aten.unsqueeze.default", (Ref("n1"), 1)),
         ("aten.mul.Tensor", (Ref("n1"), Ref("n2")))), "larger than",
    ),
    "zeros": ((("aten.zeros.default", ((2**16, 2**16),)),), "larger than"),
    "zeros beyond all bounds": ((("aten.zeros.default", ((2**31 - 1,) * 8,)),), "cannot run"),
    "a range": ((("aten.arange.default", (2**40,)),), "larger than"),
    "a range in tiny steps": ((("aten.arange.start_step", (0.0, 1.0, 1e-30)),), "larger than|cannot run"),
    "a range without end": ((("aten.arange.default", (float("inf"),)),), "cannot run"),
    "a line of two billion": ((("aten.linspace.default", (0, 1, 2**31 - 1)),), "larger than"),
    "a unit matrix": ((("aten.eye.default", (2**31 - 1,)),), "larger than|cannot run"),
    "one of two billion": ((("aten.one_hot.default", (WHOLE, 2**31 - 1)),), "larger than"),
    "padding": ((("aten.constant_pad_nd.default", (X, (2**40, 2**40))),), "larger than"),
    "padding beyond 64 bits": ((("aten.constant_pad_nd.default", (X, (FAR, FAR))),), "cannot run|larger"),
    "a convolution with giant padding": (
        (("aten.reshape.default", (X, (1, 1, 4))), ("aten.reshape.default", (W, (1, 1, 4))),
         ("aten.conv1d.default", (Ref("n1"), Ref("n2"), None, (1,), (2**30,)))), "larger than",
    ),
    "a convolution turned around": (
        (("aten.reshape.default", (X, (1, 1, 4))), ("aten.reshape.default", (W, (1, 1, 4))),
         ("aten.conv_transpose1d.default", (Ref("n1"), Ref("n2"), None, (2**30,)))), "larger than",
    ),
    "an enlarged picture": (
        (("aten.reshape.default", (X, (1, 1, 2, 2))),
         ("aten.upsample_nearest2d.vec", (Ref("n1"), (2**16, 2**16), None))), "larger than",
    ),
    "a pooled picture larger than it was": (
        (("aten.reshape.default", (X, (1, 1, 2, 2))),
         ("aten.adaptive_avg_pool2d.default", (Ref("n1"), (2**16, 2**16)))), "larger than",
    ),
    "sixty dimensions": ((("aten.reshape.default", (X, (1,) * 60 + (4,))),), "dimensions|cannot run"),
    "pieces without number": (
        (("aten.zeros.default", ((2**20,),)), ("aten.unbind.int", (Ref("n1"),))), "more than 4096 pieces",
    ),
    "a chain of large tensors": (
        (("aten.zeros.default", ((2**24,),)), *[("aten.relu.default", (Ref(f"n{i}"),)) for i in range(1, 20)]),
        "costs more than the caps",
    ),
    "doubling at every step": (
        tuple(("aten.cat.default", ((Ref(f"n{i}"), Ref(f"n{i}")), 1)) for i in range(60)), "larger than",
    ),
    "a product of large matrices": (
        (("aten.ones.default", ((4096, 4096),)), ("aten.mm.default", (Ref("n1"), Ref("n1")))),
        "costs more than the caps",
    ),
    "a large tensor looked at again and again": (
        (("aten.zeros.default", ((2**24,),)), *[("aten.sum.default", (Ref("n1"),))] * 2_000),
        "costs more than the caps",
    ),
    "products of a large vector with itself": (
        (("aten.zeros.default", ((2**24,),)), *[("aten.dot.default", (Ref("n1"), Ref("n1")))] * 2_000),
        "costs more than the caps",
    ),
    "pieces of nothing, again and again": (
        (("aten.zeros.default", ((4096, 0),)), *[("aten.unbind.int", (Ref("n1"),))] * 9_000),
        "costs more than the caps",
    ),
    "a pool over a large window": (
        (("aten.zeros.default", ((1, 1, 2048, 2048),)),
         ("aten.avg_pool2d.default", (Ref("n1"), (1001, 1001), (1, 1), (500, 500)))), "costs more than the caps",
    ),
}  # fmt: skip

ANSWERS = {
    "two rows": ((("aten.repeat.default", (ROW, (2, 1))),), r"output: its shape is \[2, 1\]"),
    "two columns": ((("aten.repeat.default", (ROW, (1, 2))),), r"output: its shape is \[1, 2\]"),
    "one number without dimensions": ((("aten.sum.default", (ROW,)),), "output: not a float32"),
    "three dimensions": ((("aten.unsqueeze.default", (ROW, 0)),), "output: not a float32"),
    "no row": ((("aten.slice.Tensor", (ROW, 0, 0, 0)),), r"output: its shape is \[0, 1\]"),
    "no column": ((("aten.slice.Tensor", (ROW, 1, 0, 0)),), r"output: its shape is \[1, 0\]"),
    "whole numbers": ((("aten._to_copy.default", (ROW,), {"dtype": I64}),), "output: not a float32"),
    "truths": ((("aten.gt.Scalar", (ROW, 0)),), "output: not a float32"),
    "several results": ((("aten.unbind.int", (ROW, 1)),), "output: not a float32"),
    "a constant": ((("aten.zeros.default", ((1, 1),)),), "does not depend on any trainable weight"),
    "the input itself": ((("aten.slice.Tensor", (X, 1, 0, 1)),), "does not depend on any trainable weight"),
    "an untrainable weight": (
        (("aten.linear.default", (X, FIXED)),), "does not depend on any trainable weight",
    ),
    "a weight that is cut off": ((("aten.detach.default", (ROW,)),), "does not depend on any trainable weight"),
    "a weight that is only asked about": (
        (("aten.gt.Scalar", (ROW, 0)), ("aten._to_copy.default", (Ref("n1"),), {"dtype": F32})),
        "does not depend on any trainable weight",
    ),
    "only the shape of a weight": ((("aten.ones_like.default", (ROW,)),), "does not depend on any trainable weight"),
}  # fmt: skip


def refusal(of, expected=INPUTS):
    """What verify says of a graph that reads; fails when it says nothing or takes long."""
    read = RecordGraph.from_bytes(of.to_bytes())
    began = time.process_time()
    with pytest.raises(Invalid) as caught:
        verify(read, expected)
    assert time.process_time() - began < SECONDS
    message = str(caught.value)
    assert len(message) < 4_000
    assert message.replace("\n", "").isprintable()
    assert not any(word in message for word in ("Traceback", "object at 0x", "NoneType", "site-packages"))
    return message


def assert_refused(of, words, where=""):
    import re

    said = refusal(of)
    assert re.search(words, said), said
    assert where in said, said


@pytest.mark.parametrize("name", FORBIDDEN)
def test_an_operator_outside_the_table_is_refused_by_node_module_and_line(name):
    op = FORBIDDEN[name][0]
    of = after(FORBIDDEN[name])
    assert_refused(of, NOT_THERE, f"node n1 ({op}) of module 'net.head' (Head) at model.py:9")


@pytest.mark.parametrize("name", ODD_ARGUMENTS)
def test_an_odd_argument_is_refused_by_node_module_and_line(name):
    node, words = ODD_ARGUMENTS[name]
    assert_refused(after(node), words, f"node n1 ({node[0]}) of module 'net.head' (Head) at model.py:9")


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_lit(name):
    nodes, words = BOMBS[name]
    assert_refused(after(*nodes), words, "of module 'net.head' (Head) at model.py:9")


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_is_refused(name):
    nodes, words = ANSWERS[name]
    assert_refused(after(*nodes), words, "output")
