"""Is the noise that was added fresh, Gaussian, independent and as large as claimed, in every weight and step?

What was added is known inside the vault: noised minus clipped sums. Over its claimed deviation it must be
a standard normal number, independent in every coordinate of every weight tensor and every step. Each
statistic below has an exact distribution: given the one side of a product of independent Gaussian
vectors, the product over that side's length is standard normal.

This is what sees a noise / 1.05, noise forgotten for one tensor, repeated noise: canaries' scores alone do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

from sandbox.training.gate import tails
from sandbox.training.gate.check import Check
from sandbox.training.gate.tails import Numbers
from sandbox.training.resumable import Sums

_SLACK = 1e-3
"""Of a variance or a distribution function: rounding to a grid and to float32 is no fault."""
_KEPT = 1024
"""Coordinates of each step that are kept, to compare steps and tensors with one another."""
_KEPT_STEPS = 768
_MOST_TENSORS = 48
_LAGS = 8
_EDGES = np.arange(-220, 221) / 40
_FULL = 2**25
"""Coordinates looked at for shape and neighbours; every coordinate of every step counts for its size."""


class Residuals(Sums):
    """Watches the noise of one group of tensors over all steps."""

    _KEPT = (
        "_squares", "_totals", "_prints", "_recent", "_lagged", "_counts", "_near", "_across", "_rehearsed",
    )  # fmt: skip

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], steps: int, generator: np.random.Generator,
        rehearsal: Numbers | None = None,
    ) -> None:  # fmt: skip
        """`rehearsal`: what was kept of the first step of a rehearsal in this process, whose noise must be another."""
        self._generator, self._rehearsal = generator, rehearsal
        self._sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
        share = max(8, _KEPT // max(1, len(shapes)))
        self._kept = {name: min(size, share) for name, size in self._sizes.items()}
        looks = max(4, _FULL // max(1, sum(self._sizes.values())))
        self._look_rate = min(1.0, looks / max(1, steps))
        self._keep_rate = min(1.0, _KEPT_STEPS / max(1, steps))
        self._squares: list[list[float]] = []
        self._totals: list[list[float]] = []
        self._prints: list[Numbers] = []
        self._lagged = np.zeros((_LAGS, 2))
        self._recent: list[Numbers] = []
        self._counts = np.zeros(len(_EDGES) + 1, np.int64)
        self._pairs = [
            (name, lag)
            for name, shape in shapes.items()
            for lag in sorted({1, 2, shape[-1] if shape else 1})
            if self._sizes[name] >= 2 * lag
        ]
        self._near = np.zeros((len(self._pairs), 2))
        self._across = np.zeros((0, 2))
        self._rehearsed: list[float] = []
        self.first: Numbers = np.zeros(0)
        """What was kept of the first step in this process."""

    def note(self, noise: Mapping[str, Numbers]) -> None:
        """The noise of one step, over its claimed deviation, flat."""
        self._squares.append([float(noise[name] @ noise[name]) for name in self._sizes])
        self._totals.append([float(noise[name].sum()) for name in self._sizes])
        parts = [noise[name][: self._kept[name]] for name in self._sizes]
        self._compare(np.concatenate(parts))
        self._across_tensors(parts)
        if not self._look_rate < 1 or self._generator.random() < self._look_rate or not self._counts.any():
            self._look(noise)

    def _compare(self, kept: Numbers) -> None:
        if not len(self.first):
            self.first = kept
            if self._rehearsal is not None:
                self._rehearsed.append(_product(self._rehearsal, kept[: len(self._rehearsal)]))
        for lag, earlier in enumerate(reversed(self._recent)):
            self._lagged[lag] += _product(earlier, kept), 1
        self._recent = [*self._recent, kept][-_LAGS:]
        if len(self._prints) < _KEPT_STEPS // 2 or (
            len(self._prints) < _KEPT_STEPS and self._generator.random() < self._keep_rate
        ):
            self._prints.append(kept)

    def _across_tensors(self, parts: list[Numbers]) -> None:
        parts = parts[:_MOST_TENSORS]
        found = [
            (one[: len(other)] @ other[: len(one)], float(np.square(one[: len(other)]).sum()))
            for i, one in enumerate(parts)
            for other in parts[i + 1 :]
        ]
        if found:
            self._across = np.array(found) + (self._across if len(self._across) else 0.0)

    def _look(self, noise: Mapping[str, Numbers]) -> None:
        values = np.concatenate(list(noise.values()))
        values *= 40
        values += 221
        places = np.clip(values, 0, len(_EDGES), out=values).astype(np.int64)
        self._counts += np.bincount(places, minlength=len(self._counts))
        for sums, (name, lag) in zip(self._near, self._pairs, strict=True):
            blocks = len(noise[name]) // (2 * lag)
            halves = noise[name][: blocks * 2 * lag].reshape(blocks, 2, lag)
            sums += (halves[:, 0] * halves[:, 1]).sum(), np.square(halves[:, 0]).sum()

    def checks(self, touches: str, of: str) -> list[Check]:
        if not self._squares or not self._sizes:
            return []
        fresh = [self._repeats(), self._lags(), *(tails.normal(z) for z in self._rehearsed)]
        named = (
            ("size", self._size(), "has not the claimed size everywhere"),
            ("mean", self._mean(), "is not centred on nought"),
            ("freshness", tails.least(fresh), "repeats, or depends on earlier noise"),
            ("shape", self._shape(), "is not Gaussian"),
            ("neighbours", self._neighbours(), "is correlated between coordinates"),
            ("tensors", self._tensors(), "is correlated between weight tensors"),
        )
        return [Check(f"{of}: {n}", touches, p, f"the noise of {of} {words}") for n, p, words in named]  # type: ignore[arg-type]

    def _size(self) -> float:
        """All together, each tensor over all steps, each step, and each tensor in each step."""
        squares, sizes = np.array(self._squares), np.array(list(self._sizes.values()))
        steps, whole = len(squares), int(sizes.sum())
        together = tails.chi_squared(float(squares.sum()), whole * steps, _SLACK)
        tensors = [
            tails.chi_squared(float(s), int(n) * steps, _SLACK)
            for s, n in zip(squares.sum(0), sizes, strict=True)
        ]
        each_step = _least_of_chi_squared(squares.sum(1)[:, None], np.array([whole]))
        each = _least_of_chi_squared(squares, sizes)
        return tails.least([together, tails.least(tensors), each_step, each])

    def _mean(self) -> float:
        """Of everything, and of each step: a number added to all of a step's coordinates."""
        totals, whole = np.array(self._totals).sum(1), sum(self._sizes.values())
        of_steps = tails.chi_squared(float(np.square(totals).sum()) / whole, len(totals), _SLACK)
        return tails.least([tails.normal(float(totals.sum()) / (whole * len(totals)) ** 0.5), of_steps])

    def _repeats(self) -> float:
        """Every pair of the kept steps, however far apart."""
        prints = np.stack(self._prints)
        n = len(prints)
        if n < 2:
            return tails.SURE
        lengths = np.sqrt(np.square(prints).sum(1))
        products = np.triu(prints @ prints.T, 1) / np.maximum(lengths, 1e-300)[:, None]
        worst = tails.normal(float(np.abs(products).max()))
        return min(tails.SURE, worst + math.log10(n * (n - 1) / 2))

    def _lags(self) -> float:
        return tails.least([tails.normal(total / n**0.5) for total, n in self._lagged if n])

    def _shape(self) -> float:
        n = int(self._counts.sum())
        gaps = np.abs(np.cumsum(self._counts)[:-1] / n - ndtr(_EDGES))
        far = int(self._counts[np.append(_EDGES, np.inf) <= -3 + 1e-9].sum())
        return tails.least(
            [tails.uniform(float(gaps.max()) - _SLACK, n), _not_rarer(far, n, float(ndtr(-3.0)))]
        )

    def _neighbours(self) -> float:
        return tails.least([tails.normal(a / max(b, 1e-300) ** 0.5) for a, b in self._near])

    def _tensors(self) -> float:
        return tails.least([tails.normal(a / max(b, 1e-300) ** 0.5) for a, b in self._across])


def _product(one: Numbers, other: Numbers) -> float:
    return float(one @ other) / math.sqrt(max(float(one @ one), 1e-300))


def _not_rarer(count: int, n: int, rate: float) -> float:
    """Tails cut off; a grid may move the edge by a little, hence the slack."""
    return tails.binomial(count, n, rate * (1 - 20 * _SLACK)) if count < n * rate else tails.SURE


def _least_of_chi_squared(values: Numbers, freedoms: Numbers) -> float:
    """The least of many: only the most extreme of each column needs its tail."""
    found = [
        tails.chi_squared(float(value), int(freedom), _SLACK)
        for column, freedom in zip(values.T, freedoms, strict=True)
        for value in (column.min(), column.max())
    ]
    return min(0.0, min(found) + math.log10(values.size))
