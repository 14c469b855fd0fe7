"""Does the model hold up when its inputs get worse? Columns missing, noise within public bounds, categories swapped.

Of at most SAMPLE records of a wave (at random, by a seed that is a function of the records), each is given to the
model again with one column changed, of at most COLUMNS columns drawn for it: about as much work as asking about
SAMPLE x COLUMNS x 2 records. Both answers are about the same record, so that little data goes a long way: how many
decisions flip (exact interval), and what is lost: AUC (DeLong, paired), accuracy, or the root mean square error (of
the paired differences; what it was without change is taken as known). Weighted records stand for their population, and
people with several tell less than others (evaluators.cases).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import axes, cases, intervals
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.challenger import auc_between_units, paired_auc
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from evaluators.perturbations import Change, changed, changes, present
from evaluators.scoring import REPLICATED, Batch, Places
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

Array = NDArray[Any]
SAMPLE, COLUMNS = 4_000, 8
BINS = 32
_AT_ONCE = 4_096
_OUTCOME = Axis("outcome", ("no", "yes"))
_RIGHT = Axis("right", ("stays right", "becomes wrong", "becomes right", "stays wrong"))
_FLIPPED = Axis("flipped", ("no", "yes"))


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
    """Change x what became of the answers about these rows; of two classes before and after together, or where there
    are replicates each by itself."""
    labelled = batch.labelled[rows]
    known, before, kind = rows[labelled], batch.said[rows], batch.encoding.task.kind
    outcome = batch.outcome[(np.cumsum(batch.labelled) - 1)[known]]
    every, of_known = (axis, which), (axis, which[labelled])
    if kind == "regression":
        before, after = (np.clip(np.asarray(said, float), -1, 1) for said in (before, after))
        worse = (after[labelled] - outcome) ** 2 - (before[labelled] - outcome) ** 2
        far = np.abs(after - before) / 2

        def moved(bins: int) -> Places:
            return [every, (axes.distance_axis(bins), axes.distance_positions(far, bins))]

        def grown(bins: int) -> Places:
            labels = tuple(str(at) for at in range(bins))
            return [of_known, (Axis("worse", labels), axes.root_positions(worse, 4, bins))]

        fine, joined = axes.DISTANCE_BINS, axes.DISTANCE_BINS // REPLICATED
        tables = batch.family("robustness:moved", moved(fine), rows, moved(joined))
        return tables | batch.family("robustness:worse", grown(fine), known, grown(joined))
    if kind == "multiclass":
        chosen, now = before.argmax(axis=1), after.argmax(axis=1)
        right = 2 * (chosen[labelled] != outcome) + (now[labelled] != outcome)
        tables = batch.family("robustness:right", [of_known, (_RIGHT, right)], known)
    else:
        chosen, now = before >= 0.5, after >= 0.5
        first, second = (
            (
                Axis(name, axes.score_axis(BINS).labels),
                axes.coarser(axes.score_positions(said[labelled]), BINS),
            )
            for name, said in (("before", before), ("after", after))
        )
        sides = (
            {"both": [first, second]} if batch.replicate is None else {"before": [first], "after": [second]}
        )
        tables = {}
        for name, scores in sides.items():
            tables |= batch.family(f"robustness:{name}", [of_known, (_OUTCOME, outcome), *scores], known)
    return tables | batch.family("robustness:flips", [every, (_FLIPPED, (chosen != now).astype(int))], rows)


@evaluator("robustness", version=2, tables=count, sample=SAMPLE)
def robustness(context: Context) -> Iterator[Measurement]:
    report = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[context.task.kind]
    name = "robustness:moved" if context.task.kind == "regression" else "robustness:flips"
    for at, label in enumerate(context.tally[name].axes[0].labels):
        kind, _, column = label.partition(" ")
        yield from report(context, at, Change(kind, column))


def _binary(context: Context, at: int, change: Change) -> Iterator[Measurement]:
    yield _flips(context, at, change)
    name = f"auc_fall_{change.kind}"
    if "robustness:both" in context.tally.tables:
        joint = context.tally["robustness:both"].counts[at]
        n, enough = int(joint.sum()), joint.sum(axis=(1, 2)).min() >= context.minimum
        fall = paired_auc(joint) if enough else None
    else:
        before, after = (
            Cases.of(context.tally, f"robustness:{side}").group(at) for side in ("before", "after")
        )
        n, enough = before.n, before.rarest >= context.minimum
        fall = auc_between_units(before, after) if enough else None
    yield of(name, fall, feature=change.column) if fall else too_few(name, n, feature=change.column)


def _multiclass(context: Context, at: int, change: Change) -> Iterator[Measurement]:
    yield _flips(context, at, change)
    right, name = Cases.of(context.tally, "robustness:right").group(at), f"accuracy_fall_{change.kind}"
    if right.units < context.minimum:
        yield too_few(name, right.n, feature=change.column)
        return
    lost, won = (cases.rate(right.part(partial(_of, place))) for place in (1, 2))
    apart = replace(intervals.difference(lost, won), n=right.n)
    fall = intervals.hull(apart, cases.mean(right, lambda _: np.array([0, 1, -1, 0])))
    yield of(name, fall, feature=change.column)


def _regression(context: Context, at: int, change: Change) -> Iterator[Measurement]:
    """In units of half the target's range, as the card's bounds give it."""
    moved, worse = (Cases.of(context.tally, f"robustness:{name}").group(at) for name in ("moved", "worse"))
    shift, rise = f"shift_{change.kind}", f"rmse_rise_{change.kind}"
    if moved.units < context.minimum:
        yield too_few(shift, moved.n, feature=change.column)
    else:
        yield of(shift, cases.mean(moved, lambda bins: 2 * axes.distance_values(bins)), feature=change.column)
    if worse.units < context.minimum:
        yield too_few(rise, worse.n, feature=change.column)
        return
    grown, residual = cases.mean(worse, _growth), Cases.of(context.tally, "residual").counts
    base = float((residual * axes.residual_values(len(residual)) ** 2).sum() / residual.sum())
    value, low, high = (max(base + d, 0) ** 0.5 - base**0.5 for d in (grown.value, grown.low, grown.high))
    yield of(rise, Estimate(value, low, high, grown.n), feature=change.column)


def _flips(context: Context, at: int, change: Change) -> Measurement:
    flips, name = Cases.of(context.tally, "robustness:flips").group(at), f"flips_{change.kind}"
    if flips.units < context.minimum:
        return too_few(name, flips.n, feature=change.column)
    return of(name, cases.rate(flips), feature=change.column)


def _of(place: int, counts: Array) -> Array:
    """How many are elsewhere, and here."""
    return np.stack([counts.sum(axis=-1) - counts[..., place], counts[..., place]], axis=-1)


def _growth(bins: int) -> Array:
    """How much the square error grew, for each bin of its signed root: not at all in the one that begins at 0."""
    edges = axes.root_edges(4, bins)
    middles = (edges[:-1] + edges[1:]) / 2
    middles[bins // 2] = 0.0
    return middles
