"""What do the canaries tell of a training? (sandbox.training.canaries plants them.)

Of each coordinate it is known to the last detail what must come out of a step: a Gaussian about nought,
or about the clip where the coordinate's canary was drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.training.gate import lower_bounds, tails
from sandbox.training.gate.check import Check, exact
from sandbox.training.gate.tails import Numbers
from sandbox.training.resumable import Sums
from sandbox.training.sampler import Whole

_WANTED_LOOKS = 80_000
"""Coordinates times steps: half of them, of canaries left out, show a noise / 1.05 (see the README)."""
_FEWEST, _MOST = 1000, 8000


@dataclass(frozen=True)
class Bounds:
    """What guessing from the noised coordinates of so many steps proves, at 95 % confidence."""

    steps: int
    canaries: int
    guesses: int
    right: int
    formal: float
    gaussian: float


def how_many(steps: int) -> int:
    """Enough to see a small fault in few steps. A step pays for each about as for a weight."""
    return max(_FEWEST, min(_MOST, math.ceil(_WANTED_LOOKS / steps)))


class Scores(Sums):
    """Watches the canaries' coordinates, in multiples of the clip, and which canaries were drawn.

    `worth` is what a drawn canary adds: the clip, less what is left for rounding.
    """

    _KEPT = (
        "_steps", "_times", "_likelihood", "_out_squares", "_total", "_drawn_total", "_undrawn_total",
        "_left_out_drawn", "_worst_sum",
    )  # fmt: skip

    def __init__(self, included: NDArray[np.bool_], rate: float, noise: float, worth: float = 1.0) -> None:
        self._included, self._rate, self._noise, self._worth = included, rate, noise, worth
        self._steps = self._times = 0
        self._likelihood: Numbers = np.zeros(len(included))
        self._out_squares = self._total = self._drawn_total = self._undrawn_total = 0.0
        self._left_out_drawn = False
        self._worst_sum = 0.0

    def note(self, drawn: Whole, sums: Numbers, noised: Numbers) -> None:
        """`drawn` are places among all canaries; the other two hold one coordinate a canary."""
        self._steps += 1
        self._left_out_drawn |= not bool(self._included[drawn].all())
        was_drawn = np.zeros(len(self._included), bool)
        was_drawn[drawn] = True
        self._worst_sum = max(self._worst_sum, float(np.abs(sums - self._worth * was_drawn).max(initial=0.0)))
        self._times += int(was_drawn.sum())
        self._out_squares += float(np.square(noised[~self._included]).sum())
        self._total += float(noised[self._included].sum())
        self._drawn_total += float((noised[was_drawn] - self._worth).sum())
        self._undrawn_total += float(noised[self._included & ~was_drawn].sum())
        self._likelihood += np.logaddexp(
            math.log1p(-self._rate) if self._rate < 1 else -np.inf,
            math.log(self._rate) + (2 * noised - 1) / (2 * self._noise**2),
        )

    def checks(self) -> list[Check]:
        """Against the claimed rate and noise multiplier."""
        inside = int(self._included.sum())
        looks, outside = inside * self._steps, (len(self._included) - inside) * self._steps
        return [
            exact(
                "canaries: clip", self._worst_sum < 1e-4 and self._worth <= 1 and not self._left_out_drawn,
                "a canary that was drawn does not add exactly the clip, or one that was not adds something",
            ),
            Check(
                "canaries: noise", "canaries",
                tails.chi_squared(self._out_squares / self._noise**2, outside, 1e-3),
                "where no canary took part the noise has not the claimed size",
            ),
            Check(
                "canaries: rate", "canaries", tails.binomial(self._times, looks, self._rate),
                "canaries were drawn more or less often than claimed",
            ),
            Check(
                "canaries: bound", "canaries",
                tails.least(
                    [
                        tails.normal(total / (self._noise * max(1, n) ** 0.5))
                        for total, n in ((self._drawn_total, self._times), (self._undrawn_total, looks - self._times))
                    ]
                ),
                "a canary's noised coordinate is not centred on what it added",
            ),
            Check(
                "canaries: separation", "canaries",
                tails.sampled_gaussian(self._total / self._worth, looks, self._rate, self._noise / self._worth),
                "canaries that took part do not stand out as far as rate, steps and noise predict",
            ),
        ]  # fmt: skip

    def bounds(self, delta: float) -> Bounds:
        """Guesses in the order of the likelihood that a canary took part; as many of either kind."""
        n, separation = len(self._included), self._rate * self._steps**0.5 / self._noise
        guesses = lower_bounds.best_guesses(n, separation, delta)
        order = np.argsort(self._likelihood, kind="stable")
        half = guesses // 2
        right = int((~self._included[order[:half]]).sum() + self._included[order[n - half :]].sum())
        return Bounds(
            steps=self._steps,
            canaries=n,
            guesses=2 * half,
            right=right,
            formal=lower_bounds.formal(n, 2 * half, right, delta),
            gaussian=lower_bounds.gaussian(n, 2 * half, right, delta),
        )


def refutes(bounds: Bounds, epsilon: float, delta: float) -> Check:
    """Whether the guesses alone rule out the claimed guarantee."""
    p = lower_bounds.p_value(bounds.canaries, bounds.guesses, bounds.right, epsilon, delta)
    log10 = math.log10(p) if p > 0 else tails.NEVER
    return Check(
        "canaries: epsilon",
        "canaries",
        log10,
        "canaries are found more often than the claimed epsilon allows",
    )
