"""Which truths are the intervals tried on where records weigh differently, or several are of one person?

A crowd is a fixed population of people, each with some records, so that every true value is known exactly. A wave
draws people from it with replacement, by chances that depend on their scores, and weighs each by one over its
chance. A part of what is random in a record is its person's, so that it says less than a record of somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from evaluators import axes, calibration, cases, curve, discrimination, fairness, units
from evaluators.cases import Cases
from evaluators.intervals import Estimate
from simulations.worlds import true_ece

PEOPLE = 20_000
Tables = Mapping[str, Cases]
Figure = tuple[Callable[[Mapping[str, Any]], float], Callable[[Tables, np.random.Generator], Estimate | None]]


@dataclass(frozen=True)
class Crowd:
    """`alike` of the variance of a record is its person's; weights spread like exp(`uneven` x a normal); `n` people
    are drawn for a wave, with `rows` records each on average."""

    kind: str
    rows: int
    alike: float
    uneven: float
    base: float
    n: int

    @property
    def name(self) -> str:
        how = f"rows={self.rows} alike={self.alike:g} uneven={self.uneven:g}"
        return f"people {self.kind} base={self.base:g} {how} n={self.n}"

    @cached_property
    def figures(self) -> dict[str, tuple[float, Any]]:
        whole = {
            name: np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
            for name, (shape, _, cell) in self._tables.items()
        }
        return {name: (float(truth(whole)), make) for name, (truth, make) in _FIGURES[self.kind].items()}

    def draw(self, rng: np.random.Generator, times: int) -> Iterator[Tables]:
        """The tables of so many waves, with what stands behind them."""
        chance = 1 / self._weights
        for _ in range(times):
            drawn = rng.choice(PEOPLE, self.n, p=chance / chance.sum())
            rows = self._rows[drawn]
            first = np.repeat(self._rows.cumsum()[drawn] - rows - (rows.cumsum() - rows), rows)
            record = first + np.arange(rows.sum())
            replicate = np.repeat(rng.integers(0, units.REPLICATES, self.n), rows)
            weight = np.repeat(self._weights[drawn], rows) if self.uneven else None
            yield {
                name: _counted(shape, width, cell[record], replicate, weight)
                for name, (shape, width, cell) in self._tables.items()
            }

    def _rng(self, purpose: int) -> np.random.Generator:
        """The same people whatever the size of the wave and whatever is asked first."""
        return np.random.default_rng([7, purpose, *self.name.rpartition(" ")[0].encode()])

    @cached_property
    def _rows(self) -> Any:
        return self._rng(0).integers(1, 2 * self.rows, PEOPLE)

    @cached_property
    def _latent(self) -> Any:
        """Three normal variates for each record."""
        own, theirs = (
            self._rng(at).normal(size=(3, size)) for at, size in ((1, self._rows.sum()), (2, PEOPLE))
        )
        return np.sqrt(self.alike) * theirs.repeat(self._rows, axis=1) + np.sqrt(1 - self.alike) * own

    @cached_property
    def _weights(self) -> Any:
        """In steps; in part they go with the scores."""
        first = self._latent[0][self._rows.cumsum() - self._rows]
        raw = np.exp(self.uneven * (first + np.sqrt(3) * self._rng(3).normal(size=PEOPLE)) / 2)
        raw = np.clip(raw, raw.mean() / 20, raw.mean() * 20)
        return np.maximum(np.rint(raw / raw.max() * units.WEIGHT_STEPS), 1)

    @cached_property
    def _tables(self) -> dict[str, tuple[tuple[int, ...], int, Any]]:
        """By name the shape, how many cells of the last axis the replicates join, and each record's cell."""
        x, u, v = self._latent
        if self.kind == "binary":
            said = _expit(self.base + 1.2 * x)
            outcome = u < _quantile(_expit(self.base + 1.2 * x + 0.3))
            return {"scores": ((2, 1024), 4, outcome * 1024 + axes.score_positions(said))}
        if self.kind == "multiclass":
            happened = np.digitize(x, [self.base, 1.2])
            predicted = np.digitize(0.9 * x + 0.6 * u, [self.base, 1.2])
            return {"confusion": ((3, 3), 1, happened * 3 + predicted)}
        outcome = np.clip(0.35 * x, -0.999, 0.999)
        off = np.clip(0.02 + 0.12 * u * np.exp(0.4 * v), -1, 1)
        happened = ((outcome + 1) * 32).astype(int)
        residual = axes.root_positions(off, axes.RESIDUAL, 1024)
        return {
            "outcome": ((64,), 1, happened),
            "residual": ((1024,), 4, residual),
            "outcome & residual": ((64, 256), 4, happened * 256 + residual // 4),
        }


def crowds() -> Iterator[Crowd]:
    how = ((4, 0.05, 0.0), (4, 0.6, 0.0), (1, 0.0, 0.5), (1, 0.0, 1.0), (3, 0.6, 0.7))
    for (rows, alike, uneven), n in product(how, (60, 250, 1500)):
        yield Crowd("binary", rows, alike, uneven, -2.5, n)
        yield Crowd("binary", rows, alike, uneven, -0.5, n)
        yield Crowd("multiclass", rows, alike, uneven, -0.3, n)
        yield Crowd("regression", rows, alike, uneven, 0.0, n)


def _counted(shape: tuple[int, ...], width: int, cell: Any, replicate: Any, weight: Any) -> Cases:
    size, wide = int(np.prod(shape)), (*shape[:-1], shape[-1] // width)
    records, counts = (np.bincount(cell, w, size).reshape(shape) for w in (None, weight))
    joined = int(np.prod(wide))
    replicates = np.bincount(replicate * joined + cell // width, weight, units.REPLICATES * joined)
    scaled = records if weight is None else counts * (records.sum() / counts.sum())
    return Cases(records, scaled, replicates.reshape(units.REPLICATES, *wide), weight is not None)


def _curve(name: str, make: Callable[[Cases], Estimate | None]) -> Figure:
    return lambda whole: float(curve.METRICS[name](whole["scores"])), lambda wave, _: make(wave["scores"])


def _rate(name: str) -> Figure:
    return _curve(name, lambda c: _enough(c.part(fairness.RATES[name]), cases.rate))


def _enough(c: Cases, make: Callable[[Cases], Estimate | None]) -> Estimate | None:
    return make(c) if c.units >= 10 else None


def _both(make: Callable[[Cases], Estimate | None]) -> Callable[[Cases], Estimate | None]:
    return lambda c: make(c) if c.rarest >= 10 else None


def _ece(wave: Tables, rng: np.random.Generator) -> Estimate:
    coarse = wave["scores"].coarse()
    return calibration._ece(calibration._tenths(coarse.counts), coarse, rng)


def _mean(of: Callable[[Any], Any]) -> Figure:
    def terms(bins: int) -> Any:
        return of(axes.residual_values(bins))

    return (
        lambda whole: float((whole["residual"] * terms(1024)).sum() / whole["residual"].sum()),
        lambda wave, _: cases.mean(wave["residual"], terms),
    )


def _true_r2(whole: Mapping[str, Any]) -> float:
    middles, outcome = (np.arange(64) + 0.5) / 32 - 1, whole["outcome"]
    mean = float((outcome * middles).sum() / outcome.sum())
    variance = float((outcome * (middles - mean) ** 2).sum() / outcome.sum())
    return 1 - _mean(np.square)[0](whole) / variance


_FIGURES: dict[str, dict[str, Figure]] = {
    "binary": {
        "auc": _curve("auc", lambda c: discrimination.auc_of(c, 10)),
        "average precision": _curve("average_precision", _both(discrimination.average_precision_of)),
        "accuracy": _curve("accuracy", lambda c: cases.rate(c.part(discrimination.wrong_and_right))),
        "f1": _curve("f1", lambda c: discrimination.f1_of(c, 10)),
        "log loss": _curve("log_loss", lambda c: discrimination.loss_of(c, "log_loss")),
        "brier": _curve("brier", lambda c: discrimination.loss_of(c, "brier")),
        "bias": _curve("calibration_bias", calibration.bias),
        **{name.replace("_", " "): _rate(name) for name in fairness.RATES},
        "slope": (
            lambda whole: float(calibration._slopes(whole["scores"])),
            lambda wave, _: _both(calibration.slope_of)(wave["scores"]),
        ),
        "ece": (lambda whole: true_ece(whole["scores"]), _ece),
    },
    "multiclass": {
        "accuracy": (
            lambda whole: float(np.trace(whole["confusion"]) / whole["confusion"].sum()),
            lambda wave, _: discrimination.accuracy_of(wave["confusion"]),
        ),
        "macro f1": (
            lambda whole: float(discrimination._mean_f1(whole["confusion"])),
            lambda wave, _: discrimination.macro_f1_of(wave["confusion"], 10),
        ),
    },
    "regression": {
        "mae": _mean(np.abs),
        "square error": _mean(np.square),
        "regression bias": _mean(np.asarray),
        "r2": (
            _true_r2,
            lambda wave, _: discrimination.r2_of(
                *(wave[n] for n in ("residual", "outcome", "outcome & residual"))
            ),
        ),
    },
}


def _expit(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _quantile(p: Any) -> Any:
    from scipy.special import ndtri

    return ndtri(p)
