"""Which operators does torch do in a way that could betray a value? Here they are, written out safely.

No index is ever out of range (an error would tell one bit about a record): it is moved to the nearest
place that exists. Attention is its own definition. Dropout happens when we say so.
Parameters are named as in torch's own schemas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_PIECES = 4_096
_SHORT = 16


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    training: bool,
) -> Tensor:
    """Scaled dot-product attention by its definition: torch chooses among kernels, and some look at values."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
        scores = scores.masked_fill(seen.logical_not(), -math.inf)
    if attn_mask is not None:
        truths = attn_mask.dtype is torch.bool
        scores = torch.where(attn_mask, scores, -math.inf) if truths else scores + attn_mask
    return dropout(_softmax(scores), dropout_p, training=training) @ value


def _softmax(scores: Tensor) -> Tensor:
    """Over the last dimension; torch's own takes five times as long where that is short."""
    if scores.shape[-1] > _SHORT:
        return scores.softmax(-1)
    powers = (scores - scores.amax(-1, keepdim=True).detach()).exp()
    return powers / powers.sum(-1, keepdim=True)


def dropout(input: Tensor, p: float, *, training: bool) -> Tensor:
    """Dropout while training and only then, whatever the module was set to."""
    return F.dropout(input, p, training=True) if training and p > 0 else input


def feature_dropout(input: Tensor, p: float, *, training: bool) -> Tensor:
    """Drops whole channels (the second dimension) while training."""
    if not training or p == 0:
        return input
    mask = torch.ones_like(input[(slice(None), slice(None), *(slice(0, 1),) * (input.dim() - 2))])
    return input * F.dropout(mask, p, training=True)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One product of two matrices: torch's own goes record by record for views of another order.

    The bias is not added in place: a record may bring its own to a product that all records share.
    """
    answer = _product(input, weight)
    return answer if bias is None else answer + bias


def shared_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `linear`, with a bias that is no record's own, so that it can be added in place: a tenth of an MLP's time."""
    answer = _product(input, weight)
    return answer if bias is None else answer.add_(bias)


def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1) -> Tensor:
    """Rows of a table. The row `padding_idx` learns nothing."""
    rows: Tensor = torch.ops.aten.embedding.default(weight, _inside(indices, weight.shape[0]), padding_idx)
    return rows


def one_hot(self: Tensor, num_classes: int) -> Tensor:
    """A 1 in the place that the value names; all 0 when there is no such place."""
    return (self.unsqueeze(-1) == torch.arange(num_classes)).to(torch.int64)


def gather(self: Tensor, dim: int, index: Tensor) -> Tensor:
    return torch.gather(self, dim, _inside(index, self.shape[dim]))


def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
    return torch.index_select(self, dim, _inside(index, self.shape[dim]))


def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    return torch.scatter_add(self, dim, _inside(index, self.shape[dim]), src)


def index(self: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """`self[a, :, b]` with whole-number tensors; a negative index counts from the end."""
    if len(indices) > self.dim():
        raise IndexError("too many indices")
    safe = [
        None if i is None else _inside(torch.where(i < 0, i + size, i), size)
        for i, size in zip(indices, self.shape, strict=False)
    ]
    chosen: Tensor = torch.ops.aten.index.Tensor(self, safe)
    return chosen


def masked_fill(self: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    return torch.where(mask, value.to(self.dtype), self)


def fill(self: Tensor, value: Tensor) -> Tensor:
    """`value` in the shape and dtype of `self`."""
    return value.to(self.dtype).expand(self.shape)


def whole_max(self: Tensor) -> Tensor:
    """The largest of all: torch's own gradient of it asks whether a value is NaN."""
    return torch.amax(self)


def whole_min(self: Tensor) -> Tensor:
    return torch.amin(self)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: None,
    running_var: None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:
    """Each channel of one record scaled by its own mean and spread: a group norm with one channel a group."""
    return torch.group_norm(input, input.shape[1], weight, bias, eps, False)


def to_copy(self: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    return self.to(dtype or self.dtype, copy=True)


def repeat_interleave(self: Tensor, repeats: int, dim: int | None = None) -> Tensor:
    """Every element `repeats` times in a row."""
    if dim is None:
        self, dim = self.reshape(-1), 0
    dim %= self.dim()
    shape = list(self.shape)
    shape[dim] *= repeats
    repeated = self.unsqueeze(dim + 1).expand(*self.shape[: dim + 1], repeats, *self.shape[dim + 1 :])
    return repeated.reshape(shape)


def floor_divide(self: Tensor, other: Tensor | float) -> Tensor:
    """torch's own has no gradient; this one is zero, as it is of `floor`."""
    return torch.div(self, other, rounding_mode="floor")


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Every window of `size` along a dimension, as a last dimension; torch's own gradient has no batches."""
    dimension %= self.dim()
    starts = torch.arange(0, self.shape[dimension] - size + 1, step)
    places = (starts[:, None] + torch.arange(size)).reshape(-1)
    chosen = torch.index_select(self, dimension, places)
    shape = (*self.shape[:dimension], len(starts), size, *self.shape[dimension + 1 :])
    return chosen.reshape(shape).movedim(dimension + 1, -1)


def slice_scatter(
    self: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """`self` with a slice of it replaced; torch does not compare the shapes where tensors have no values."""
    if torch.ops.aten.slice.Tensor(self, dim, start, end, step).shape != src.shape:
        raise ValueError("a slice is replaced by something of another shape")
    written: Tensor = torch.ops.aten.slice_scatter.default(self, src, dim, start, end, step)
    return written


def select_scatter(self: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """`self` with one place of it replaced.

    By a slice of one: where every record brings its own `src`, torch 2.13 gives the gradient of it as many times as
    `self` has places.
    """
    size = self.shape[dim]
    if not -size <= index < size:
        raise IndexError("no such place")
    return slice_scatter(self, src.unsqueeze(dim), dim, index % size, index % size + 1)


def split(self: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    _few(-(-self.shape[dim] // split_size))
    return torch.split(self, split_size, dim)


def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    _few(min(chunks, self.shape[dim]))
    return torch.chunk(self, chunks, dim)


def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    _few(self.shape[dim])
    return torch.unbind(self, dim)


def item(of: Sequence[Tensor], index: int) -> Tensor:
    """One of the several results of an operator."""
    return of[index]


def _product(input: Tensor, weight: Tensor) -> Tensor:
    if weight.dim() != 2:
        raise ValueError("a weight of a linear layer has two dimensions")
    if input.dim() == 2:
        return torch.mm(input, weight.t())
    flat = torch.mm(input.reshape(-1, input.shape[-1]).contiguous(), weight.t())
    return flat.reshape(*input.shape[:-1], weight.shape[0])


def _inside(index: Tensor, size: int) -> Tensor:
    if size == 0:
        raise IndexError("there is nothing to choose from")
    return index.clamp(0, size - 1)


def _few(pieces: int) -> None:
    if pieces > MAX_PIECES:
        raise ValueError(f"more than {MAX_PIECES} pieces")
