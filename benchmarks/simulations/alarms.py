"""Does watching for ever keep its promise? False alarms where nothing changes, and days until a change is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators import curve, discrimination
from evaluators.cases import Cases
from evaluators.change import Check, mean_evidence, share_evidence
from evaluators.policy import Monitoring
from simulations.worlds import scored

STREAMS = 160
REFERENCE = 6_000
TOGETHER = 25
"""Streams that share a reference wave here; each batch draws its own."""


@dataclass(frozen=True)
class Quiet:
    """Streams in which nothing changes, for a year each."""

    what: str
    stream_years: int
    alarms: int
    declared: float | None
    """How many alarms the policy allows so many stream-years, at one a year for 160 streams; None where nothing is
    promised."""

    @property
    def missed(self) -> bool:
        return self.declared is not None and self.alarms > self.declared


@dataclass(frozen=True)
class Delay:
    """Checks from a change until the alarm; `least` is the median of who knows what the figure was and becomes."""

    what: str
    median: float
    least: float
    nine_in_ten: float
    never: int
    goal: float | None

    @property
    def missed(self) -> bool:
        return self.goal is not None and self.median > self.goal


def threshold(checks: int, streams: int = STREAMS) -> float:
    return Monitoring(checks_a_year=checks).threshold(streams)


def quiet_shares(stream_years: int, checks: int, n: int, seed: int = 1) -> Quiet:
    """Error rates of 5, 20 and 40 %; the reference wave of each batch is drawn, too."""
    rng, alarms, done = np.random.default_rng([seed, checks, n]), 0, 0
    while done < stream_years:
        p = (0.05, 0.2, 0.4)[done // TOGETHER % 3]
        cases = rng.binomial(n, p, (TOGETHER, checks))
        evidence = share_evidence(cases, np.full(checks, n), rng.binomial(REFERENCE, p), REFERENCE)
        alarms += int((evidence.max(axis=-1) >= threshold(checks)).sum())
        done += TOGETHER
    return Quiet(f"error rate, {checks} checks a year of {n:,}", done, alarms, done / STREAMS)


def quiet_means(stream_years: int, what: str, n: int, seed: int = 2) -> Quiet:
    """AUC or calibration bias of weekly waves, estimated with their variances from drawn records."""
    rng, alarms, checks = np.random.default_rng([seed, n]), 0, 52
    signs = (-1,) if what == "AUC" else (-1, 1)
    for _ in range(stream_years):
        before, *year = _estimates(what, rng, [REFERENCE, *[n] * checks])
        evidence = mean_evidence(
            np.array([c.value for c in year]), np.array([c.variance for c in year]), before, signs
        )
        alarms += int(evidence.max() >= threshold(checks))
    return Quiet(f"{what}, 52 checks a year of {n:,}", stream_years, alarms, stream_years / STREAMS)


def delays(streams: int, onset: int, p: float, goal: float | None, seed: int = 3) -> Delay:
    """A fall of accuracy by two points on day `onset`, at 1,000 labels a day among 160 streams."""
    rng, days, found = np.random.default_rng([seed, onset]), 150, []
    for _ in range(streams):
        cases = np.concatenate([rng.binomial(1000, p, onset), rng.binomial(1000, p + 0.02, days)])
        evidence = share_evidence(
            cases, np.full(len(cases), 1000), rng.binomial(REFERENCE, p), REFERENCE
        )  # fmt: skip
        over = np.flatnonzero(evidence[onset:] >= threshold(365))
        found.append(over[0] + 1 if len(over) else np.inf)
    median, late = (float(np.quantile(found, q, method="higher")) for q in (0.5, 0.9))
    what, never = f"2 points from an error rate of {p:.0%}, day {onset}", int(np.isinf(found).sum())
    return Delay(what, median, least_delay(p, onset), late, never, goal)


def least_delay(p: float, onset: int, streams: int = 4_000, seed: int = 4) -> float:
    """The median delay of the Shiryaev-Roberts detector that knows the rates before and after, at the same threshold:
    no other with as few false alarms is quicker on average (Pollak and Tartakovsky, Statistica Sinica 19 (2009))."""
    rng, evidence = np.random.default_rng([seed, onset]), np.zeros(streams)
    on_case, on_none = np.log((p + 0.02) / p), np.log((0.98 - p) / (1 - p))
    for day in range(onset + 365):
        cases = rng.binomial(1000, p if day < onset else p + 0.02, streams)
        evidence = np.where(
            (day > onset) & (evidence >= threshold(365)),
            np.inf,  # alarmed already
            (evidence + 1) * np.exp(cases * on_case + (1000 - cases) * on_none),
        )
        if day >= onset and np.median(evidence) >= threshold(365):
            return day - onset + 1
    return np.inf


def _estimates(what: str, rng: np.random.Generator, sizes: list[int]) -> Iterator[Check]:
    cells = scored(-1.0, 1.0, 0.2, 256)
    for n in sizes:
        counts = _draw(cells, n, rng)
        if what == "AUC":
            estimate = discrimination.auc_of(Cases.plain(counts), 1)
            assert estimate is not None
            yield Check(estimate.value, n, ((estimate.high - estimate.low) / 3.92) ** 2)
        else:
            _mean, variance, _skew = curve.moments(curve.smoothed(counts), "calibration_bias")
            yield Check(float(curve.calibration_bias(counts)), n, variance / n)


def _draw(cells: Any, n: int, rng: np.random.Generator) -> Any:
    return rng.multinomial(n, cells.ravel()).reshape(cells.shape)
