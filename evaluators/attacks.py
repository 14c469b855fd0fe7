"""How sure may an attacker be that a unit was in the training? Three scores from losses, one for each unit.

`loss`    the plain threshold: the lower the loss, the likelier a member (Yeom et al. 2018)
`lira`    LiRA offline (Carlini et al. 2022, section V-D): how far the confidence lies above what models give that
          never saw the record, in standard deviations; one deviation for all, as with fewer than 64 shadows
`rmia`    RMIA offline (Zarifzadeh et al. 2024): the likelihood of the record over its likelihood in general, that
          being (1 + a) / 2 times the mean of the shadows' plus (1 - a) / 2

RMIA compares this ratio with those of a population z, Pr_z(ratio_x >= gamma ratio_z). With one population for all x
that share rises with ratio_x, so whoever sweeps its threshold sweeps the ratio's: the ratio itself is the score.

A unit's likelihood is the product of its records'; its confidence the sum, over the root of how many they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sandbox.training.membership import Said

Floats = NDArray[Any]

SCALE = 0.8
"""RMIA's a. 1 is right where a record moves the model little, as in private training; 0.3 for models that learn
records by heart. Between the two nothing is lost on either (benchmarks/membership.py)."""

_LEAST = 1e-12  # shadows that all say the same


def loss(said: Said) -> Floats:
    total = _by_unit(said, losses(said.kind, said.model, said.target))
    return -total / np.bincount(said.owners)


def lira(said: Said) -> Floats:
    of_shadows = confidences(said.kind, said.shadows, said.target)
    deviation = np.sqrt(of_shadows.var(axis=0, ddof=1).mean())
    beyond = confidences(said.kind, said.model, said.target) - of_shadows.mean(axis=0)
    return _by_unit(said, beyond / max(float(deviation), _LEAST)) / np.sqrt(np.bincount(said.owners))


def rmia(said: Said, scale: float = SCALE) -> Floats:
    """The logarithm of the ratio."""
    out = np.exp(-losses(said.kind, said.shadows, said.target)).mean(axis=0)
    in_general = ((1 + scale) * out + (1 - scale)) / 2
    return _by_unit(said, -losses(said.kind, said.model, said.target) - np.log(in_general))


ATTACKS: dict[str, Callable[[Said], Floats]] = {"loss": loss, "lira": lira, "rmia": rmia}


def losses(kind: str, logits: NDArray[Any], target: NDArray[Any]) -> Floats:
    """[..., records]: minus the logarithm of the probability given to what happened. For numbers, of which a model
    gives no probability, the loss it was trained by: the square up to an error of 0.5, straight beyond."""
    if kind == "multiclass":
        return np.asarray(np.logaddexp.reduce(logits, axis=-1) - _own(logits, target))
    if kind == "binary":
        return np.asarray(np.logaddexp(0, -_sided(logits, target)))
    error = np.abs(logits[..., 0] - target)
    return np.asarray(np.where(error < 0.5, error**2, error - 0.25))


def confidences(kind: str, logits: NDArray[Any], target: NDArray[Any]) -> Floats:
    """[..., records]: the log odds of what happened, which vary like a Gaussian from training to training. For
    numbers minus the error's size: it varies as much as the prediction does."""
    if kind == "multiclass":
        others = np.where(np.arange(logits.shape[-1]) == target[:, None], -np.inf, logits)
        return np.asarray(_own(logits, target) - np.logaddexp.reduce(others, axis=-1))
    return _sided(logits, target) if kind == "binary" else -np.abs(logits[..., 0] - target)


def _own(logits: NDArray[Any], target: NDArray[Any]) -> Floats:
    places = np.broadcast_to(target[:, None], (*logits.shape[:-1], 1))
    return np.take_along_axis(logits, places, -1)[..., 0]


def _sided(logits: NDArray[Any], target: NDArray[Any]) -> Floats:
    return np.where(target == 1, logits[..., 0], -logits[..., 0])


def _by_unit(said: Said, values: Floats) -> Floats:
    return np.bincount(said.owners, weights=values)
