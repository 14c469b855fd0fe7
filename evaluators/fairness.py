"""Does the model work as well for every group? Rates by group, and the widest gap between two groups.

A gap is the difference of the two groups furthest apart, with bounds that hold for all pairs at once
(see intervals.worst_gap). Groups with too few cases are shown as such and left out of the gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import calibration, cases, curve, discrimination, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.discrimination import of
from evaluators.intervals import Estimate, Leveled
from sandbox.records import Measurement

Array = NDArray[Any]

GAPS = {
    "auc": "auc_gap",
    "selection_rate": "selection_rate_gap",
    "tpr": "tpr_gap",
    "fpr": "fpr_gap",
    "calibration_bias": "calibration_gap",
    "accuracy": "accuracy_gap",
}


@evaluator("groups", version=3, kinds={"binary", "multiclass"})
def groups(context: Context) -> Iterator[Measurement]:
    binary = context.task.kind == "binary"
    table_name = "scores" if binary else "confusion"
    for column in context.card.groups:
        table = Cases.of(context.tally, f"{table_name}:{column}")
        found: dict[str, list[Leveled]] = {}
        for at, label in enumerate(context.tally[f"{table_name}:{column}"].axes[0].labels):
            of_group = table.group(at)
            measure = _binary if binary else _accuracy
            for name, (n, estimate) in measure(of_group, context.minimum).items():
                if estimate is None:
                    yield too_few(name, n, group=f"{column}={label}")
                else:
                    yield of(name, estimate(intervals.LEVEL), group=f"{column}={label}")
                    found.setdefault(name, []).append(estimate)
        for name, gap in GAPS.items():
            if len(found.get(name, [])) >= 2:
                yield of(gap, intervals.worst_gap(found[name]), group=column)
            elif binary == (name != "accuracy"):
                yield too_few(gap, table.n, group=column)


def _binary(scores: Cases, minimum: int) -> dict[str, tuple[int, Leveled | None]]:
    auc, bias = discrimination.auc_of(scores, minimum), scores.units >= minimum
    return {name: _rate(scores.part(cells), minimum) for name, cells in _RATES.items()} | {
        "auc": (scores.n, partial(_auc, scores) if auc else None),
        "calibration_bias": (scores.n, partial(calibration.bias, scores) if bias else None),
    }


def _accuracy(confusion: Cases, minimum: int) -> dict[str, tuple[int, Leveled | None]]:
    enough = confusion.units >= minimum
    return {"accuracy": (confusion.n, partial(discrimination.accuracy_of, confusion) if enough else None)}


def _rate(cells: Cases, minimum: int) -> tuple[int, Leveled | None]:
    return cells.n, partial(cases.rate, cells) if cells.units >= minimum else None


def _auc(scores: Cases, level: float) -> Estimate:
    estimate = discrimination.auc_of(scores, 0, level)
    assert estimate is not None  # the caller looked
    return estimate


def _outcomes(counts: Array) -> Array:
    return np.asarray(counts.sum(axis=-1))


def _selections(counts: Array) -> Array:
    no, yes = curve.selected(counts)
    return no + yes


def _of_negatives(counts: Array) -> Array:
    return curve.selected(counts)[0]


def _of_positives(counts: Array) -> Array:
    return curve.selected(counts)[1]


def _of_selected(counts: Array) -> Array:
    return np.stack([side[..., 1] for side in curve.selected(counts)], axis=-1)


_RATES = {
    "outcome_rate": _outcomes,
    "selection_rate": _selections,
    "tpr": _of_positives,
    "fpr": _of_negatives,
    "ppv": _of_selected,
}
"""The cells (did not, did) that each rate is the share of."""
