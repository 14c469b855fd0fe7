"""One graph for every operator of the table: `numbers` [1, 12] (and its shapes), whole numbers and truths."""

import numpy as np

from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.terms import Dtype, Node, Ref, Spec, Weight, WeightRef

X, N, B = "X", "N", "B"  # a float tensor that depends on a weight, whole numbers 0 to 3, truths: all [1, 12]
F32, I64, BOOL = Dtype("float32"), Dtype("int64"), Dtype("bool")


def W(*shape):
    """A weight of this shape."""
    return ("W", shape)


def S(*shape, of=X):
    """X, N or B in another shape."""
    return ("S", of, shape)


PER_ELEMENT = [
    "abs",
    "neg",
    "sign",
    "square",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sin",
    "cos",
    "tan",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "erf",
    "sigmoid",
    "log_sigmoid",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "clone",
    "alias",
    "detach",
    "relu",
    "relu6",
    "selu",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "elu",
    "celu",
    "gelu",
    "softplus",
    "leaky_relu",
    "hardtanh",
    "nan_to_num",
    "isnan",
    "isinf",
    "logical_not",
    "squeeze",
    "t",
    "zeros_like",
    "ones_like",
    "sum",
    "mean",
    "max",
    "min",
    "any",
    "all",
    "argmax",
    "argmin",
    "_to_copy",
]

COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]

