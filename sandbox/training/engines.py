"""How are the clipped gradients of many units summed? Two ways that give the same; the quicker is used.

`Plain` holds a gradient for every record. `Tapped` does so only for the weights that no tap covers
(sandbox.training.taps): one pass forward, one back, and memory near that of ordinary training. Both see
every record by itself, through `vmap`. The door to torch: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.func import vmap

from sandbox.training import taps
from sandbox.training.gradients import (
    chosen,
    clip_factors,
    flat,
    kept,
    kept_in_place,
    loss_of_one,
    record_gradients,
    squared_lengths,
    squared_norms,
)

if TYPE_CHECKING:
    from sandbox.submissions.graph.lift import Model

Sums = dict[str, Tensor]
_GRADIENT_FLOATS = 2**22
"""Gradients of single records held at once: 16 MB, which stays near the processor."""


class Engine(Protocol):
    records_at_once: int
    padded_to: int
    """How many records it wants to be given at least; 0 where any number will do."""

    def sums(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        owners: Tensor,
        clip: float,
    ) -> Sums:
        """For each weight the sum over units of the clipped mean of their records' gradients.

        `owners` says whose a record is, as 0, 1, 2 ... in order; records after the last of these are padding.
        Adding or removing a unit changes all sums together by at most `clip` in norm. A record whose gradient
        is not finite counts as zeros.
        """


def choose(model: Model, loss: str, *, training: bool = True, by: str = "taps") -> Engine:
    """`Tapped`, but for graphs with recurrent layers: theirs take one product over all steps in `Plain`.

    By "opacus", the peer of sandbox.training.by_opacus.
    """
    if by == "opacus":
        from sandbox.training.by_opacus import ByOpacus

        return ByOpacus(model, loss, training=training)
    recurrent = any(node.op in ("aten.gru.input", "aten.lstm.input") for node in model.graph.nodes)
    return (Plain if recurrent else Tapped)(model, loss, training=training)


def difference(
    model: Model, loss: str, features: Mapping[str, Tensor], target: Tensor, clip: float, by: str = "taps"
) -> float:
    """How far the chosen engine's sums are from those of `Plain`, over the largest of these; without dropout.

    Records are clipped and in units of one and, but for Opacus, of two.
    """
    n = len(target)
    apart = []
    engines = Plain(model, loss, training=False), choose(model, loss, training=False, by=by)
    for owners in (torch.arange(n), torch.arange(n) // 2)[: 1 if by == "opacus" else 2]:
        plain, quick = (e.sums(dict(model.weights), features, target, owners, clip) for e in engines)
        largest = max(float(total.abs().max()) for total in plain.values())
        apart += [float((quick[name] - plain[name]).abs().max()) / max(largest, 1e-6) for name in plain]
    return max(apart)


class Plain:
    """The reference: every record's whole gradient, as the definition of DP-SGD has it."""

    padded_to = 0

    def __init__(self, model: Model, loss: str, *, training: bool = True) -> None:
        self._model, self._loss, self._training = model, loss, training
        size = sum(weight.numel() for weight in model.weights.values())
        self.records_at_once = max(1, min(_GRADIENT_FLOATS // max(1, size), model.at_once))

    def sums(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        owners: Tensor,
        clip: float,
    ) -> Sums:
        gradients = record_gradients(
            self._model, features, target, self._loss, weights, training=self._training
        )
        gradients = _unit_means(gradients, owners)
        factors = clip_factors(squared_norms(gradients), clip)
        return {name: (factors @ flat(g)).view_as(weights[name]) for name, g in gradients.items()}


class Tapped:
    """Norms of whole gradients from what taps tell, then one product of matrices a layer."""

    padded_to = 0

    def __init__(self, model: Model, loss: str, *, training: bool = True) -> None:
        self._model, self._loss, self._training = model, loss, training
        shapes = model.shapes()
        self._taps = taps.find(model.graph, shapes)
        self._shapes = {tap.node: shapes[tap.node] for tap in self._taps}
        tapped = {name for tap in self._taps for name in (tap.weight, tap.bias)}
        self._rest = [name for name in model.trainable if name not in tapped]
        size = sum(model.weights[name].numel() for name in self._rest)
        self.records_at_once = max(1, min(_GRADIENT_FLOATS // max(1, size), model.at_once))

    def sums(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        owners: Tensor,
        clip: float,
    ) -> Sums:
        if len(owners) == int(owners[-1]) + 1:
            return self.single_sums(weights, features, target, None, clip)
        rest, pairs = self._backward(weights, features, target)
        finite, layout = torch.isfinite(_squares(rest, pairs)), _Layout(owners)
        rest = layout.means({name: kept(flat(g), finite) for name, g in rest.items()})
        pairs = {
            tap: layout.together(kept(back, finite), _cleared(came, finite, kept))
            for tap, (back, came) in pairs.items()
        }
        return self._clipped(weights, rest, pairs, None, clip)

    def single_sums(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        there: Tensor | None,
        clip: float | Tensor,
    ) -> Sums:
        """The sums where each record is a unit; those that are not `there` (true or false) count for nothing.

        With `there` it is written for a compiler.
        """
        return self._clipped(weights, *self._backward(weights, features, target), there, clip)

    def _clipped(
        self,
        weights: Mapping[str, Tensor],
        rest: Mapping[str, Tensor],
        pairs: Mapping[taps.Tap, taps.Pairs],
        there: Tensor | None,
        clip: float | Tensor,
    ) -> Sums:
        factors = clip_factors(_squares(rest, pairs), clip)
        clear, clear_own = kept, kept_in_place
        if there is not None:
            factors, clear, clear_own = factors * there, chosen, chosen
        keep = factors > 0
        sums = {name: (factors @ clear(flat(g), keep)).view_as(weights[name]) for name, g in rest.items()}
        for tap, (back, came) in pairs.items():
            scaled = clear_own(back * factors[:, None, None], keep)
            sums |= tap.sums((scaled, _cleared(came, keep, clear)), weights[tap.weight].shape)
        return {name: sums[name] for name in weights}

    def _backward(
        self, weights: Mapping[str, Tensor], features: Mapping[str, Tensor], target: Tensor
    ) -> tuple[Sums, dict[taps.Tap, taps.Pairs]]:
        """For each record its gradients, and pairs where these are smaller, from one pass for all.

        Each record has its own taps, and its own copy of the weights that no tap covers, so the gradient of
        the sum of all losses is every record's own.
        """
        n = len(target)
        shared: dict[str, Tensor | None] = {
            name: weights[name].detach() for name in weights if name not in self._rest
        }
        copies = {name: _repeated(weights[name].detach(), n) for name in self._rest}
        starts = {tap.node: tap.start(weights, self._shapes[tap.node]) for tap in self._taps}
        zeros = {node: _repeated(start.detach(), n) for node, start in starts.items()}
        shared |= {tap.bias: None for tap in self._taps if tap.bias}  # added by the tap
        losses, came = vmap(self._loss_of, in_dims=(None, 0, 0, 0, 0), randomness="different")(
            shared, copies, zeros, dict(features), target
        )
        found = torch.autograd.grad(
            losses.sum(), [*copies.values(), *zeros.values()], allow_unused=True, materialize_grads=True
        )
        back = dict(zip(zeros, found[len(copies) :], strict=True))
        whole, pairs = dict(zip(copies, found, strict=False)), {}
        for tap in self._taps:
            pair = tap.pairs(back[tap.node], came[tap.node].detach())
            of_records = tap.whole(pair, weights[tap.weight].shape)
            whole |= of_records
            if not of_records:
                pairs[tap] = pair
        return whole, pairs

    def _loss_of(
        self,
        shared: dict[str, Tensor | None],
        copies: dict[str, Tensor],
        zeros: dict[str, Tensor],
        record: dict[str, Tensor],
        target: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights: dict[str, Any] = {**shared, **copies}
        logits, given = self._model.tapped(weights, record, zeros, self._training)
        came = {tap.node: given[tap.node][tap.reads] for tap in self._taps}
        return loss_of_one(logits, target, self._loss), came


class _Layout:
    """Records of one unit side by side, as more places of one record, each counting for its share."""

    def __init__(self, owners: Tensor) -> None:
        self._owners = owners
        self._sizes = torch.bincount(owners)
        self._most = int(self._sizes.max())
        within = torch.arange(len(owners)) - (self._sizes.cumsum(0) - self._sizes)[owners]
        self._at = owners * self._most + within

    def means(self, gradients: Mapping[str, Tensor]) -> Sums:
        return _unit_means(dict(gradients), self._owners)

    def together(self, back: Tensor, came: Tensor) -> taps.Pairs:
        shares = (1 / self._sizes)[self._owners].view(-1, 1, 1)
        return self._spread(back * shares), self._spread(came)

    def _spread(self, values: Tensor) -> Tensor:
        units = len(self._sizes)
        spread = values.new_zeros(units * self._most, *values.shape[1:])
        spread[self._at] = values
        return spread.reshape(units, self._most * values.shape[1], *values.shape[2:])


def _squares(whole: Mapping[str, Tensor], pairs: Mapping[taps.Tap, taps.Pairs]) -> Tensor:
    squares = [squared_lengths(flat(g)) for g in whole.values()]
    return torch.stack([*squares, *(tap.squares(pair) for tap, pair in pairs.items())]).sum(0)


def _unit_means(gradients: dict[str, Tensor], owners: Tensor) -> dict[str, Tensor]:
    counts = torch.bincount(owners)
    if len(counts) == len(owners):
        return gradients
    shares = (1 / counts)[owners]
    return {
        name: torch.zeros(len(counts), *g.shape[1:]).index_add_(
            0, owners, g * shares.view(-1, *(1,) * (g.dim() - 1))
        )
        for name, g in gradients.items()
    }


def _repeated(values: Tensor, n: int) -> Tensor:
    return values.expand(n, *values.shape).requires_grad_()


def _cleared(came: Tensor, keep: Tensor, clear: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Places in a table need no clearing: what flowed back is zero."""
    return clear(came, keep) if came.is_floating_point() else came
