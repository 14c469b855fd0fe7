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

from evaluators import calibration, discrimination, intervals
from evaluators.base import Context, evaluator, too_few
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


@evaluator("groups", version=2, kinds={"binary", "multiclass"})
def groups(context: Context) -> Iterator[Measurement]:
    binary = context.task.kind == "binary"
    table_name = "scores" if binary else "confusion"
    for column in context.card.groups:
        table = context.tally[f"{table_name}:{column}"]
        found: dict[str, list[Leveled]] = {}
        for label, counts in zip(table.axes[0].labels, table.counts, strict=True):
            estimates = _binary(counts, context.minimum) if binary else _accuracy(counts, context.minimum)
            for name, (n, estimate) in estimates.items():
                if estimate is None:
                    yield too_few(name, n, group=f"{column}={label}")
                else:
                    yield of(name, estimate(intervals.LEVEL), group=f"{column}={label}")
                    found.setdefault(name, []).append(estimate)
        for name, gap in GAPS.items():
            if len(found.get(name, [])) >= 2:
                yield of(gap, intervals.worst_gap(found[name]), group=column)
            elif binary == (name != "accuracy"):
                yield too_few(gap, table.total, group=column)


def _binary(counts: Array, minimum: int) -> dict[str, tuple[int, Leveled | None]]:
    half = counts.shape[1] // 2
    n, (no, yes) = int(counts.sum()), (int(c) for c in counts.sum(axis=1))
    missed, hits = int(counts[1, :half].sum()), int(counts[1, half:].sum())
    false_alarms = int(counts[0, half:].sum())
    return {
        "outcome_rate": _rate(yes, n, minimum),
        "selection_rate": _rate(hits + false_alarms, n, minimum),
        "tpr": _rate(hits, hits + missed, minimum),
        "fpr": _rate(false_alarms, no, minimum),
        "ppv": _rate(hits, hits + false_alarms, minimum),
        "auc": (n, partial(_auc, counts) if min(no, yes) >= minimum else None),
        "calibration_bias": (n, partial(calibration.bias, counts) if n >= minimum else None),
    }


def _accuracy(confusion: Array, minimum: int) -> dict[str, tuple[int, Leveled | None]]:
    return {"accuracy": _rate(int(np.trace(confusion)), int(confusion.sum()), minimum)}


def _rate(cases: int, n: int, minimum: int) -> tuple[int, Leveled | None]:
    return n, partial(intervals.rate, cases, n) if n >= minimum else None


def _auc(counts: Array, level: float) -> Estimate:
    estimate = discrimination.auc_of(counts, 0, level)
    assert estimate is not None  # the caller looked
    return estimate