# operator -> argument lists; a dict at the end is of keyword arguments
CASES = {f"aten.{name}.default": [(X,)] for name in PER_ELEMENT}
CASES |= {f"aten.{name}.Tensor": [(X, S(12)), (N, 2)] for name in COMPARE}
CASES |= {f"aten.{name}.Scalar": [(X, 0.1), (N, 2)] for name in COMPARE}
CASES |= {
    "aten.t.default": [(S(3, 4),)],
    "aten.gelu.default": [(X,), (X, {"approximate": "tanh"})],
    "aten._to_copy.default": [(X, {"dtype": t}) for t in (F32, I64)] + [(b, {"dtype": F32}) for b in (N, B)],
    "aten.clamp.default": [(X, -0.5, 0.5), (N, None, 2)],
    "aten.clamp_min.default": [(X, 0.1)],
    "aten.clamp_max.default": [(X, 0.5)],
    "aten.threshold.default": [(X, 0.1, 0.2)],
    "aten.prelu.default": [(S(1, 3, 4), W(3)), (X, W(1))],
    "aten.glu.default": [(X, 1)],
    "aten.softmax.int": [(X, 1), (S(1, 3, 4), -1)],
    "aten.log_softmax.int": [(X, -1)],
    "aten.add.Tensor": [(X, X), (X, 1.5), (N, 1), (X, N, {"alpha": 2})],
    "aten.add.Scalar": [(X, 2.0)],
    "aten.sub.Tensor": [(X, W(12)), (X, 1.5)],
    "aten.sub.Scalar": [(X, 2.0)],
    "aten.rsub.Scalar": [(X, 1.0)],
    "aten.mul.Tensor": [(X, W(12)), (X, B), (N, 3)],
    "aten.mul.Scalar": [(X, 2.0)],
    "aten.div.Tensor": [(X, W(12)), (N, 3), (N, N), (X, 2.0)],
    "aten.div.Scalar": [(X, 2.0)],
    "aten.div.Tensor_mode": [
        (X, 0.3, {"rounding_mode": "floor"}),
        (N, 2, {"rounding_mode": "trunc"}),
        (X, W(12), {"rounding_mode": None}),
    ],
    "aten.floor_divide.default": [(X, 0.3), (N, 2)],
    "aten.remainder.Tensor": [(X, W(12)), (N, 2)],
    "aten.remainder.Scalar": [(X, 0.3), (N, 2)],
    "aten.fmod.Tensor": [(X, W(12))],
    "aten.fmod.Scalar": [(X, 0.3), (N, 2)],
    "aten.pow.Tensor_Scalar": [(X, 2), (X, 0.5), (N, 2)],
    "aten.pow.Tensor_Tensor": [(X, W(12))],
    "aten.pow.Scalar": [(2.0, X)],
    "aten.atan2.default": [(X, W(12))],
    "aten.maximum.default": [(X, W(12))],
    "aten.minimum.default": [(X, W(12))],
    "aten.addcmul.default": [(X, X, W(12), {"value": 0.5})],
    "aten.addcdiv.default": [(X, X, W(12), {"value": 0.5})],
    "aten.lerp.Scalar": [(X, W(12), 0.3)],
    "aten.lerp.Tensor": [(X, W(12), W(12))],
    "aten.logical_and.default": [(B, B), (X, B)],
    "aten.logical_or.default": [(B, B)],
    "aten.logical_xor.default": [(B, N)],
    "aten.bitwise_and.Tensor": [(B, B), (N, N)],
    "aten.bitwise_or.Tensor": [(B, B)],
    "aten.bitwise_xor.Tensor": [(N, N)],
    "aten.bitwise_not.default": [(B,), (N,)],
    "aten.where.self": [(B, X, W(12))],
    "aten.where.ScalarOther": [(B, X, 0.0)],
    "aten.where.ScalarSelf": [(B, 0.0, X)],
    "aten.where.Scalar": [(B, 0.5, 2.0)],
    "aten.masked_fill.Scalar": [(X, B, 0.0)],
    "aten.masked_fill.Tensor": [(X, B, W())],
    "aten.sum.dim_IntList": [(X, (1,), True), (S(1, 3, 4), (1, 2)), (X, None)],
    "aten.mean.dim": [(S(1, 3, 4), (2,)), (X, (1,), True)],
    "aten.var.correction": [
        (X, (1,), {"correction": 1}),
        (S(1, 3, 4), (1, 2), {"correction": 0, "keepdim": True}),
    ],
    "aten.std.correction": [(X, (1,), {"correction": 1})],
    "aten.logsumexp.default": [(X, (1,))],
    "aten.linalg_vector_norm.default": [(X, 2, (1,), True), (X, 1.0)],
    "aten.cumsum.default": [(X, 1), (N, 1)],
    "aten.amax.default": [(X, (1,)), (S(1, 3, 4), (1, 2), True)],
    "aten.amin.default": [(X, (1,))],
    "aten.max.dim": [(X, 1), (S(1, 3, 4), 2, True)],
    "aten.min.dim": [(X, 1)],
    "aten.argmax.default": [(X, 1), (X,), (X, 1, True)],
    "aten.argmin.default": [(X, 1)],
    "aten.any.dim": [(B, 1)],
    "aten.all.dim": [(B, 1)],
    "aten.linear.default": [(X, W(5, 12), W(5)), (S(1, 3, 4), W(2, 4)), (W(1, 4), W(12, 4), S(12))],
    "aten.matmul.default": [(S(1, 3, 4), W(4, 2)), (S(1, 3, 4), S(1, 4, 3)), (X, W(12))],
    "aten.mm.default": [(X, W(12, 2))],
    "aten.bmm.default": [(S(2, 2, 3), S(2, 3, 2)), (S(1, 3, 4), W(1, 4, 2))],
    "aten.mv.default": [(S(3, 4), W(4))],
    "aten.dot.default": [(S(12), W(12))],
    "aten.addmm.default": [(W(2), X, W(12, 2)), (W(2), X, W(12, 2), {"beta": 0.5, "alpha": 2})],
    "aten.baddbmm.default": [(W(1, 3, 2), S(1, 3, 4), W(1, 4, 2))],
    "aten.scaled_dot_product_attention.default": [
        (S(1, 2, 3, 2), S(1, 2, 3, 2), S(1, 2, 3, 2)),
        (S(1, 3, 4), S(1, 3, 4), S(1, 3, 4), None, 0.0, True),
        (S(1, 3, 4), S(1, 3, 4), S(1, 3, 4), W(3, 3), {"scale": 0.5}),
    ],
    "aten.gru.input": [
        (S(1, 3, 4), W(1, 1, 2), (W(6, 4), W(6, 2), W(6), W(6)), True, 1, 0.0, True, False, True),
        (S(3, 1, 4), W(4, 1, 2), (W(6, 4), W(6, 2)) * 4, False, 2, 0.0, True, True, False),
        (S(1, 6, 2), W(1, 1, 2), (W(6, 2), S(6, 2), W(6), W(6)), True, 1, 0.0, True, False, True),
    ],
    "aten.lstm.input": [
        (
            S(1, 3, 4),
            (W(1, 1, 2), W(1, 1, 2)),
            (W(8, 4), W(8, 2), W(8), W(8)),
            True,
            1,
            0.0,
            True,
            False,
            True,
        ),
        (S(3, 1, 4), (W(4, 1, 2), W(4, 1, 2)), (W(8, 4), W(8, 2)) * 4, False, 2, 0.0, True, True, False),
        (S(1, 12, 1), (W(1, 1, 3), W(1, 1, 3)), (S(12, 1), W(12, 3)), False, 1, 0.0, True, False, True),
        (S(1, 3, 4), (W(1, 1, 1), W(1, 1, 2)), (W(8, 4), W(8, 1), W(1, 2)), False, 1, 0.0, True, False, True),
    ],
    "aten.conv1d.default": [
        (S(1, 3, 4), W(2, 3, 3), W(2), (1,), (1,)),
        (S(1, 3, 4), W(3, 1, 2), None, (2,), (0,), (1,), 3),
    ],
    "aten.conv2d.default": [
        (S(1, 1, 3, 4), W(2, 1, 2, 2), W(2)),
        (S(1, 1, 3, 4), W(2, 1, 3, 3), None, (1, 1), (1, 1)),
    ],
    "aten.conv3d.default": [(S(1, 1, 2, 2, 3), W(2, 1, 1, 2, 2), W(2))],
    "aten.conv1d.padding": [(S(1, 3, 4), W(2, 3, 3), W(2), (1,), "same")],
    "aten.conv2d.padding": [
        (S(1, 1, 3, 4), W(2, 1, 3, 3), None, (1, 1), "same"),
        (S(1, 1, 3, 4), W(2, 1, 3, 3), None, (1, 1), "valid"),
    ],
    "aten.conv_transpose1d.default": [(S(1, 3, 4), W(3, 2, 2), W(2), (2,))],
    "aten.conv_transpose2d.input": [(S(1, 1, 3, 4), W(1, 2, 2, 2), W(2), (2, 2))],
    "aten.max_pool1d.default": [(S(1, 3, 4), (2,), (2,))],
    "aten.max_pool2d.default": [(S(1, 1, 3, 4), (2, 2), (1, 1)), (S(1, 1, 3, 4), (3, 3), (2, 2), (1, 1))],
    "aten.avg_pool1d.default": [(S(1, 3, 4), (2,), (2,))],
    "aten.avg_pool2d.default": [(S(1, 1, 3, 4), (2, 2))],
    "aten.adaptive_avg_pool1d.default": [(S(1, 3, 4), (2,)), (S(1, 3, 4), (1,))],
    "aten.adaptive_avg_pool2d.default": [(S(1, 1, 3, 4), (1, 1)), (S(1, 1, 3, 4), (2, 3))],
    "aten.upsample_nearest2d.vec": [(S(1, 1, 3, 4), (6, 8), None)],
    "aten.upsample_bilinear2d.vec": [(S(1, 1, 3, 4), (6, 8), False, None)],
    "aten.layer_norm.default": [(X, (12,), W(12), W(12)), (S(1, 3, 4), (4,))],
    "aten.group_norm.default": [(S(1, 4, 3), 2, W(4), W(4)), (S(1, 4, 3), 1)],
    "aten.rms_norm.default": [(X, (12,), W(12), 1e-5), (X, (12,))],
    "aten.instance_norm.default": [(S(1, 3, 4), W(3), W(3), None, None, True, 0.1, 1e-5, False)],
    "aten.embedding.default": [(W(4, 3), N), (W(2, 3), N), (W(4, 3), N, 0)],
    "aten.one_hot.default": [(N, 4), (N, 2)],
    "aten.gather.default": [(X, 1, N)],
    "aten.index_select.default": [(X, 1, S(12, of=N)), (W(3, 4), 0, S(12, of=N))],
    "aten.index.Tensor": [
        (X, (None, S(12, of=N))),
        (W(3, 4), (S(12, of=N),)),
        (S(3, 4), (S(12, of=N), S(12, of=N))),
    ],
    "aten.scatter_add.default": [(X, 1, N, X)],
    "aten.view.default": [(X, (1, 3, 4)), (X, (-1,))],
    "aten._unsafe_view.default": [(X, (1, 3, 4))],
    "aten.reshape.default": [(X, (4, -1))],
    "aten.flatten.using_ints": [(S(1, 3, 4), 1), (S(1, 3, 4), 1, 2)],
    "aten.unflatten.int": [(X, 1, (3, 4))],
    "aten.squeeze.dim": [(S(1, 1, 12), 1)],
    "aten.squeeze.dims": [(S(1, 1, 12, 1), (1, 3))],
    "aten.unsqueeze.default": [(X, 1), (X, -1)],
    "aten.transpose.int": [(S(1, 3, 4), 1, 2)],
    "aten.permute.default": [(S(1, 3, 4), (2, 0, 1))],
    "aten.movedim.intlist": [(S(1, 3, 4), (1,), (2,))],
    "aten.expand.default": [(S(1, 1, 12), (2, 3, 12)), (W(12), (1, 12)), (S(1, 12), (-1, 12))],
    "aten.repeat.default": [(X, (1, 2)), (X, (2, 1, 1))],
    "aten.tile.default": [(X, (2,))],
    "aten.repeat_interleave.self_int": [(X, 2, 1), (X, 2)],
    "aten.cat.default": [((X, X, W(1, 3)), 1), ((S(1, 3, 4), S(1, 2, 4, of="Y")), -2)],
    "aten.stack.default": [((X, X, W(1, 12)), 1)],
    "aten.split.Tensor": [(X, 5, 1)],
    "aten.split_with_sizes.default": [(X, (5, 3, 4), 1)],
    "aten.chunk.default": [(X, 3, 1)],
    "aten.unbind.int": [(S(1, 3, 4), 1)],
    "aten.select.int": [(S(1, 3, 4), 1, -1), (X, 1, 2)],
    "aten.slice.Tensor": [(X, 1, 2, 2**63 - 1, 3), (X, 1, None, -2), (X, 0, 0, 2**63 - 1)],
    "aten.narrow.default": [(X, 1, 2, 4)],
    "aten.diagonal.default": [(S(1, 3, 4), 0, 1, 2)],
    "aten.flip.default": [(S(1, 3, 4), (1, 2))],
    "aten.roll.default": [(X, (2,), (1,)), (X, (3,))],
    "aten.constant_pad_nd.default": [(X, (1, 2), 0.5), (N, (1, 1))],
    "aten.pad.default": [
        (S(1, 3, 4), (1, 1), mode) for mode in ("constant", "reflect", "replicate", "circular")
    ],
    "aten.unfold.default": [(X, 1, 4, 2)],
    "aten.tril.default": [(S(3, 4),), (S(1, 3, 4), 1)],
    "aten.triu.default": [(S(3, 4),)],
    "aten.select_scatter.default": [(S(1, 3, 4), W(1, 4), 1, 1), (W(1, 12, 2), X, 2, 0)],
    "aten.slice_scatter.default": [(X, W(1, 4), 1, 2, 6), (W(1, 24), X, 1, 0, 12)],
    "aten.zeros.default": [((1, 3),), ((1, 3), {"dtype": I64})],
    "aten.ones.default": [((1, 3), {"dtype": F32})],
    "aten.full.default": [((1, 3), 2.5), ((1,), 2, {"dtype": I64})],
    "aten.full_like.default": [(X, 2.5)],
    "aten.new_zeros.default": [(X, (1, 3))],
    "aten.new_ones.default": [(X, (1, 3))],
    "aten.new_full.default": [(X, (1, 3), 2.0)],
    "aten.fill.Scalar": [(X, 2.0)],
    "aten.fill.Tensor": [(X, W())],
    "aten.scalar_tensor.default": [(2.5,), (2, {"dtype": I64})],
    "aten.arange.default": [(5,), (5, {"dtype": F32})],
    "aten.arange.start": [(1, 5)],
    "aten.arange.start_step": [(1, 9, 2), (0.0, 1.0, 0.25)],
    "aten.linspace.default": [(0, 1, 5)],
    "aten.eye.default": [(3,)],
    "aten.dropout.default": [(X, 0.0)],
    "aten.feature_dropout.default": [(S(1, 3, 4), 0.0)],
    "getitem": [],
}
MANY = {
    "aten.gru.input",
    "aten.lstm.input",
    "aten.max.dim",
    "aten.min.dim",
    "aten.split.Tensor",
    "aten.split_with_sizes.default",
    "aten.chunk.default",
    "aten.unbind.int",
}
EVERY = [(op, number) for op, cases in CASES.items() for number in range(len(cases))]


