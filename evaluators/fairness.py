"""Does the model work as well for every group? Rates by group, the widest gap between two, and the worst group.

Groups are those of each sensitive column, and of each pair of them ("sex & town=female & Leeds"). A gap is the
difference of the two groups furthest apart. For each measure, the bounds of all its gaps hold at once, in
95 of 100 waves: the error is split evenly among the card's columns and pairs, and within each among all that is
compared (see intervals.worst_gap); so do those of the groups named worst. A group with too few cases is left out;
of a pair of columns only the few worst groups are measured one by one. Of several classes there are the rates of each
class against all others, too, as gaps and worst groups, and of groups with enough of every class the mean AUC of the
classes, each against all others. Of a number there are the mean absolute error and the mean error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    "macro_auc": "macro_auc_gap",
    "selection_rate": "selection_rate_gap",
    "tpr": "tpr_gap",
    "fpr": "fpr_gap",
    "ppv": "ppv_gap",
    "calibration_bias": "calibration_gap",
    "accuracy": "accuracy_gap",
    "mae": "mae_gap",
}
HEADLINES = {"binary": "auc", "multiclass": "accuracy", "regression": "mae"}
PAIR_GROUPS = 3
"""So many groups of a pair of columns are measured one by one: those with the worst of HEADLINES."""

Answers = dict[str, tuple[int, Leveled | None]]
"""Of each measure the number of records beneath it, and its estimate unless they are too few."""


@evaluator("groups", version=7)
def groups(context: Context) -> Iterator[Measurement]:
    pairs = [axes.PAIR.join(pair) for pair in axes.pairs(context.card)]
    level = 1 - (1 - intervals.LEVEL) / max(len(context.card.groups) + len(pairs), 1)
    for column in (*context.card.groups, *pairs):
        found = _answers(context, column)
        shown = _worst_few(found, HEADLINES[context.task.kind]) if column in pairs else found
        yield from _one_by_one(column, shown)
        yield from _apart(column, found, level)
        if context.task.kind == "multiclass":
            yield from _apart_by_class(context, column, level)


def _answers(context: Context, column: str) -> dict[str, Answers]:
    """Of each group of a column, or pair of columns, what is measured."""
    tables, measure = _MEASURED[context.task.kind]
    names = [f"{table}:{column}" for table in tables]
    found = [Cases.of(context.tally, name) for name in names]
    labels = context.tally[names[0]].axes[0].labels
    answers = {
        label: measure(*(each.group(at) for each in found), context.minimum)
        for at, label in enumerate(labels)
    }
    if context.task.kind == "multiclass":
        for of_group, auc in zip(answers.values(), _macro_aucs(context, column), strict=True):
            of_group["macro_auc"] = auc
    return answers


def _macro_aucs(context: Context, column: str) -> Iterator[tuple[int, Leveled | None]]:
    classes = context.tally[f"confusion:{column}"].axes[1].labels
    own = [Cases.of(context.tally, f"own by {column}:{name}") for name in classes]
    for group in range(len(own[0].records)):
        of_group = [each.group(group) for each in own]
        enough = min(each.rarest for each in of_group) >= context.minimum
        yield of_group[0].n, partial(_macro_auc, of_group) if enough else None


def _apart_by_class(context: Context, column: str, level: float) -> Iterator[Measurement]:
    """The gaps in the rates of each class against all others; bounds hold for all classes at once."""
    table = context.tally[f"confusion:{column}"]
    confusion, classes = Cases.of(context.tally, f"confusion:{column}"), table.axes[1].labels
    for at, name in enumerate(classes):
        found = {
            label: _rates(confusion.group(group).part(partial(_against_others, at)), context.minimum)
            for group, label in enumerate(table.axes[0].labels)
        }
        yield from _apart(column, found, 1 - (1 - level) / len(classes), name)


def _one_by_one(column: str, found: dict[str, Answers]) -> Iterator[Measurement]:
    for label, answers in found.items():
        for name, (n, estimate) in answers.items():
            group = f"{column}={label}"
            yield of(name, estimate(intervals.LEVEL), group=group) if estimate else too_few(name, n, group)


def _worst_few(found: dict[str, Answers], headline: str) -> dict[str, Answers]:
    """The few groups that the model serves worst."""
    values = {label: estimate(intervals.LEVEL).value for label, estimate in _known(found, headline).items()}
    ranked = sorted(values, key=lambda label: -_badness(headline, values[label]))
    return {label: found[label] for label in ranked[:PAIR_GROUPS]}


def _apart(column: str, found: dict[str, Answers], level: float, feature: str = "") -> Iterator[Measurement]:
    """Of each measure the widest gap and the worst group, with bounds that hold at this level for all groups."""
    measured = {name: 0 for answers in found.values() for name in answers if name in GAPS}
    for name in measured:
        known = _known(found, name)
        if len(known) < 2:
            n = sum(answers[name][0] for answers in found.values())
            yield too_few(GAPS[name], n, column, feature)
            continue
        yield of(GAPS[name], intervals.worst_gap(list(known.values()), level), column, feature)
        strict = 1 - (1 - level) / len(known)
        each = {label: estimate(strict) for label, estimate in known.items()}
        worst = max(each, key=lambda label: _badness(name, each[label].value))
        yield of(f"{name}_worst", each[worst], f"{column}={worst}", feature)


def _known(found: dict[str, Answers], name: str) -> dict[str, Leveled]:
    estimates = ((label, answers[name][1]) for label, answers in found.items() if name in answers)
    return {label: estimate for label, estimate in estimates if estimate is not None}


def _badness(name: str, value: float) -> float:
    """How much worse off than others a group is: least selected, most often wrongly selected, and so on."""
    if name == "calibration_bias":
        return abs(value)
    return value if name in ("fpr", "mae") else -value


def _binary(scores: Cases, minimum: int) -> Answers:
    return _rates(scores, minimum) | {
        "auc": (scores.n, partial(_auc, scores) if scores.rarest >= minimum else None),
        "calibration_bias": _if_enough(partial(calibration.bias, scores), scores, minimum),
    }


def _rates(scores: Cases, minimum: int) -> Answers:
    return {name: _rate(scores.part(cells), minimum) for name, cells in RATES.items()}


def _multiclass(confusion: Cases, confidence: Cases, minimum: int) -> Answers:
    return {
        "accuracy": _if_enough(partial(discrimination.accuracy_of, confusion), confusion, minimum),
        "calibration_bias": _if_enough(partial(calibration.bias, confidence), confidence, minimum),
    }


def _regression(residual: Cases, minimum: int) -> Answers:
    """In units of half the target's range, as the card's bounds give it."""
    return {
        "mae": _if_enough(partial(cases.mean, residual, discrimination.absolute), residual, minimum),
        "calibration_bias": _if_enough(
            partial(cases.mean, residual, axes.residual_values), residual, minimum
        ),
    }


def _against_others(at: int, confusion: Array) -> Array:
    """Several classes as two, all others and this: whether it happened x whether it was chosen."""
    whole, happened, chosen = (
        confusion.sum(axis=(-2, -1)),
        confusion[..., at, :].sum(axis=-1),
        confusion[..., at].sum(axis=-1),
    )
    both = confusion[..., at, at]
    sides = [[whole - happened - chosen + both, chosen - both], [happened - both, both]]
    return np.stack([np.stack(side, axis=-1) for side in sides], axis=-2)


def _if_enough(estimate: Leveled, beneath: Cases, minimum: int) -> tuple[int, Leveled | None]:
    return beneath.n, estimate if beneath.units >= minimum else None


def _rate(cells: Cases, minimum: int) -> tuple[int, Leveled | None]:
    return _if_enough(partial(cases.rate, cells), cells, minimum)


def _auc(scores: Cases, level: float) -> Estimate:
    estimate = discrimination.auc_of(scores, 0, level)
    assert estimate is not None  # the caller looked
    return estimate


def _macro_auc(own: list[Cases], level: float) -> Estimate:
    estimate = discrimination.macro_auc_of(own, 0, level)
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

_MEASURED: dict[str, tuple[tuple[str, ...], Callable[..., Answers]]] = {
    "binary": (("scores",), _binary),
    "multiclass": (("confusion", "confidence"), _multiclass),
    "regression": (("residual",), _regression),
}
"""For each kind of task the tables that are counted by group, and what is measured of a group's part of them."""
