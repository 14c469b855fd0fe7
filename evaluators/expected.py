"""How good is the model where outcomes are not known yet? An estimate, settled when they are: how often was it right?

The outcome's probability at each score is learnt on the reference wave (beta calibration: Kull, Silva Filho & Flach,
2017, with a weak prior towards what the model says), and the scores of this wave then say what AUC and accuracy to
expect, without any of its outcomes (confidence-based performance estimation). The interval holds what is not known of
that calibration and the luck of the outcomes to come; it does not hold a changed relation between scores and outcomes:
to that such an estimate is blind, and `relation_drift` looks for it once outcomes are there.

Where records have weights, calibration and estimate are those of the population which they stand for. Then, and where
people have several records, the interval is as much wider as that of the same figure on the reference wave is (its
design effect; evaluators.cases), and persons are counted for `too few`.

Settlement: for the records whose outcome is known, the estimate stands beside the truth (`_error`: estimate less truth,
its interval holds 0 where the truth lay within), and `_held` is the share of waves so far where it did. Of a
number nothing can be said without outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, stream, too_few
from evaluators.cases import Cases, share_variance
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from sandbox.records import Measurement
from sandbox.tally import Tally

Array = NDArray[Any]
DRAWS = 256
BINS = axes.GROUP_SCORE_BINS
PRIOR = np.array([0.0, 1.0, 1.0])
"""A model whose probabilities are right: no shift, and both slopes 1; each with standard deviation 1."""
UNSETTLED = "no outcomes yet"


@evaluator("expected", version=3, kinds={"binary", "multiclass"})
def expected(context: Context) -> Iterator[Measurement]:
    for name, metric in _METRICS[context.task.kind].items():
        yield from _measure(context, name, metric)


def _measure(context: Context, name: str, metric: Callable[[Array], Array]) -> Iterator[Measurement]:
    said = f"expected_{name}"
    names = (said, f"{said}_error", f"{said}_held")
    scores, kind = Cases.of(context.tally, "score"), context.task.kind
    if context.reference is None:
        yield from (Measurement(each, None, scores.n, status="reference") for each in names)
        return
    known = _known(context.reference, kind)
    if known.rarest < context.minimum:
        yield from (too_few(each, scores.n) for each in names)
        return
    fit, told = calibration(known.counts), independent(context.reference, kind, name)
    estimate = estimated(scores, fit, metric, told) if scores.units >= context.minimum else None
    yield of(said, estimate) if estimate else too_few(said, scores.n)
    settled = [
        (expected_there, truth)
        for there in (_known(tally, kind) for tally in (context.tally, *context.earlier))
        if (truth := _truth(there, name, metric, context.minimum)) is not None
        and (expected_there := estimated(_scores(there), fit, metric, told)) is not None
    ]
    now = _known(context.tally, kind)
    if _truth(now, name, metric, context.minimum) is None:
        yield Measurement(names[1], None, now.n, status=UNSETTLED)
    else:
        guess, truth = settled[0]
        yield of(names[1], Estimate(guess.value - truth, guess.low - truth, guess.high - truth, guess.n))
    if not settled:
        yield Measurement(names[2], None, 0, status=UNSETTLED)
        return
    held = sum(guess.low <= truth <= guess.high for guess, truth in settled)
    yield of(names[2], intervals.rate(held, len(settled)))


def calibration(counts: Array) -> tuple[Array, Array]:
    """How the log odds of the outcome follow from the score: coefficients of 1, ln p and -ln(1 - p), and their
    covariance, of counts of outcome x score bin; penalised towards PRIOR."""
    design, n, yes = _design(), counts.sum(axis=0).astype(float), counts[1].astype(float)
    beta, precision = PRIOR.copy(), np.eye(3)
    for _ in range(50):
        p = _chance(beta)
        information = (design * (n * p * (1 - p))) @ design.T + precision
        step = np.linalg.solve(information, design @ (yes - n * p) - precision @ (beta - PRIOR))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return beta, np.linalg.inv(information)


def independent(reference: Tally, kind: str, name: str) -> float:
    """How many independent records tell as much as one: less than 1 where people have several, or weights differ."""
    cases = Cases.of(reference, _TABLES[kind]).coarse()
    variance = curve.auc_variance if name == "auc" else partial(share_variance, _METRICS[kind][name])
    return float(cases.effective(_METRICS[kind][name], variance).sum() / cases.counts.sum())


def estimated(
    scores: Cases, fit: tuple[Array, Array], metric: Callable[[Array], Array], told: float = 1.0
) -> Estimate | None:
    """The metric to expect of records with these scores, each telling as much as `told` independent ones; None where
    it is not defined.

    The draws are a function of the scores and the calibration: the same ones, the same interval."""
    beta, covariance = fit
    rng = stream("expected", scores.records.tobytes(), beta.tobytes())
    drawn = _chance(rng.multivariate_normal(beta, covariance, DRAWS, method="eigh"))
    yes, weight = rng.binomial(scores.records, drawn), scores.counts / np.maximum(scores.records, 1)
    values = metric(np.stack([scores.records - yes, yes], axis=1) * weight)
    likely = scores.counts * _chance(beta)
    value = float(metric(np.stack([scores.counts - likely, likely])))
    spread, rarer = float(np.nanvar(values, ddof=1)), min(likely.sum(), (scores.counts - likely).sum())
    if not np.isfinite(value) or not np.isfinite(spread) or rarer < 2:
        return None
    return intervals.on_log_odds(value, spread / told, float(rarer) * told, scores.n)


def _chance(beta: Array) -> Array:
    """Of the outcome, at the middle of each bin; for each row of coefficients."""
    return np.asarray(1 / (1 + np.exp(-np.clip(beta @ _design(), -30, 30))))


def _design() -> Array:
    p = axes.score_values(BINS)
    return np.stack([np.ones(BINS), np.log(p), -np.log1p(-p)])


def _known(tally: Tally, kind: str) -> Cases:
    """Outcome x score of the records whose outcome is known; of several classes, whether the chosen one is right."""
    cases = Cases.of(tally, _TABLES[kind])
    records, counts = (part.reshape(2, BINS, -1).sum(axis=2) for part in (cases.records, cases.counts))
    return replace(cases, records=records, counts=counts)


def _scores(known: Cases) -> Cases:
    return Cases(known.records.sum(axis=0), known.counts.sum(axis=0))


def _truth(known: Cases, name: str, metric: Callable[[Array], Array], minimum: int) -> float | None:
    enough = known.rarest if name == "auc" else known.units
    return float(metric(known.counts)) if enough >= minimum else None


_TABLES = {"binary": "scores", "multiclass": "confidence"}
_METRICS: dict[str, dict[str, Callable[[Array], Array]]] = {
    "binary": {"auc": curve.auc, "accuracy": curve.accuracy},
    "multiclass": {"accuracy": curve.outcome_rate},
}