class Builder:
    """Collects inputs, weights and nodes of a graph."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.inputs = [Spec("numbers", "float32", (1, 12)), Spec("categories", "int64", (1, 12))]
        self.weights, self.values, self.nodes = [], {}, []
        self.x = self.node("aten.mul.Tensor", Ref("numbers"), self.weight((12,)))

    def node(self, op, *args, **kwargs):
        name = f"n{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(args), kwargs, "layer", "Layer", "model.py:7"))
        return Ref(name)

    def weight(self, shape, trainable=True):
        name = f"w{len(self.weights)}"
        self.weights.append(Weight(name, "float32", tuple(shape), trainable))
        self.values[name] = self.random.uniform(0.5, 1.5, shape).astype(np.float32)
        return WeightRef(name)

    def argument(self, what):
        if what == X:
            return self.x
        if what == N:
            return Ref("categories")
        if what == B:
            return self.node("aten.gt.Scalar", Ref("categories"), 1)
        if isinstance(what, tuple) and what[:1] == ("W",):
            return self.weight(what[1])
        if isinstance(what, tuple) and what[:1] == ("S",):
            if what[1] == "Y":
                return self.node("aten.slice.Tensor", self.argument(S(1, 3, 4)), 1, 0, 2)
            return self.node("aten.reshape.default", self.argument(what[1]), what[2])
        if isinstance(what, tuple):
            return tuple(self.argument(item) for item in what)
        return what

    def graph(self, result):
        """A graph whose answer is a weighted sum of `result`."""
        floats = self.node("aten._to_copy.default", result, dtype=F32)
        flat = self.node("aten.reshape.default", floats, (1, -1))
        bent = self.node("aten.tanh.default", flat)
        both = [self.node("aten.sum.dim_IntList", of, (1,), True) for of in (bent, flat, self.x)]
        total = self.node("aten.add.Tensor", self.node("aten.add.Tensor", *both[:2]), both[2])
        return RecordGraph(
            tuple(self.inputs), tuple(self.weights), tuple(self.nodes), total.name, self.values
        )


def graph_of(op, number, made=None):
    """The graph of one case, built by `made`."""
    made = made or Builder()
    case = CASES[op][number]
    kwargs = case[-1] if case and isinstance(case[-1], dict) else {}
    args = case[:-1] if kwargs else case
    result = made.node(op, *[made.argument(a) for a in args], **kwargs)
    if op in MANY:
        result = made.node("getitem", result, 0)
    return made.graph(result)
