"""Which layers need no gradient a record, because two small tensors say the same? Those found here.

The gradient of one record in the weight of a linear layer is an outer product: what flowed back to the
layer's output times what came in. Its norm follows from the two, and a sum of many, each times its own
factor, is one product of matrices (Goodfellow 2015, arXiv 1510.01799; Li et al. 2022, arXiv 2110.05679,
"ghost norms"; Bu et al. 2023, arXiv 2210.00038, "book-keeping"). A *tap* is a zero added to a layer's
output: the gradient of it is what flowed back. The same holds for a convolution, over its windows, and for
an embedding, whose input is a place in a table.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.terms import Argument, Node, Ref, WeightRef
from sandbox.training.gradients import squared_lengths

Pairs = tuple[Tensor, Tensor]
"""What flowed back, [n, places, out], and what came in, [n, places, in] (of an embedding [n, places])."""


@dataclass(frozen=True)
class Tap:
    """A node whose weight, and bias if it has one, is used by it alone."""

    node: str
    weight: str
    bias: str | None = None
    reads = 0
    """Which argument of the node is what comes in."""

    def start(self, weights: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """What to add to the layer's result, of this shape: its bias, which it then does without, or zero."""
        return (torch.zeros(()) if self.bias is None else weights[self.bias]).expand(shape)

    def pairs(self, back: Tensor, came: Tensor) -> Pairs:
        """Of n records: what flowed back [n, *shape of the result] and what came in [n, *its shape]."""
        return _rows(back), _rows(came)

    def whole(self, pairs: Pairs, shape: torch.Size) -> dict[str, Tensor]:
        """Each record's gradients themselves, [n, *shape], where they are smaller than the pair; else nothing."""
        back, came = pairs
        places, out, into = back.shape[1], back.shape[2], came.shape[2]
        if places == 1 or places * (out + into) < out * into:
            return {}
        found = {self.weight: torch.bmm(back.transpose(1, 2), came).view(-1, *shape)}
        return found if self.bias is None else {**found, self.bias: back.sum(1)}

    def squares(self, pairs: Pairs) -> Tensor:
        """The squared norm of each record's gradient: [n]."""
        back, came = pairs
        bias = 0.0 if self.bias is None else 1.0
        if back.shape[1] == 1:
            return squared_lengths(back[:, 0]) * (squared_lengths(came[:, 0]) + bias)
        return (_products(back) * (_products(came) + bias)).sum((1, 2))

    def sums(self, pairs: Pairs, shape: torch.Size) -> dict[str, Tensor]:
        """The gradients of all n together: of the weight, of this shape, and of the bias."""
        back, came = (part.reshape(-1, part.shape[-1]) for part in pairs)
        found = {self.weight: (back.t() @ came).view(shape)}
        return found if self.bias is None else {**found, self.bias: back.sum(0)}


@dataclass(frozen=True)
class ConvTap(Tap):
    """A convolution over one or two dimensions: a linear layer at every window."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def start(self, weights: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        if self.bias is None:
            return torch.zeros(()).expand(shape)
        return weights[self.bias].view(1, -1, *(1,) * (len(shape) - 2)).expand(shape)

    def pairs(self, back: Tensor, came: Tensor) -> Pairs:
        came = came.squeeze(1)
        came = came.unsqueeze(2) if came.dim() == 3 else came
        windows = F.unfold(came, self.kernel, self.dilation, self.padding, self.stride)
        return back.squeeze(1).flatten(2).transpose(1, 2), windows.transpose(1, 2)


@dataclass(frozen=True)
class EmbeddingTap(Tap):
    """A table; the row `padding` learns nothing."""

    rows: int = 0
    padding: int = -1
    reads = 1

    def pairs(self, back: Tensor, came: Tensor) -> Pairs:
        places = came.flatten(1).clamp(0, self.rows - 1)
        if self.padding >= 0:
            back = back * (places != self.padding).to(back.dtype).view(back.shape[:-1]).unsqueeze(-1)
        return _rows(back), places

    def whole(self, pairs: Pairs, shape: torch.Size) -> dict[str, Tensor]:
        return {}

    def squares(self, pairs: Pairs) -> Tensor:
        back, places = pairs
        if places.shape[1] == 1:
            return squared_lengths(back[:, 0])
        return (_products(back) * (places[:, :, None] == places[:, None, :])).sum((1, 2))

    def sums(self, pairs: Pairs, shape: torch.Size) -> dict[str, Tensor]:
        back, places = pairs
        return {
            self.weight: torch.zeros(shape).index_add_(
                0, places.reshape(-1), back.reshape(-1, back.shape[-1])
            )
        }


def find(graph: RecordGraph, shapes: Mapping[str, tuple[int, ...]]) -> list[Tap]:
    """Every node of the graph that can have one. `shapes` as of `Model.shapes`."""
    uses = Counter(ref.name for node in graph.nodes for ref in _every(node) if isinstance(ref, WeightRef))
    shape_of = {w.name: w.shape for w in graph.weights if w.trainable and uses[w.name] == 1}
    found = (_tap(node, shape_of, shapes) for node in graph.nodes if not node.kwargs)
    return [tap for tap in found if tap]


def _tap(node: Node, own: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> Tap | None:
    args: list[Any] = list(node.args)
    if node.op == "aten.embedding.default":
        padding = args[2] if len(args) > 2 else -1
        if _is_own(args[0], own) and isinstance(args[1], Ref):
            rows = own[args[0].name][0]
            return EmbeddingTap(node.name, args[0].name, rows=rows, padding=_place(padding, rows))
        return None
    if node.op not in ("aten.linear.default", "aten.conv1d.default", "aten.conv2d.default"):
        return None
    bias = args[2] if len(args) > 2 else None
    if not (isinstance(args[0], Ref) and _is_own(args[1], own) and (bias is None or _is_own(bias, own))):
        return None
    names = node.name, args[1].name, None if bias is None else bias.name
    if node.op == "aten.linear.default":
        return Tap(*names)
    dimensions = len(own[args[1].name]) - 2
    options: list[Any] = args[3:] + [1, 0, 1, 1][len(args[3:]) :]
    stride, padding, dilation, groups = options
    if groups != 1 or len(shapes.get(args[0].name, ())) != dimensions + 2:
        return None
    kernel = own[args[1].name][2:]
    return ConvTap(
        *names,
        kernel=_two(kernel, dimensions, 1),
        stride=_two(stride, dimensions, 1),
        padding=_two(padding, dimensions, 0),
        dilation=_two(dilation, dimensions, 1),
    )


def _every(node: Node) -> list[Argument]:
    parts = [*node.args, *node.kwargs.values()]
    return [item for part in parts for item in (part if isinstance(part, tuple) else (part,))]


def _is_own(argument: Any, own: Mapping[str, tuple[int, ...]]) -> bool:
    return isinstance(argument, WeightRef) and argument.name in own


def _place(padding: int, rows: int) -> int:
    return padding if 0 <= padding < rows else -1


def _two(sizes: Any, dimensions: int, before: int) -> tuple[int, int]:
    """For both dimensions, of which a convolution over one has `before` for the first."""
    given = list(sizes) if isinstance(sizes, tuple | list) else [sizes]
    return (given[0], given[-1]) if dimensions == 2 else (before, given[0])


def _rows(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1, values.shape[-1])


def _products(values: Tensor) -> Tensor:
    return torch.bmm(values, values.transpose(1, 2))
