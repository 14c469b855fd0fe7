"""Does the model work as well for every group? Rates by group, the widest gap between two, and the worst group.

Groups are those of each sensitive column, and of each pair of them ("sex & town=female & Leeds"). A gap is the
difference of the two groups furthest apart. For each measure, the bounds of all its gaps hold at once, in
95 of 100 waves: the error is split evenly among the card's columns and pairs, and within each among all that is
compared (see intervals.worst_gap); so do those of the groups named worst. A group with too few cases is left out;
of a pair of columns only the few worst groups are measured one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, calibration, cases, curve, discrimination, intervals
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
    "ppv": "ppv_gap",
    "calibration_bias": "calibration_gap",
    "accuracy": "accuracy_gap",
}
PAIR_GROUPS = 3
"""So many groups of a pair of columns are measured one by one: those with the lowest AUC or accuracy."""

Answers = dict[str, tuple[int, Leveled | None]]
"""Of each measure the number of records beneath it, and its estimate unless they are too few."""


@evaluator("groups", version=4, kinds={"binary", "multiclass"})
def groups(context: Context) -> Iterator[Measurement]:
    pairs = [axes.PAIR.join(pair) for pair in axes.pairs(context.card)]
    level = 1 - (1 - intervals.LEVEL) / max(len(context.card.groups) + len(pairs), 1)
    for column in context.card.groups:
        found = _answers(context, column)
        yield from _one_by_one(column, found)
        yield from _apart(column, found, level)
    for pair in pairs:
        found = _answers(context, pair)
        yield from _one_by_one(pair, _lowest(found))
        yield from _apart(pair, found, level)


def _answers(context: Context, column: str) -> dict[str, Answers]:
    """Of each group of a column, or pair of columns, what is measured."""
    base, measure = ("scores", _binary) if context.task.kind == "binary" else ("confusion", _accuracy)
    name = f"{base}:{column}"
    table, labels = Cases.of(context.tally, name), context.tally[name].axes[0].labels
    return {label: measure(table.group(at), context.minimum) for at, label in enumerate(labels)}


def _one_by_one(column: str, found: dict[str, Answers]) -> Iterator[Measurement]:
    for label, answers in found.items():
        for name, (n, estimate) in answers.items():
            group = f"{column}={label}"
            yield of(name, estimate(intervals.LEVEL), group=group) if estimate else too_few(name, n, group)


def _lowest(found: dict[str, Answers]) -> dict[str, Answers]:
    """The few groups that the model tells least about."""
    known = _known(found, "auc") | _known(found, "accuracy")
    values = {label: estimate(intervals.LEVEL).value for label, estimate in known.items()}
    return {label: found[label] for label in sorted(values, key=lambda label: values[label])[:PAIR_GROUPS]}


def _apart(column: str, found: dict[str, Answers], level: float) -> Iterator[Measurement]:
    """Of each measure the widest gap and the worst group, with bounds that hold at this level for all groups."""
    measured = {name: 0 for answers in found.values() for name in answers if name in GAPS}
    for name in measured:
        known = _known(found, name)
        if len(known) < 2:
            yield too_few(GAPS[name], sum(answers[name][0] for answers in found.values()), group=column)
            continue
        yield of(GAPS[name], intervals.worst_gap(list(known.values()), level), group=column)
        strict = 1 - (1 - level) / len(known)
        each = {label: estimate(strict) for label, estimate in known.items()}
        worst = max(each, key=lambda label: _badness(name, each[label].value))
        yield of(f"{name}_worst", each[worst], group=f"{column}={worst}")


def _known(found: dict[str, Answers], name: str) -> dict[str, Leveled]:
    estimates = ((label, answers[name][1]) for label, answers in found.items() if name in answers)
    return {label: estimate for label, estimate in estimates if estimate is not None}


def _badness(name: str, value: float) -> float:
    """How much worse off than others a group is: least selected, most often wrongly selected, and so on."""
    if name == "calibration_bias":
        return abs(value)
    return value if name == "fpr" else -value


def _binary(scores: Cases, minimum: int) -> Answers:
    return {name: _rate(scores.part(cells), minimum) for name, cells in RATES.items()} | {
        "auc": (scores.n, partial(_auc, scores) if scores.rarest >= minimum else None),
        "calibration_bias": (
            scores.n,
            partial(calibration.bias, scores) if scores.units >= minimum else None,
        ),
    }


def _accuracy(confusion: Cases, minimum: int) -> Answers:
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


RATES = {
    "outcome_rate": _outcomes,
    "selection_rate": _selections,
    "tpr": _of_positives,
    "fpr": _of_negatives,
    "ppv": _of_selected,
}
"""The cells (did not, did) that each rate is the share of."""
