"""How does a compiled step multiply matrices? By whichever of two libraries is quicker here, or by none of them.

torch has float32 products done by MKL, which on processors that are not Intel's leaves AVX-512 alone. oneDNN, which
torch carries for other work, uses it, and takes half the time there (docs/speed.md). torch has no public name for
that: so its operator is tried once a process, and taken where it is there, right and quicker. Products with a vector
are sums that the compiler does in the pass that makes what they read.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_SMALL = 2**18
"""Multiplications up to which calling oneDNN takes longer than it saves."""


def decomposition() -> dict[Any, Callable[..., Any]]:
    """What a graph is to hold instead of `aten.mm`, as make_fx wants to be told."""
    quick = quicker()  # to be measured before anything is traced
    return {torch.ops.aten.mm.default: lambda a, b: product(a, b, quick)}


def product(a: Tensor, b: Tensor, quick: bool) -> Any:
    """`a @ b` written for a compiler, `quick` if by oneDNN; NotImplemented where torch's own is as good.

    oneDNN reads the first by rows. Where it does not lie so, the smaller of the two is copied, which a compiler does
    in the pass that makes it.
    """
    (m, k), n = a.shape, b.shape[1]
    if k == 1:
        return a * b
    if n == 1:
        return (a * b.t()).sum(1, keepdim=True)
    if not quick or m == 1 or m * k * n <= _SMALL or a.dtype != torch.float32:
        return NotImplemented
    if a.is_contiguous() or m <= n:
        return torch.ops.ndl.by_rows.default(a.contiguous(), b.t())
    return torch.ops.ndl.by_rows.default(b.t().contiguous(), a).t().contiguous()


@cache
def quicker() -> bool:
    """Whether oneDNN can be had, is right, and takes less than 9/10 of the time of torch's own product."""
    a, b = torch.rand(512, 64), torch.rand(64, 512).t()
    try:
        apart = float((by_onednn(a, b) - by_torch(a, b)).abs().max())
        return apart < 1e-4 and _seconds(by_onednn, a, b) < 0.9 * _seconds(by_torch, a, b)
    except (AttributeError, RuntimeError, TypeError):  # not in this torch, not for this processor, or changed
        return False


def by_onednn(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b.T`. Whoever calls it has asked `quicker`."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b, None, "none", [], "")
    return found


def by_torch(a: Tensor, b: Tensor) -> Tensor:
    """The same."""
    return a @ b.t()


def _seconds(way: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    """The least of several times, since others use the processor too."""
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        way(a, b)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _shape(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[0])


_NAME = "ndl::by_rows"
torch.library.define(_NAME, "(Tensor a, Tensor b) -> Tensor", tags=(torch.Tag.flexible_layout,))
torch.library.impl(_NAME, "CPU", by_onednn)
torch.library.register_fake(_NAME, _shape)
