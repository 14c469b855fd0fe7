"""How are weights learned without learning any one person? DP-SGD, written out: sample, clip, add noise.

Every step: draw units by Poisson sampling; take the gradient of every record by itself (Opacus);
average within a unit; clip each unit to `clip`; sum; add Gaussian noise of `noise_multiplier * clip`;
divide by the *expected* number of units. Nothing un-noised is kept or returned: no loss, no gradient
norm, no batch size.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows, Whole, draw

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sandbox.catalogue.inputs import Inputs

Progress = Callable[[int, int], None]
_GRADIENT_FLOATS = 2**22
"""Per-record gradients held at once: 16 MB, which stays near the processor."""


_KNOWN = (
    "Full backward hook is firing",
    "Secure RNG turned off",
    "Using a non-full backward hook",
    "Optimal order is the",
)


def fit(
    module: nn.Module,
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    plan: Plan,
    randomness: Randomness,
    progress: Progress | None = None,
) -> None:
    """Trains `module` in place; on return it has taken exactly `plan.steps` noisy steps.

    Raises NotImplementedError, before any step, for a module whose records are not independent
    (BatchNorm, buffers).
    """
    import torch

    with quiet_opacus():
        from opacus.grad_sample import GradSampleModule

        private = GradSampleModule(module, loss_reduction="sum")
        parameters = [p for p in private.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=plan.learning_rate)
        average = _TailAverage(parameters, first=plan.steps - int(plan.averaged * plan.steps))
        try:
            for step in range(plan.steps):
                drawn = draw(len(units), plan.sampling_rate, randomness.sampling)
                sums = clipped_sums(private, parameters, features, target, units, drawn, plan)
                for parameter, total in zip(parameters, sums, strict=True):
                    noise = gaussian(total, plan.noise_multiplier * plan.clip, randomness.noise)
                    parameter.grad = (total + noise) / plan.expected_batch
                optimiser.step()
                average.note(step + 1)
                if progress:
                    progress(step + 1, plan.steps)
            average.apply()
        finally:
            private.remove_hooks()


def clipped_sums(
    private: nn.Module,
    parameters: list[nn.Parameter],
    features: Mapping[str, Tensor],
    target: Tensor,
    units: UnitRows,
    drawn: Whole,
    plan: Plan,
) -> list[Tensor]:
    """For each parameter, the sum over the drawn units of their clipped mean gradients.

    Adding or removing one unit changes all of these together by at most `plan.clip` in norm.
    """
    import torch

    sums = [torch.zeros_like(p) for p in parameters]
    size = sum(p.numel() for p in parameters)
    at_once = max(1, _GRADIENT_FLOATS // max(1, size * plan.max_rows_per_unit))
    for start in range(0, len(drawn), at_once):
        rows, owners = units.rows(drawn[start : start + at_once])
        of_records = _record_gradients(private, parameters, features, target, rows, plan.loss)
        of_units = _unit_means(of_records, torch.from_numpy(owners))
        for total, clipped in zip(sums, _clipped_and_summed(of_units, plan.clip), strict=True):
            total += clipped.view_as(total)
    return sums


def made_up(inputs: Inputs, records: int) -> tuple[dict[str, Tensor], Tensor]:
    """Tensors in the shape of encoded records, from no data at all."""
    import torch

    features = {name: torch.full((records, *shape), 0.5) for name, shape in inputs.arrays.items()}
    features |= {
        name: torch.ones(records, length, dtype=torch.int64) for name, length in inputs.texts.items()
    }
    if inputs.numbers:
        features["numbers"] = torch.full((records, inputs.numbers), 0.5)
    if inputs.categories:
        features["categories"] = torch.ones(records, len(inputs.categories), dtype=torch.int64)
    kind = torch.float32 if inputs.kind == "regression" else torch.int64
    return features, torch.zeros(records, dtype=kind)


def gaussian(like: Tensor, deviation: float, generator: np.random.Generator) -> Tensor:
    """Fresh Gaussian noise in the shape of `like`, never from torch's global generator."""
    import torch

    return torch.from_numpy(generator.normal(0.0, deviation, tuple(like.shape))).to(like.dtype)


def loss_sum(logits: Tensor, target: Tensor, kind: str) -> Tensor:
    """The loss of some records, summed: logistic, softmax, or for regression smooth absolute error."""
    from torch.nn import functional as F

    if kind == "multiclass":
        return F.cross_entropy(logits, target, reduction="sum")
    single = logits.squeeze(1)
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(single, target.to(single.dtype), reduction="sum")
    return F.smooth_l1_loss(single, target, reduction="sum", beta=0.5)


@contextmanager
def quiet_opacus() -> Iterator[None]:
    """Silences what Opacus and torch always say here and nobody can act on (hooks, secure mode)."""
    with warnings.catch_warnings():
        for known in _KNOWN:
            warnings.filterwarnings("ignore", message=known)
        logging.getLogger("opacus").setLevel(logging.ERROR)
        yield


class _TailAverage:
    """The mean of the weights after step `first` and later: most of the noise averages out, at no cost."""

    def __init__(self, parameters: list[nn.Parameter], first: int) -> None:
        self._parameters, self._first, self._count = parameters, first, 0
        self._means: list[Tensor] = [p.detach().clone() for p in parameters]

    def note(self, step: int) -> None:
        if step < self._first:
            return
        self._count += 1
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean += (parameter.detach() - mean) / self._count

    def apply(self) -> None:
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            parameter.data.copy_(mean)


def _record_gradients(
    private: nn.Module,
    parameters: list[nn.Parameter],
    features: Mapping[str, Tensor],
    target: Tensor,
    rows: Whole,
    kind: str,
) -> list[Tensor]:
    """For each parameter one gradient a row; a row's gradient that is not finite becomes zero.

    Left alone, one infinite gradient would survive clipping (as NaN) and so betray its record.
    """
    import torch

    chosen = torch.from_numpy(rows)
    logits = private(**{name: tensor[chosen] for name, tensor in features.items()})
    loss_sum(logits, target[chosen], kind).backward()  # type: ignore[no-untyped-call]
    gradients = []
    for parameter in parameters:
        found = parameter.grad_sample  # type: ignore[attr-defined]
        gradients.append(found.flatten(1) if found is not None else torch.zeros(len(rows), parameter.numel()))
        parameter.grad_sample = parameter.grad = None  # type: ignore[attr-defined]
    finite = torch.isfinite(_squared_norms(gradients))
    if bool(finite.all()):
        return gradients
    return [torch.where(finite[:, None], g, torch.zeros(())) for g in gradients]


def _unit_means(gradients: list[Tensor], owners: Tensor) -> list[Tensor]:
    import torch

    counts = torch.bincount(owners)
    if len(counts) == len(owners):
        return gradients
    shares = (1 / counts)[owners][:, None]
    return [torch.zeros(len(counts), g.shape[1]).index_add_(0, owners, g * shares) for g in gradients]


def _clipped_and_summed(gradients: list[Tensor], clip: float) -> Iterator[Tensor]:
    factors = (clip / _squared_norms(gradients).sqrt().clamp_min(1e-12)).clamp_max(1.0)
    return (factors @ g for g in gradients)


def _squared_norms(gradients: list[Tensor]) -> Tensor:
    import torch

    return torch.stack([g.square().sum(1) for g in gradients]).sum(0)
