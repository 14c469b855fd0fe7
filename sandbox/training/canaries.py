"""Who is planted among the people, so that a training can be audited? Units that touch nobody's guarantee.

A canary is one more unit, drawn, clipped, summed, noised and divided as people are. Its gradient is a Dirac: far
longer than the clip, in one coordinate of its own that no model has. People's gradients are zero there, and a
canary's is zero in every weight. So the model's weights are distributed as without canaries, and each
person's part in what is released is the same (see gate/README.md).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sandbox.training.sampler import Whole

if TYPE_CHECKING:
    from torch import Tensor

NAME = "(canaries)"
"""What stands beside the names of weights; no weight of a record graph can be called this."""

LONGER = 8.0
"""How many times as long as the clip a canary's gradient is before clipping."""


@dataclass(frozen=True)
class Canaries:
    """`included[i]` says whether canary i is in the data: a fair coin, tossed before the training begins."""

    included: NDArray[np.bool_]

    @classmethod
    def planted(cls, count: int) -> Canaries:
        """Coins of the operating system."""
        coins = np.frombuffer(secrets.token_bytes(count), np.uint8) & 1
        return cls(coins.astype(bool))

    @classmethod
    def none(cls) -> Canaries:
        return cls(np.zeros(0, bool))

    def __len__(self) -> int:
        """How many coordinates there are: the included and the excluded."""
        return len(self.included)

    @property
    def units(self) -> int:
        """How many units join the people."""
        return int(self.included.sum())

    def clipped_sum(self, drawn: Whole, clip: float) -> Tensor:
        """[count]: the sum of the clipped gradients of the drawn ones, given by their place among the included."""
        import torch

        from sandbox.training.gradients import clip_factors

        length = torch.full((len(drawn),), LONGER * clip)
        places = torch.from_numpy(np.flatnonzero(self.included)[drawn])
        return torch.zeros(len(self)).index_add_(0, places, length * clip_factors(length.square(), clip))
