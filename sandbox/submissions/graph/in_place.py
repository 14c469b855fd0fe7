"""Which steps of scoring may write over what they were given? Those after which nobody could tell.

Memory that is new costs more than most sums on it: an MLP is scored a quarter quicker without. A step may
write over its first argument when that is memory of its own (never an input, a weight, or a view), no
other step reads it, and the result has the same shape and dtype. The table of operators stays as it is:
how a graph writes is not the graph's to say.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.terms import Node, Ref

_aten = torch.ops.aten

_OVER: Mapping[str, Callable[..., Tensor]] = {
    "aten.relu.default": _aten.relu_.default,
    "aten.leaky_relu.default": _aten.leaky_relu_.default,
    "aten.elu.default": _aten.elu_.default,
    "aten.silu.default": _aten.silu_.default,
    "aten.hardtanh.default": _aten.hardtanh_.default,
    "aten.sigmoid.default": _aten.sigmoid_.default,
    "aten.tanh.default": _aten.tanh_.default,
    "aten.add.Tensor": _aten.add_.Tensor,
    "aten.sub.Tensor": _aten.sub_.Tensor,
    "aten.mul.Tensor": _aten.mul_.Tensor,
    "aten.div.Tensor": _aten.div_.Tensor,
}
"""Operator -> the same, written over its first argument."""

_NEW = frozenset(_OVER) | {
    "aten.linear.default",
    "aten.matmul.default",
    "aten.conv1d.default",
    "aten.conv2d.default",
    "aten.layer_norm.default",
    "aten.group_norm.default",
    "aten.gelu.default",
}
"""Operators whose result is never a view of anything."""

_LOOKS = _NEW | {
    *("aten.embedding.default", "aten.one_hot.default", "aten._to_copy.default", "aten.cat.default"),
    *("aten.stack.default", "aten.view.default", "aten.reshape.default", "aten.flatten.using_ints"),
    *("aten.select.int", "aten.slice.Tensor", "aten.squeeze.dims", "aten.unsqueeze.default"),
    *("aten.transpose.int", "aten.permute.default", "aten.softmax.int", "aten.bmm.default"),
    *("aten.mean.dim", "aten.sum.dim_IntList", "aten.max_pool2d.default", "aten.avg_pool2d.default"),
}
"""Operators whose result is each record's own when one of their arguments is; `zeros_like` is none of them."""


@dataclass(frozen=True)
class Made:
    """What a node makes of one record; one that gives several tensors counts as empty here, and has no dtype.

    `kept`: how many numbers are held inside it meanwhile, over `loops` steps.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None
    loops: int
    kept: int

    @classmethod
    def of(cls, result: Tensor | tuple[Tensor, ...], loops: int, kept: int) -> Made:
        """As found in what a node gave."""
        if isinstance(result, Tensor):
            return cls(tuple(result.shape), result.dtype, loops, kept)
        return cls((0,), None, loops, kept)


def functions(graph: RecordGraph, made: Mapping[str, Made]) -> dict[str, Callable[..., Tensor]]:
    """For each step, by name, that may write over its first argument, what does so. `made`: by each node."""
    reads = Counter(ref for node in graph.nodes for ref in node.references())
    reads[Ref(graph.output)] += 1
    own = {node.name for node in graph.nodes if node.op in _NEW and reads[Ref(node.name)] == 1}
    surely, perhaps = (_of_the_record(graph, through) for through in (_LOOKS, None))
    return {
        node.name: _OVER[node.op]
        for node in graph.nodes
        if node.op in _OVER and _may(node, own, surely, perhaps) and _alike(node, made)
    }


def _may(node: Node, own: set[str], surely: set[str], perhaps: set[str]) -> bool:
    """Under `vmap` what all records share cannot take what each has for itself."""
    first, *others = node.references()
    if node.args[:1] != (first,) or not isinstance(first, Ref) or first.name not in own:
        return False
    return first.name in surely or not any(isinstance(o, Ref) and o.name in perhaps for o in others)


def _of_the_record(graph: RecordGraph, through: frozenset[str] | None) -> set[str]:
    """The inputs, and what comes of them through these operators, or through any."""
    found = {spec.name for spec in graph.inputs}
    for node in graph.nodes:
        known = through is None or node.op in through
        if known and any(isinstance(ref, Ref) and ref.name in found for ref in node.references()):
            found.add(node.name)
    return found


def _alike(node: Node, made: Mapping[str, Made]) -> bool:
    first: Any = node.args[0]
    before, after = made[first.name], made[node.name]
    return (before.shape, before.dtype) == (after.shape, after.dtype)
