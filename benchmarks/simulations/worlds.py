"""Which truths are the intervals tried on? Known distributions over the cells of a table of counts.

A wave is a multinomial draw of n records over the cells, so every true value is known exactly and what the
bins lose is not mistaken for what chance does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from evaluators import axes, calibration, curve, discrimination, intervals, noisy, two_waves
from evaluators.cases import Cases, mean
from evaluators.intervals import Estimate

BINS = 1024
FINE = np.linspace(-5, 5, 4001)
Maker = Callable[[Any, np.random.Generator], Estimate | None]


@dataclass(frozen=True)
class World:
    """Probabilities of the cells, records in a wave, and for each figure its truth and its maker."""

    name: str
    cells: Any
    n: int
    figures: Mapping[str, tuple[float, Maker]]
    sigma: float = 0.0

    def draw(self, rng: np.random.Generator, times: int) -> Iterator[Any]:
        """Tables of counts, with noise of standard deviation `sigma` where there is any."""
        flat = np.flatnonzero(self.cells.ravel())
        p = self.cells.ravel()[flat] / self.cells.sum()
        for _ in range(times):
            counts = np.zeros(self.cells.size, np.int64)
            counts[flat] = rng.multinomial(self.n, p)
            counts = counts.reshape(self.cells.shape)
            yield np.rint(counts + rng.normal(0, self.sigma, counts.shape)) if self.sigma else counts


def worlds() -> Iterator[World]:
    yield from _binary_worlds()
    yield from _noisy_worlds()
    yield from _multiclass_worlds()
    yield from _regression_worlds()
    yield from _histogram_worlds()


def scored(base: float, spread: float, off: float, bins: int = BINS) -> Any:
    """Outcome x score: log odds are N(base, spread^2), those of the outcome lie `off` higher."""
    weight, logit = np.exp(-(FINE**2) / 2), base + spread * FINE
    at = np.searchsorted(axes.score_edges(bins)[1:-1], _expit(logit), side="right")
    happened = _expit(logit + off)
    cells = np.stack([np.bincount(at, weight * p, bins) for p in (1 - happened, happened)])
    return cells / cells.sum()


def _binary_worlds() -> Iterator[World]:
    makers: dict[str, tuple[Callable[[Any], Any], Maker]] = {
        "auc": (curve.auc, lambda c, g: discrimination.auc_of(Cases.plain(c), 10)),
        "average precision": (curve.average_precision, lambda c, g: _enough(c, discrimination.average_precision_of)),
        "log loss": (curve.log_loss, lambda c, g: discrimination.loss_of(Cases.plain(c), "log_loss")),
        "brier": (curve.brier, lambda c, g: discrimination.loss_of(Cases.plain(c), "brier")),
        "bias": (curve.calibration_bias, lambda c, g: calibration.bias(Cases.plain(c))),
        "slope": (_slope, lambda c, g: _enough(c, calibration.slope_of)),
        "f1": (curve.f1, lambda c, g: _f1(c)),
    }  # fmt: skip
    for base, spread, off, n in product(
        (-4.0, -2.5, -1.0, 0.5), (0.5, 1.0, 2.0), (0.0, 0.4), (100, 400, 1500, 10_000)
    ):
        cells = scored(base, spread, off)
        figures = {name: (float(truth(cells)), maker) for name, (truth, maker) in makers.items()}
        if spread == 1.0:
            figures["ece"] = (true_ece(cells), _ece)
        yield World(f"base={base:g} spread={spread:g} off={off:g} n={n}", cells, n, figures)


def _noisy_worlds() -> Iterator[World]:
    names = ("auc", "outcome_rate", "selection_rate", "tpr", "fpr", "accuracy", "calibration_bias")
    for bins, base, n, sigma in product((16, 32), (-2.5, -1.0), (1000, 4000, 20_000), (3.0, 10.0, 25.0)):
        fine = scored(base, 1.0, 0.2)
        cells = fine.reshape(2, bins, BINS // bins).sum(axis=-1)
        truths = {name: float(curve.METRICS[name](fine)) for name in names}
        figures = {f"noisy {name}": (truths[name], partial(_noisy, name, sigma)) for name in names}
        yield World(f"noise={sigma:g} bins={bins} base={base:g} n={n}", cells, n, figures, sigma)


def _multiclass_worlds() -> Iterator[World]:
    for right, n in product((0.5, 0.8, 0.95, 0.99), (60, 120, 300, 3000)):
        shares = np.array([0.6, 0.3, 0.1])
        cells = shares[:, None] * ((1 - right) / 2 + np.eye(3) * (right - (1 - right) / 2))
        hits = 2 * np.diag(cells) / (cells.sum(axis=0) + cells.sum(axis=1))
        yield World(f"right={right} n={n}", cells, n, {
            "macro f1": (float(hits.mean()), lambda c, g: discrimination.macro_f1_of(Cases.plain(c), 10)),
        })  # fmt: skip


def _regression_worlds() -> Iterator[World]:
    """Outcome (64 bins) x residual (1,024); `spread` of the residuals is the same, wider or narrower far out."""
    for error, shape, n in product((0.1, 0.3), ("even", "wider", "narrower"), (50, 300, 3000)):
        outcomes = (np.arange(64) + 0.5) / 32 - 1
        weight = np.exp(-(outcomes**2) / 2 / 0.4**2)
        far = {"even": np.ones(64), "wider": 0.3 + 2 * np.abs(outcomes), "narrower": 1.3 - np.abs(outcomes)}
        off = axes.residual_values(BINS)
        residual = np.exp(-((off - 0.02) ** 2) / 2 / (error * far[shape][:, None]) ** 2)
        residual *= np.diff(axes.root_edges(axes.RESIDUAL, BINS))
        cells = weight[:, None] * residual / residual.sum(axis=1, keepdims=True)
        cells /= cells.sum()
        square, mean = float((cells * off**2).sum()), float((cells.sum(axis=1) * outcomes).sum())
        variance = float((cells.sum(axis=1) * (outcomes - mean) ** 2).sum())
        yield World(f"error={error} {shape} n={n}", cells, n, {
            "mae": (float((cells * np.abs(off)).sum()), lambda c, g: _errors(c, np.abs)),
            "rmse": (square**0.5, lambda c, g: _root(c)),
            "r2": (1 - square / variance, lambda c, g: _r2(c)),
            "regression bias": (float((cells * off).sum()), lambda c, g: _errors(c, np.asarray)),
        })  # fmt: skip


def _histogram_worlds() -> Iterator[World]:
    """Two waves over 12 bins; `moved` of the records go from the first bin to the last."""
    q = np.array([0.2, *[0.07] * 10, 0.1])
    for reference, n, moved in product((1000, 6000, 50_000), (200, 1000, 20_000), (0.0, 0.02, 0.1)):
        p = q.copy()
        p[0], p[-1] = p[0] - moved, p[-1] + moved

        def maker(c: Any, g: np.random.Generator, m: int = reference) -> Estimate:
            return two_waves.distance(c, g.multinomial(m, q), g)

        yield World(f"reference={reference} n={n} moved={moved}", p, n, {"distance": (moved, maker)})


def _enough(counts: Any, make: Callable[[Cases], Estimate | None]) -> Estimate | None:
    return make(Cases.plain(counts)) if counts.sum(axis=1).min() >= 10 else None


def _f1(counts: Any) -> Estimate | None:
    return discrimination.f1_of(Cases.plain(counts), 10)


def _slope(cells: Any) -> float:
    estimate = calibration.slope_of(Cases.plain(cells * 1e6))
    assert estimate is not None
    return estimate.value


def _ece(counts: Any, rng: np.random.Generator) -> Estimate:
    return calibration._ece(calibration._tenths(counts), Cases.plain(counts), rng)


def true_ece(cells: Any) -> float:
    beyond = axes.score_values(BINS) * cells.sum(axis=0) - cells[1]
    return float(sum(abs(beyond[members].sum()) for members in calibration._tenths(cells)) / cells.sum())


def _noisy(name: str, sigma: float, counts: Any, _: np.random.Generator) -> Estimate | None:
    answer = dict(noisy._binary(noisy.Counts(counts, sigma, 10), (name,)))[name]
    return None if isinstance(answer, int) else answer(intervals.LEVEL)


def _errors(counts: Any, of: Callable[[Any], Any]) -> Estimate:
    residual = Cases.plain(counts.sum(axis=0))
    return mean(residual, lambda bins: of(axes.residual_values(bins)))


def _r2(counts: Any) -> Estimate | None:
    residual, outcome = counts.sum(axis=0), counts.sum(axis=1)
    both = counts.reshape(len(outcome), -1, 4).sum(axis=-1)
    return discrimination.r2_of(*(Cases.plain(c) for c in (residual, outcome, both)))


def _root(counts: Any) -> Estimate:
    e = _errors(counts, np.square)
    return Estimate(*(max(v, 0) ** 0.5 for v in (e.value, e.low, e.high)), e.n)


def _expit(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))
