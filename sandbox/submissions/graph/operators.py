"""Which operators may a record graph use, with which arguments, and why is each safe?

Safe means: a pure function of its arguments (no state, no random numbers but our dropout, nothing
changed in place); the shape of the result follows from shapes alone; no error, and no duration beyond
what floating-point hardware itself varies by, depends on a value; float32, int64 and bool only.
Everything else is left out: sorting (its duration depends on the order), `nonzero` and boolean indexing
(shapes depend on values), products (their gradient branches on zeros), whole-number division by a value
(dividing by zero raises), random numbers, uninitialised memory, float64 and complex numbers.

The door to torch: import this inside functions only. Signatures are explained in `signature`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sandbox.submissions.graph import recurrent
from sandbox.submissions.graph import written_out as own

aten = torch.ops.aten


@dataclass(frozen=True)
class Operator:
    """`function` does it; `signature` says with which arguments; `why` it is safe.

    `switched`: the function is told by us whether we are training. `pieces`: its result is a tuple, of
    which `getitem` nodes take one. `work`: operations per element of the result, where that is not one
    and not counted by torch, from the positional arguments. `loops`: from these, the steps of a loop inside
    it and how many numbers they keep besides the result. `shared`: the same result, quicker, for scoring when
    every argument but the first is a weight, so that all records share it.
    """

    function: Callable[..., Any]
    signature: str
    why: str
    switched: bool = False
    pieces: bool = False
    work: Callable[[tuple[Any, ...]], int] | None = None
    loops: Callable[[tuple[Any, ...]], tuple[int, int]] | None = None
    shared: Callable[..., Any] | None = None


def _window(args: tuple[Any, ...]) -> int:
    sizes = args[1] if isinstance(args[1], tuple | list) else (args[1],)
    return math.prod(sizes) ** (2 if len(sizes) == 1 else 1)


_EACH = "each element by itself; out of its range it gives NaN or infinity, never an error"
_PAIR = "two elements at a time after broadcasting, which follows from shapes; whole numbers wrap around"
_ASK = "a truth value for each element"
_SUM = "a fixed sum over dimensions that are named in the graph"
_BEST = "looks at every element whatever they are; ties and NaN are settled by position"
_MATRIX = "sums of products; sizes are checked from shapes"
_WINDOW = "the same sums of products, or comparisons, at every place"
_NORM = "over this one record only: there are no running statistics"
_MOVE = "moves elements to places that follow from shapes; never looks at them"
_LOOK = "an index out of range is moved to the nearest place, so there is no error to observe"
_MAKE = "made from numbers in the graph; no uninitialised memory"
_WRITE = "gives a new tensor with a part replaced; the place is written in the graph"
_DROP = "random only while training, from our generator, switched by us"
_STEPS = "as many steps as the shape says, each of matrix products and gates; see `recurrent`"
_DIVIDE = "floats divide by zero without an error; whole numbers only by a positive number in the graph"

_UNARY = "float self"
_SAME = "any self"
_OTHER = "any self, value other"
_SCALAR = "any self, number other"
_SCALED = "any self, value other, *, factor alpha="
_DIVISION = "float self, real other | whole self, size other"
_LIKE = "any self, *, dtype? dtype="
_REDUCED = "any self, places? dim=, flag keepdim=, *, dtype? dtype="
_DIM = "any self, place dim, flag keepdim="
_SPREAD = "float self, places? dim=, *, number? correction=, flag keepdim="
_CONV = (
    "float input, float weight, float? bias=, sizes stride=, counts padding=, sizes dilation=, size groups="
)
_CONV_WORDS = (
    "float input, float weight, float? bias=, sizes stride=, one of valid same padding=, "
    "sizes dilation=, size groups="
)
_CONV_BACK = (
    "float input, float weight, float? bias=, sizes stride=, counts padding=, counts output_padding=, "
    "size groups=, sizes dilation="
)
_MAX_POOL = "float self, sizes kernel_size, sizes stride=, counts padding=, sizes dilation=, flag ceil_mode="
_AVG_POOL = (
    "float self, sizes kernel_size, sizes stride=, counts padding=, flag ceil_mode=, flag count_include_pad="
)

_RECURRENT = (
    "floats params, flag has_biases, size num_layers, share dropout, flag train, flag bidirectional, "
    "flag batch_first"
)

OPERATORS: dict[str, Operator] = {
    # each element by itself
    "aten.abs.default": Operator(aten.abs.default, _SAME, _EACH),
    "aten.neg.default": Operator(aten.neg.default, _SAME, _EACH),
    "aten.sign.default": Operator(aten.sign.default, _SAME, _EACH),
    "aten.square.default": Operator(aten.square.default, _SAME, _EACH),
    "aten.exp.default": Operator(aten.exp.default, _UNARY, _EACH),
    "aten.exp2.default": Operator(aten.exp2.default, _UNARY, _EACH),
    "aten.expm1.default": Operator(aten.expm1.default, _UNARY, _EACH),
    "aten.log.default": Operator(aten.log.default, _UNARY, _EACH),
    "aten.log1p.default": Operator(aten.log1p.default, _UNARY, _EACH),
    "aten.log2.default": Operator(aten.log2.default, _UNARY, _EACH),
    "aten.log10.default": Operator(aten.log10.default, _UNARY, _EACH),
    "aten.sqrt.default": Operator(aten.sqrt.default, _UNARY, _EACH),
    "aten.rsqrt.default": Operator(aten.rsqrt.default, _UNARY, _EACH),
    "aten.reciprocal.default": Operator(aten.reciprocal.default, _UNARY, _EACH),
    "aten.sin.default": Operator(aten.sin.default, _UNARY, _EACH),
    "aten.cos.default": Operator(aten.cos.default, _UNARY, _EACH),
    "aten.tan.default": Operator(aten.tan.default, _UNARY, _EACH),
    "aten.atan.default": Operator(aten.atan.default, _UNARY, _EACH),
    "aten.sinh.default": Operator(aten.sinh.default, _UNARY, _EACH),
    "aten.cosh.default": Operator(aten.cosh.default, _UNARY, _EACH),
    "aten.tanh.default": Operator(aten.tanh.default, _UNARY, _EACH),
    "aten.erf.default": Operator(aten.erf.default, _UNARY, _EACH),
    "aten.sigmoid.default": Operator(aten.sigmoid.default, _UNARY, _EACH),
    "aten.log_sigmoid.default": Operator(aten.log_sigmoid.default, _UNARY, _EACH),
    "aten.floor.default": Operator(aten.floor.default, _SAME, _EACH),
    "aten.ceil.default": Operator(aten.ceil.default, _SAME, _EACH),
    "aten.round.default": Operator(aten.round.default, _SAME, _EACH),
    "aten.trunc.default": Operator(aten.trunc.default, _SAME, _EACH),
    "aten.frac.default": Operator(aten.frac.default, _UNARY, _EACH),
    "aten.nan_to_num.default": Operator(
        aten.nan_to_num.default, "float self, number? nan=, number? posinf=, number? neginf=", _EACH
    ),
    "aten.clamp.default": Operator(aten.clamp.default, "any self, number? min=, number? max=", _EACH),
    "aten.clamp_min.default": Operator(aten.clamp_min.default, "any self, number min", _EACH),
    "aten.clamp_max.default": Operator(aten.clamp_max.default, "any self, number max", _EACH),
    "aten._to_copy.default": Operator(own.to_copy, _LIKE, _EACH),
    "aten.clone.default": Operator(aten.clone.default, _SAME, _EACH),
    "aten.alias.default": Operator(aten.alias.default, _SAME, _EACH),
    "aten.detach.default": Operator(aten.detach.default, _SAME, _EACH),
    # activations
    "aten.relu.default": Operator(aten.relu.default, _SAME, _EACH),
    "aten.relu6.default": Operator(aten.relu6.default, _UNARY, _EACH),
    "aten.leaky_relu.default": Operator(aten.leaky_relu.default, "float self, number negative_slope=", _EACH),
    "aten.elu.default": Operator(
        aten.elu.default, "float self, factor alpha=, number scale=, number input_scale=", _EACH
    ),
    "aten.selu.default": Operator(aten.selu.default, _UNARY, _EACH),
    "aten.celu.default": Operator(aten.celu.default, "float self, positive alpha=", _EACH),
    "aten.gelu.default": Operator(aten.gelu.default, "float self, *, one of none tanh approximate=", _EACH),
    "aten.silu.default": Operator(aten.silu.default, _UNARY, _EACH),
    "aten.mish.default": Operator(aten.mish.default, _UNARY, _EACH),
    "aten.softplus.default": Operator(
        aten.softplus.default, "float self, factor beta=, number threshold=", _EACH
    ),
    "aten.hardtanh.default": Operator(
        aten.hardtanh.default, "float self, number min_val=, number max_val=", _EACH
    ),
    "aten.hardswish.default": Operator(aten.hardswish.default, _UNARY, _EACH),
    "aten.hardsigmoid.default": Operator(aten.hardsigmoid.default, _UNARY, _EACH),
    "aten.threshold.default": Operator(
        aten.threshold.default, "float self, number threshold, number value", _EACH
    ),
    "aten.prelu.default": Operator(aten.prelu.default, "float self, float weight", _EACH),
    "aten.glu.default": Operator(aten.glu.default, "float self, place dim=", _EACH),
    "aten.softmax.int": Operator(aten.softmax.int, "float self, place dim, dtype? dtype=", _SUM),
    "aten.log_softmax.int": Operator(aten.log_softmax.int, "float self, place dim, dtype? dtype=", _SUM),
    # two at a time
    "aten.add.Tensor": Operator(aten.add.Tensor, _SCALED, _PAIR),
    "aten.add.Scalar": Operator(aten.add.Scalar, "any self, number other, factor alpha=", _PAIR),
    "aten.sub.Tensor": Operator(aten.sub.Tensor, _SCALED, _PAIR),
    "aten.sub.Scalar": Operator(aten.sub.Scalar, "any self, number other, factor alpha=", _PAIR),
    "aten.rsub.Scalar": Operator(aten.rsub.Scalar, "any self, number other, factor alpha=", _PAIR),
    "aten.mul.Tensor": Operator(aten.mul.Tensor, _OTHER, _PAIR),
    "aten.mul.Scalar": Operator(aten.mul.Scalar, _SCALAR, _PAIR),
    "aten.div.Tensor": Operator(
        aten.div.Tensor, _OTHER, "gives floats, also for whole numbers: by zero, infinity"
    ),
    "aten.div.Scalar": Operator(
        aten.div.Scalar, _SCALAR, "gives floats, also for whole numbers: by zero, infinity"
    ),
    "aten.div.Tensor_mode": Operator(
        aten.div.Tensor_mode,
        "float self, real other, *, one of floor trunc? rounding_mode"
        "| whole self, size other, *, one of floor trunc? rounding_mode",
        _DIVIDE,
    ),
    "aten.floor_divide.default": Operator(own.floor_divide, _DIVISION, _DIVIDE),
    "aten.remainder.Tensor": Operator(torch.remainder, _DIVISION, _DIVIDE),
    "aten.remainder.Scalar": Operator(
        aten.remainder.Scalar, "float self, number other | whole self, size other", _DIVIDE
    ),
    "aten.fmod.Tensor": Operator(aten.fmod.Tensor, "float self, float other", _DIVIDE),
    "aten.fmod.Scalar": Operator(
        aten.fmod.Scalar, "float self, number other | whole self, size other", _DIVIDE
    ),
    "aten.pow.Tensor_Scalar": Operator(
        aten.pow.Tensor_Scalar,
        "float self, number exponent | whole self, count exponent",
        "whole numbers only to powers from 0 on, as others raise; floats give NaN",
    ),
    "aten.pow.Tensor_Tensor": Operator(aten.pow.Tensor_Tensor, "float self, float exponent", _EACH),
    "aten.pow.Scalar": Operator(aten.pow.Scalar, "number self, float exponent", _EACH),
    "aten.atan2.default": Operator(aten.atan2.default, "float self, float other", _PAIR),
    "aten.maximum.default": Operator(aten.maximum.default, "any self, any other", _PAIR),
    "aten.minimum.default": Operator(aten.minimum.default, "any self, any other", _PAIR),
    "aten.addcmul.default": Operator(
        aten.addcmul.default, "float self, float tensor1, float tensor2, *, number value=", _PAIR
    ),
    "aten.addcdiv.default": Operator(
        aten.addcdiv.default, "float self, float tensor1, float tensor2, *, number value=", _PAIR
    ),
    "aten.lerp.Scalar": Operator(aten.lerp.Scalar, "float self, float end, number weight", _PAIR),
    "aten.lerp.Tensor": Operator(aten.lerp.Tensor, "float self, float end, float weight", _PAIR),
    # questions and choices
    "aten.eq.Tensor": Operator(torch.eq, _OTHER, _ASK),
    "aten.eq.Scalar": Operator(aten.eq.Scalar, _SCALAR, _ASK),
    "aten.ne.Tensor": Operator(torch.ne, _OTHER, _ASK),
    "aten.ne.Scalar": Operator(aten.ne.Scalar, _SCALAR, _ASK),
    "aten.lt.Tensor": Operator(torch.lt, _OTHER, _ASK),
    "aten.lt.Scalar": Operator(aten.lt.Scalar, _SCALAR, _ASK),
    "aten.le.Tensor": Operator(torch.le, _OTHER, _ASK),
    "aten.le.Scalar": Operator(aten.le.Scalar, _SCALAR, _ASK),
    "aten.gt.Tensor": Operator(torch.gt, _OTHER, _ASK),
    "aten.gt.Scalar": Operator(aten.gt.Scalar, _SCALAR, _ASK),
    "aten.ge.Tensor": Operator(torch.ge, _OTHER, _ASK),
    "aten.ge.Scalar": Operator(aten.ge.Scalar, _SCALAR, _ASK),
    "aten.isnan.default": Operator(aten.isnan.default, _SAME, _ASK),
    "aten.isinf.default": Operator(aten.isinf.default, _SAME, _ASK),
    "aten.logical_and.default": Operator(aten.logical_and.default, "any self, any other", _ASK),
    "aten.logical_or.default": Operator(aten.logical_or.default, "any self, any other", _ASK),
    "aten.logical_xor.default": Operator(aten.logical_xor.default, "any self, any other", _ASK),
    "aten.logical_not.default": Operator(aten.logical_not.default, _SAME, _ASK),
    "aten.bitwise_and.Tensor": Operator(aten.bitwise_and.Tensor, "logic self, logic other", _ASK),
    "aten.bitwise_or.Tensor": Operator(aten.bitwise_or.Tensor, "logic self, logic other", _ASK),
    "aten.bitwise_xor.Tensor": Operator(aten.bitwise_xor.Tensor, "logic self, logic other", _ASK),
    "aten.bitwise_not.default": Operator(aten.bitwise_not.default, "logic self", _ASK),
    "aten.where.self": Operator(torch.where, "truth condition, any self, any other", _PAIR),
    "aten.where.ScalarOther": Operator(torch.where, "truth condition, any self, number other", _PAIR),
    "aten.where.ScalarSelf": Operator(torch.where, "truth condition, number self, any other", _PAIR),
    "aten.where.Scalar": Operator(torch.where, "truth condition, number self, number other", _PAIR),
    "aten.masked_fill.Scalar": Operator(aten.masked_fill.Scalar, "any self, truth mask, number value", _PAIR),
    "aten.masked_fill.Tensor": Operator(own.masked_fill, "any self, truth mask, any value", _PAIR),
    # over dimensions
    "aten.sum.default": Operator(aten.sum.default, _LIKE, _SUM),
    "aten.sum.dim_IntList": Operator(aten.sum.dim_IntList, _REDUCED, _SUM),
    "aten.mean.default": Operator(aten.mean.default, _LIKE, _SUM),
    "aten.mean.dim": Operator(aten.mean.dim, _REDUCED, _SUM),
    "aten.var.correction": Operator(aten.var.correction, _SPREAD, _SUM),
    "aten.std.correction": Operator(aten.std.correction, _SPREAD, _SUM),
    "aten.logsumexp.default": Operator(aten.logsumexp.default, "float self, places dim, flag keepdim=", _SUM),
    "aten.linalg_vector_norm.default": Operator(
        aten.linalg_vector_norm.default,
        "float self, number ord=, places? dim=, flag keepdim=, *, dtype? dtype=",
        _SUM,
    ),
    "aten.cumsum.default": Operator(aten.cumsum.default, "any self, place dim, *, dtype? dtype=", _SUM),
    "aten.amax.default": Operator(aten.amax.default, "any self, places dim=, flag keepdim=", _BEST),
    "aten.amin.default": Operator(aten.amin.default, "any self, places dim=, flag keepdim=", _BEST),
    "aten.max.default": Operator(own.whole_max, _SAME, _BEST),
    "aten.min.default": Operator(own.whole_min, _SAME, _BEST),
    "aten.max.dim": Operator(aten.max.dim, _DIM, _BEST, pieces=True),
    "aten.min.dim": Operator(aten.min.dim, _DIM, _BEST, pieces=True),
    "aten.argmax.default": Operator(aten.argmax.default, "any self, place? dim=, flag keepdim=", _BEST),
    "aten.argmin.default": Operator(aten.argmin.default, "any self, place? dim=, flag keepdim=", _BEST),
    "aten.any.default": Operator(aten.any.default, _SAME, _BEST),
    "aten.any.dim": Operator(aten.any.dim, _DIM, _BEST),
    "aten.all.default": Operator(aten.all.default, _SAME, _BEST),
    "aten.all.dim": Operator(aten.all.dim, _DIM, _BEST),
    # matrices
    "aten.linear.default": Operator(
        own.linear, "float input, float weight, float? bias=", _MATRIX, shared=own.shared_linear
    ),
    "aten.matmul.default": Operator(aten.matmul.default, "float self, float other", _MATRIX),
    "aten.mm.default": Operator(aten.mm.default, "float self, float mat2", _MATRIX),
    "aten.bmm.default": Operator(aten.bmm.default, "float self, float mat2", _MATRIX),
    "aten.mv.default": Operator(aten.mv.default, "float self, float vec", _MATRIX),
    "aten.dot.default": Operator(aten.dot.default, "float self, float tensor", _MATRIX),
    "aten.addmm.default": Operator(
        aten.addmm.default, "float self, float mat1, float mat2, *, factor beta=, factor alpha=", _MATRIX
    ),
    "aten.baddbmm.default": Operator(
        aten.baddbmm.default,
        "float self, float batch1, float batch2, *, factor beta=, factor alpha=",
        _MATRIX,
    ),
    "aten.scaled_dot_product_attention.default": Operator(
        own.attention,
        "float query, float key, float value, any? attn_mask=, share dropout_p=, flag is_causal=, "
        "*, number? scale=, no enable_gqa=",
        "written out as two matrix products and a softmax",
        switched=True,
    ),
    # one step after the other
    "aten.gru.input": Operator(
        recurrent.gru,
        "float input, float hx, " + _RECURRENT,
        _STEPS,
        switched=True,
        pieces=True,
        loops=recurrent.loops,
    ),
    "aten.lstm.input": Operator(
        recurrent.lstm,
        "float input, floats hx, " + _RECURRENT,
        _STEPS,
        switched=True,
        pieces=True,
        loops=recurrent.loops,
    ),
    # windows over places
    "aten.conv1d.default": Operator(aten.conv1d.default, _CONV, _WINDOW),
    "aten.conv2d.default": Operator(aten.conv2d.default, _CONV, _WINDOW),
    "aten.conv3d.default": Operator(aten.conv3d.default, _CONV, _WINDOW),
    "aten.conv1d.padding": Operator(aten.conv1d.padding, _CONV_WORDS, _WINDOW),
    "aten.conv2d.padding": Operator(aten.conv2d.padding, _CONV_WORDS, _WINDOW),
    "aten.conv_transpose1d.default": Operator(aten.conv_transpose1d.default, _CONV_BACK, _WINDOW),
    "aten.conv_transpose2d.input": Operator(aten.conv_transpose2d.input, _CONV_BACK, _WINDOW),
    "aten.max_pool1d.default": Operator(aten.max_pool1d.default, _MAX_POOL, _WINDOW, work=_window),
    "aten.max_pool2d.default": Operator(aten.max_pool2d.default, _MAX_POOL, _WINDOW, work=_window),
    "aten.avg_pool1d.default": Operator(aten.avg_pool1d.default, _AVG_POOL, _WINDOW, work=_window),
    "aten.avg_pool2d.default": Operator(
        aten.avg_pool2d.default, _AVG_POOL + ", size? divisor_override=", _WINDOW, work=_window
    ),
    "aten.adaptive_avg_pool1d.default": Operator(
        aten.adaptive_avg_pool1d.default, "float self, sizes output_size", _WINDOW
    ),
    "aten.adaptive_avg_pool2d.default": Operator(
        aten.adaptive_avg_pool2d.default, "float self, sizes output_size", _WINDOW
    ),
    "aten.upsample_nearest2d.vec": Operator(
        aten.upsample_nearest2d.vec, "float input, sizes output_size, null? scale_factors", _MOVE
    ),
    "aten.upsample_bilinear2d.vec": Operator(
        aten.upsample_bilinear2d.vec,
        "float input, sizes output_size, flag align_corners, null? scale_factors",
        _WINDOW,
    ),
    # normalisation
    "aten.layer_norm.default": Operator(
        aten.layer_norm.default,
        "float input, sizes normalized_shape, float? weight=, float? bias=, number eps=, flag cudnn_enable=",
        _NORM,
    ),
    "aten.group_norm.default": Operator(
        aten.group_norm.default,
        "float input, size num_groups, float? weight=, float? bias=, number eps=, flag cudnn_enabled=",
        _NORM,
    ),
    "aten.rms_norm.default": Operator(
        aten.rms_norm.default, "float input, sizes normalized_shape, float? weight=, number? eps=", _NORM
    ),
    "aten.instance_norm.default": Operator(
        own.instance_norm,
        "float input, float? weight, float? bias, null? running_mean, null? running_var, "
        "yes use_input_stats, number momentum, number eps, flag cudnn_enabled=",
        _NORM,
    ),
    # looking up
    "aten.embedding.default": Operator(
        own.embedding, "float weight, whole indices, place padding_idx=", _LOOK
    ),
    "aten.one_hot.default": Operator(own.one_hot, "whole self, size num_classes", _LOOK),
    "aten.gather.default": Operator(own.gather, "any self, place dim, whole index", _LOOK),
    "aten.index_select.default": Operator(own.index_select, "any self, place dim, whole index", _LOOK),
    "aten.index.Tensor": Operator(own.index, "any self, indices indices", _LOOK),
    "aten.scatter_add.default": Operator(
        own.scatter_add, "float self, place dim, whole index, float src", _LOOK
    ),
    # shapes
    "aten.view.default": Operator(torch.reshape, "any self, places shape", _MOVE),
    "aten._unsafe_view.default": Operator(torch.reshape, "any self, places shape", _MOVE),
    "aten.reshape.default": Operator(torch.reshape, "any self, places shape", _MOVE),
    "aten.flatten.using_ints": Operator(
        aten.flatten.using_ints, "any self, place start_dim=, place end_dim=", _MOVE
    ),
    "aten.unflatten.int": Operator(aten.unflatten.int, "any self, place dim, places sizes", _MOVE),
    "aten.squeeze.default": Operator(aten.squeeze.default, _SAME, _MOVE),
    "aten.squeeze.dim": Operator(aten.squeeze.dim, "any self, place dim", _MOVE),
    "aten.squeeze.dims": Operator(aten.squeeze.dims, "any self, places dim", _MOVE),
    "aten.unsqueeze.default": Operator(aten.unsqueeze.default, "any self, place dim", _MOVE),
    "aten.transpose.int": Operator(aten.transpose.int, "any self, place dim0, place dim1", _MOVE),
    "aten.t.default": Operator(aten.t.default, _SAME, _MOVE),
    "aten.permute.default": Operator(aten.permute.default, "any self, places dims", _MOVE),
    "aten.movedim.intlist": Operator(
        aten.movedim.intlist, "any self, places source, places destination", _MOVE
    ),
    "aten.expand.default": Operator(aten.expand.default, "any self, places size", _MOVE),
    "aten.repeat.default": Operator(aten.repeat.default, "any self, counts repeats", _MOVE),
    "aten.tile.default": Operator(aten.tile.default, "any self, counts dims", _MOVE),
    "aten.repeat_interleave.self_int": Operator(
        own.repeat_interleave, "any self, size repeats, place? dim=", _MOVE
    ),
    "aten.cat.default": Operator(aten.cat.default, "anys tensors, place dim=", _MOVE),
    "aten.stack.default": Operator(aten.stack.default, "anys tensors, place dim=", _MOVE),
    "aten.split.Tensor": Operator(own.split, "any self, size split_size, place dim=", _MOVE, pieces=True),
    "aten.split_with_sizes.default": Operator(
        aten.split_with_sizes.default, "any self, counts split_sizes, place dim=", _MOVE, pieces=True
    ),
    "aten.chunk.default": Operator(own.chunk, "any self, size chunks, place dim=", _MOVE, pieces=True),
    "aten.unbind.int": Operator(own.unbind, "any self, place dim=", _MOVE, pieces=True),
    "getitem": Operator(own.item, "", "takes one of several results, by a number in the graph"),
    "aten.select.int": Operator(aten.select.int, "any self, place dim, place index", _MOVE),
    "aten.slice.Tensor": Operator(
        aten.slice.Tensor, "any self, place dim=, place? start=, place? end=, size step=", _MOVE
    ),
    "aten.narrow.default": Operator(
        aten.narrow.default, "any self, place dim, place start, count length", _MOVE
    ),
    "aten.diagonal.default": Operator(
        aten.diagonal.default, "any self, place offset=, place dim1=, place dim2=", _MOVE
    ),
    "aten.flip.default": Operator(aten.flip.default, "any self, places dims", _MOVE),
    "aten.roll.default": Operator(aten.roll.default, "any self, places shifts, places dims=", _MOVE),
    "aten.constant_pad_nd.default": Operator(
        aten.constant_pad_nd.default, "any self, places pad, number value=", _MOVE
    ),
    "aten.pad.default": Operator(
        aten.pad.default,
        "float self, places pad, one of constant reflect replicate circular mode=, number? value=",
        _MOVE,
    ),
    "aten.unfold.default": Operator(own.unfold, "any self, place dimension, size size, size step", _MOVE),
    "aten.tril.default": Operator(aten.tril.default, "any self, place diagonal=", _MOVE),
    "aten.triu.default": Operator(aten.triu.default, "any self, place diagonal=", _MOVE),
    "aten.select_scatter.default": Operator(
        own.select_scatter, "any self, any src, place dim, place index", _WRITE
    ),
    "aten.slice_scatter.default": Operator(
        own.slice_scatter,
        "any self, any src, place dim=, place? start=, place? end=, size step=",
        _WRITE,
    ),
    # constants
    "aten.zeros.default": Operator(torch.zeros, "counts size, *, dtype? dtype=", _MAKE),
    "aten.ones.default": Operator(torch.ones, "counts size, *, dtype? dtype=", _MAKE),
    "aten.full.default": Operator(torch.full, "counts size, number fill_value, *, dtype? dtype=", _MAKE),
    "aten.zeros_like.default": Operator(torch.zeros_like, _LIKE, _MAKE),
    "aten.ones_like.default": Operator(torch.ones_like, _LIKE, _MAKE),
    "aten.full_like.default": Operator(
        torch.full_like, "any self, number fill_value, *, dtype? dtype=", _MAKE
    ),
    "aten.new_zeros.default": Operator(
        aten.new_zeros.default, "any self, counts size, *, dtype? dtype=", _MAKE
    ),
    "aten.new_ones.default": Operator(
        aten.new_ones.default, "any self, counts size, *, dtype? dtype=", _MAKE
    ),
    "aten.new_full.default": Operator(
        aten.new_full.default, "any self, counts size, number fill_value, *, dtype? dtype=", _MAKE
    ),
    "aten.fill.Scalar": Operator(torch.full_like, "any self, number value", _MAKE),
    "aten.fill.Tensor": Operator(own.fill, "any self, any value", _MAKE),
    "aten.scalar_tensor.default": Operator(torch.scalar_tensor, "number s, *, dtype? dtype=", _MAKE),
    "aten.arange.default": Operator(torch.arange, "number end, *, dtype? dtype=", _MAKE),
    "aten.arange.start": Operator(torch.arange, "number start, number end, *, dtype? dtype=", _MAKE),
    "aten.arange.start_step": Operator(
        torch.arange, "number start, number end, number step=, *, dtype? dtype=", _MAKE
    ),
    "aten.linspace.default": Operator(
        torch.linspace, "number start, number end, count steps, *, dtype? dtype=", _MAKE
    ),
    "aten.eye.default": Operator(torch.eye, "count n, *, dtype? dtype=", _MAKE),
    # dropout
    "aten.dropout.default": Operator(own.dropout, "float input, share p", _DROP, switched=True),
    "aten.feature_dropout.default": Operator(
        own.feature_dropout, "float input, share p", _DROP, switched=True
    ),
}
"""torch's own name of an operator -> what we do for it. Nothing else can be in a graph."""

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
"""Our name of each kind of number -> torch's."""
