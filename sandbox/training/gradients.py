"""What would each record alone change? One gradient a record, from a graph that only ever sees one record.

Independence needs no inspection of the model: `vmap` runs the graph once for each record, and nothing
in a graph can be written or reach beyond the record it is given. The door to torch: import this inside
functions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

if TYPE_CHECKING:
    from sandbox.submissions.graph.lift import Model


def record_gradients(
    model: Model,
    features: Mapping[str, Tensor],
    target: Tensor,
    loss: str,
    weights: Mapping[str, Tensor] | None = None,
    *,
    training: bool = True,
) -> dict[str, Tensor]:
    """For each trainable weight one gradient a record, [records, *shape], at `weights` (else the model's own).

    A record whose gradient is not finite, or too long to square, gets zeros: left alone it would survive
    clipping as NaN and so betray itself. Dropout is on while `training`, drawn for each record.
    """

    def loss_of(learned: dict[str, Tensor], record: dict[str, Tensor], answer: Tensor) -> Tensor:
        return loss_of_one(model.one(learned, record, training=training), answer, loss)

    each = vmap(grad(loss_of), in_dims=(None, 0, 0), randomness="different")
    return _finite(each(dict(weights or model.weights), dict(features), target))


def loss_of_one(logits: Tensor, target: Tensor, kind: str) -> Tensor:
    """The loss of one record: logistic, softmax, or for regression smooth absolute error."""
    if kind == "multiclass":
        return logits.logsumexp(0) - logits.gather(0, target.unsqueeze(0)).squeeze(0)
    (single,) = logits.unbind()
    if kind == "binary":
        return F.softplus(single) - target * single  # torch's own takes thirty small steps under `vmap`
    return F.smooth_l1_loss(single, target, beta=0.5)


def squared_norms(gradients: Mapping[str, Tensor]) -> Tensor:
    """Of each record's (or unit's) gradient over all weights together."""
    return torch.stack([squared_lengths(flat(g)) for g in gradients.values()]).sum(0)


def squared_lengths(rows: Tensor) -> Tensor:
    """Of each row: one pass, no copy."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.square()


def clip_factors(squares: Tensor, clip: float | Tensor) -> Tensor:
    """What each of these squared norms is multiplied by so that its root is at most `clip`; 0 where not finite."""
    return (clip * squares.rsqrt()).clamp_max(1.0).nan_to_num(0.0)


def kept(values: Tensor, keep: Tensor) -> Tensor:
    """A copy with every bit of a record cleared that is not to keep, since NaN times 0 stays NaN.

    Twenty times quicker than choosing, and as quick whether a record is lost or not.
    """
    return values.contiguous().view(torch.int32).bitwise_and(_bits(keep, values)).view(values.dtype)


def kept_in_place(values: Tensor, keep: Tensor) -> Tensor:
    """The same in the values themselves, which nobody else may hold."""
    values.view(torch.int32).bitwise_and_(_bits(keep, values))
    return values


def chosen(values: Tensor, keep: Tensor) -> Tensor:
    """The same, for a compiler, which does it in the pass that makes the values."""
    return torch.where(keep.view(-1, *(1,) * (values.dim() - 1)), values, 0)


def flat(gradients: Tensor) -> Tensor:
    """One row a record, also of a weight that is a single number."""
    return gradients.reshape(len(gradients), -1)


def _bits(keep: Tensor, values: Tensor) -> Tensor:
    """All of them, or none."""
    return keep.to(torch.int32).neg().view(-1, *(1,) * (values.dim() - 1))


def _finite(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    finite = torch.isfinite(squared_norms(gradients))
    return {name: kept(flat(g), finite).view(g.shape) for name, g in gradients.items()}
