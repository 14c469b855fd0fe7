"""How are matrices multiplied quickest? By whichever of the two libraries in torch is quicker here.

torch has float32 products done by MKL, which on processors that are not Intel's leaves AVX-512 alone. oneDNN, which
torch carries for other work, uses it, and takes half the time there (docs/speed.md). torch has no public name for
that: so its operator is tried once a process, and on such processors taken where it is there and right: by the linear
layers of a graph that answers, and by what a compiler is given. The clock is not asked, so that all processes of a
machine answer the same to the last bit.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.terms import Node, WeightRef

_SMALL = 2**18
"""Multiplications up to which calling oneDNN takes longer than it saves."""
_SMALL_LAYER = 2**9
"""The same for one record, of the many that a layer answers for at once."""


def decomposition() -> dict[Any, Callable[..., Any]]:
    """What a graph is to hold instead of `aten.mm`, as make_fx wants to be told."""
    quick = quicker()  # to be tried before anything is traced
    return {torch.ops.aten.mm.default: lambda a, b: product(a, b, quick)}


def product(a: Tensor, b: Tensor, quick: bool) -> Any:
    """`a @ b` written for a compiler, `quick` if by oneDNN; NotImplemented where torch's own is as good.

    A product with a vector is a sum, which a compiler does in the pass that makes what it reads. oneDNN reads the
    first by rows: where it does not lie so, the smaller of the two is copied.
    """
    (m, k), n = a.shape, b.shape[1]
    if k == 1:
        return a * b
    if n == 1:
        return (a * b.t()).sum(1, keepdim=True)
    if m == 1:
        return (a.t() * b).sum(0, keepdim=True)
    if not quick or m * k * n <= _SMALL or a.dtype != torch.float32:
        return NotImplemented
    if a.is_contiguous():
        return torch.ops.ndl.by_rows.default(a, b.t(), None)
    if m <= n:
        return torch.ops.ndl.by_rows.default(_lying_by_rows(a), b.t(), None)
    return torch.ops.ndl.by_rows.default(_lying_by_rows(b.t()), a, None).t().contiguous()


def _lying_by_rows(a: Tensor) -> Any:
    """A copy, written for a compiler: in the pass that makes `a`. By `contiguous` alone it leaves `a` as it lies."""
    from torch._inductor import inductor_prims

    return inductor_prims.force_stride_order(a.contiguous(), [a.shape[1], 1])


def layers(graph: RecordGraph) -> dict[str, Callable[..., Tensor]]:
    """For each linear layer, by name, that is quicker so, what does it; without gradients.

    Not to be asked inside `vmap`.
    """
    shapes = {w.name: w.shape for w in graph.weights if w.dtype == "float32"}
    return {node.name: _linear for node in graph.nodes if _large(node, shapes) and quicker()}


def filled(n: int) -> int:
    """How many records to ask at once, to have n answered: one of few numbers, at least n.

    For every size it meets oneDNN writes code, and keeps it: 30 MB while a year of samples of all sizes is asked about.
    """
    return min(1 << (n - 1).bit_length(), -(-n // 1024) * 1024)


def _large(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    if node.op != "aten.linear.default" or node.kwargs:
        return False
    weights = [arg.name for arg in node.args[1:] if isinstance(arg, WeightRef) and arg.name in shapes]
    if len(weights) < sum(arg is not None for arg in node.args[1:]):
        return False  # what a record brings itself
    shape = shapes[weights[0]]
    return len(shape) == 2 and min(shape) > 1 and math.prod(shape) >= _SMALL_LAYER


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found: Tensor = torch.ops.ndl.by_rows.default(input, weight, bias)
    return found


@cache
def quicker() -> bool:
    """Whether oneDNN can be had, is right, and uses more of this processor than torch's own products."""
    a, b = torch.rand(512, 64), torch.rand(64, 512).t()
    try:
        return _mkl_is_slow() and float((by_onednn(a, b) - by_torch(a, b)).abs().max()) < 1e-4
    except (AttributeError, RuntimeError, TypeError):  # not in this torch, not for this processor, or changed
        return False


def _mkl_is_slow() -> bool:
    """A processor with AVX-512 that is not Intel's: MKL goes by who made it."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch._C.has_mkl:
        return False
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def by_onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a @ b.T + bias`. Whoever calls it has asked `quicker`."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")
    return found


def by_torch(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b.T`."""
    return a @ b.t()


def _shape(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(*a.shape[:-1], b.shape[0])


def _of_many(
    _info: Any, of_records: tuple[int, None, None], a: Tensor, b: Tensor, bias: Tensor | None
) -> tuple[Tensor, int]:
    """Under `vmap`, where only the first is each record's own."""
    a = a.movedim(of_records[0], 0)
    return torch.ops.ndl.by_rows.default(a, b, bias), 0


_NAME = "ndl::by_rows"
torch.library.define(_NAME, "(Tensor a, Tensor b, Tensor? bias) -> Tensor", tags=(torch.Tag.flexible_layout,))
torch.library.impl(_NAME, "CPU", by_onednn)
torch.library.register_fake(_NAME, _shape)
torch.library.register_vmap(_NAME, _of_many)
