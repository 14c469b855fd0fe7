"""Does the model hold up when its inputs get worse? Columns missing, noise within public bounds, categories swapped.

Of at most SAMPLE records of a wave (at random, by a seed that is a function of the records), each is given to the
model again with one column changed, of at most COLUMNS columns drawn for it: about as much work as asking about
SAMPLE x COLUMNS x 2 records. Both answers are about the same record, so that little data goes a long way: how many
decisions flip (exact interval), and what is lost: AUC (DeLong, paired), accuracy, or the root mean square error (of
the paired differences; what it was without change is taken as known). Records count alike whatever their weight;
of several of one person that stand together one is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, curve, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.challenger import paired_auc
from evaluators.discrimination import of, residual_values
from evaluators.intervals import Estimate
from evaluators.perturbations import Change, changed, changes, present
from evaluators.scoring import Batch
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

Array = NDArray[Any]
SAMPLE, COLUMNS = 4_000, 8
BINS, FINE_BINS = 32, 512
_AT_ONCE = 4_096
_SIDES = Axis("outcome", ("no", "yes", "unknown"))
_RIGHT = Axis("right", ("stays right", "becomes wrong", "becomes right", "stays wrong", "unknown"))
_FLIPPED = Axis("flipped", ("no", "yes"))
_WORSE = Axis("worse", tuple(str(at) for at in range(FINE_BINS)))


def count(batch: Batch) -> Tally:
    """Change x what became of the answer (see `_tables`)."""
    every = changes(batch.encoding)
    axis = Axis("change", tuple(change.label for change in every))
    which, rows, after = [np.zeros(0, int)], [np.zeros(0, int)], [batch.said[:0]]
    waiting, size = list[dict[str, Array]](), 0
    for number, picked in _plan(batch, every):
        part = {name: array[picked] for name, array in batch.features.items()}
        waiting.append(
            changed(part, batch.encoding, every[number], batch.rng(every[number].label, picked[0]))
        )
        which.append(np.full(len(picked), number))
        rows.append(picked)
        size += len(picked)
        if size >= _AT_ONCE:  # of a few records each, one question is cheaper than many
            after.append(_answers(batch, waiting))
            waiting, size = [], 0
    if waiting:
        after.append(_answers(batch, waiting))
    return Tally(_tables(batch, axis, np.concatenate(which), np.concatenate(rows), np.concatenate(after)))


def _plan(batch: Batch, every: tuple[Change, ...]) -> Iterator[tuple[int, Array]]:
    """Which change, and which records meet it, in portions."""
    if not len(batch.said):
        return
    columns = batch.encoding.feature_columns
    drawn = batch.rng("columns").random((len(batch.said), len(columns))) < COLUMNS / len(columns)
    for number, change in enumerate(every):
        there = present(batch.features, batch.encoding, change.column)
        meets = np.flatnonzero(drawn[:, columns.index(change.column)] & there)
        yield from ((number, meets[at : at + _AT_ONCE]) for at in range(0, len(meets), _AT_ONCE))


def _answers(batch: Batch, parts: list[dict[str, Array]]) -> Array:
    return batch.ask({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _tables(batch: Batch, axis: Axis, which: Array, rows: Array, after: Array) -> dict[str, Table]:
    """Binary: change x outcome x score bin before x after. Several classes: change x right before and after x
    flipped. A number: change x root of how far it moved, and change x signed root of how much the square error grew."""
    known = np.cumsum(batch.labelled) - 1
    labelled, before = batch.labelled[rows], batch.said[rows]
    outcome = batch.outcome[known[rows[labelled]]]
    kind = batch.encoding.task.kind
    if kind == "binary":
        side = np.full(len(rows), 2)
        side[labelled] = outcome
        bins = axes.score_axis(BINS)
        at = (axes.coarser(axes.score_positions(said), BINS) for said in (before, after))
        return {"robustness": Table.count([axis, _SIDES, bins, Axis("after", bins.labels)], which, side, *at)}
    if kind == "multiclass":
        chosen, now = before.argmax(axis=1), after.argmax(axis=1)
        right = np.full(len(rows), 4)
        wrong_before, wrong_after = chosen[labelled] != outcome, now[labelled] != outcome
        right[labelled] = np.where(wrong_before, np.where(wrong_after, 3, 2), wrong_after)
        return {
            "robustness": Table.count([axis, _RIGHT, _FLIPPED], which, right, (chosen != now).astype(int))
        }
    before, after = (np.clip(np.asarray(said, float), -1, 1) for said in (before, after))
    moved = axes.distance_positions(np.abs(after - before) / 2)
    worse = (after[labelled] - outcome) ** 2 - (before[labelled] - outcome) ** 2
    root = axes.uniform_positions(np.sign(worse) * np.sqrt(np.abs(worse)), -2, 2, FINE_BINS)
    return {
        "robustness:moved": Table.count([axis, axes.DISTANCE_AXIS], which, moved),
        "robustness:worse": Table.count([axis, _WORSE], which[labelled], root),
    }


@evaluator("robustness", version=1, tables=count, sample=SAMPLE)
def robustness(context: Context) -> Iterator[Measurement]:
    report = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[context.task.kind]
    name = "robustness:moved" if context.task.kind == "regression" else "robustness"
    for at, label in enumerate(context.tally[name].axes[0].labels):
        kind, _, column = label.partition(" ")
        yield from report(context, at, Change(kind, column))


def _binary(context: Context, at: int, change: Change) -> Iterator[Measurement]:
    counts = context.tally["robustness"].counts[at]
    n, half = int(counts.sum()), BINS // 2
    flips = int(counts[:, :half, half:].sum() + counts[:, half:, :half].sum())
    yield _rate(f"flips_{change.kind}", flips, n, context.minimum, change.column)
    joint = counts[:2]
    if joint.sum(axis=(1, 2)).min() < context.minimum:
        yield too_few(f"auc_fall_{change.kind}", int(joint.sum()), feature=change.column)
        return
    yield of(f"auc_fall_{change.kind}", paired_auc(joint), feature=change.column)


def _multiclass(context: Context, at: int, change: Change) -> Iterator[Measurement]:
    counts = context.tally["robustness"].counts[at]
    yield _rate(
        f"flips_{change.kind}", int(counts[:, 1].sum()), int(counts.sum()), context.minimum, change.column
    )
    by_right = counts[:4].sum(axis=1)
    n, lost, won = int(by_right.sum()), int(by_right[1]), int(by_right[2])
    name = f"accuracy_fall_{change.kind}"
    if n < context.minimum:
        yield too_few(name, n, feature=change.column)
        return
    fall = intervals.difference(intervals.rate(lost, n), intervals.rate(won, n))
    yield of(name, Estimate(fall.value, fall.low, fall.high, n), feature=change.column)


def _regression(context: Context, at: int, change: Change) -> Iterator[Measurement]:
    """In units of half the target's range, as the card's bounds give it."""
    moved, worse = (context.tally[f"robustness:{name}"].counts[at] for name in ("moved", "worse"))
    far = 2 * axes.distance_values()
    yield _mean(f"shift_{change.kind}", moved, far, context.minimum, change.column)
    root = (np.arange(FINE_BINS) + 0.5) * 4 / FINE_BINS - 2
    root[FINE_BINS // 2] = 0.0
    rise = _mean(f"rmse_rise_{change.kind}", worse, np.sign(root) * root**2, context.minimum, change.column)
    if rise.value is None or rise.low is None or rise.high is None:
        yield rise
        return
    residual = context.tally["residual"].counts
    base = float((residual * residual_values(len(residual)) ** 2).sum() / residual.sum())
    value, low, high = (max(base + d, 0) ** 0.5 - base**0.5 for d in (rise.value, rise.low, rise.high))
    yield of(rise.name, Estimate(value, low, high, rise.n), feature=change.column)


def _rate(name: str, cases: int, n: int, minimum: int, column: str) -> Measurement:
    return (
        of(name, intervals.rate(cases, n), feature=column)
        if n >= minimum
        else too_few(name, n, feature=column)
    )


def _mean(name: str, counts: Array, values: Array, minimum: int, column: str) -> Measurement:
    n = int(counts.sum())
    if n < minimum:
        return too_few(name, n, feature=column)
    value, variance, skew = curve.moments_of(counts, values)
    return of(name, intervals.mean(value, variance, n, skew=skew), feature=column)
