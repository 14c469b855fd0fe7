"""Is the challenger better than the champion? One paired test, declared before the wave arrives, run once.

A test that is chosen, repeated or moved after the records are seen finds a winner by luck. So a named person
declares it beforehand; it belongs to the first wave of the dataset that arrives afterwards; it is run on that
wave before anything else is evaluated there; and its result is stored once and never changes. Both models are
asked about the same records, and their answers compared record by record, which takes far fewer records. Where
records weigh differently, or several are of one person, the error is that between persons (evaluators.units).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from evaluators import curve, scoring, units
from evaluators.axes import GROUP_SCORE_BINS, coarser, score_positions
from evaluators.cases import Cases
from evaluators.counting import OF_THE_MACHINE
from evaluators.intervals import Estimate, mean, t_of
from evaluators.scoring import Batch
from evaluators.tallies import Tallies, unchanged
from sandbox.errors import Refused
from sandbox.lifecycle import Standing, WaveState
from sandbox.records import Comparison, ComparisonResult, Event, ModelVersion, Wave
from sandbox.roles import Person, Role, must_not_be_own
from sandbox.storage import Store, Transaction

Array = NDArray[Any]
MEASURES = {"binary": "auc", "multiclass": "accuracy", "regression": "mae"}
MINIMUM = 10


def declare(
    store: Store, challenger: str, champion: str, kind: str, person: Person, reason: str
) -> Comparison:
    """Declares the one test of a challenger against a champion, on the next wave that arrives.

    Raises Refused for another dataset or task, a retired or suspended version, the person's own model, no
    reason, or a test of the two that is declared already and has no result.
    """
    person.must_be(Role.OVERSEER, to="declare a test of a challenger")
    reason = reason.strip()
    if not reason:
        raise Refused("A declaration needs a reason, which is kept.")
    with store.transaction() as tx:
        new, old = tx.get(ModelVersion, challenger), tx.get(ModelVersion, champion)
        must_not_be_own(person, [new.developer, old.developer], to="declare its test")
        if new.id == old.id or (new.dataset, new.task) != (old.dataset, old.task):
            raise Refused("A test compares two different versions of the same dataset and task.")
        for version in (new, old):
            if version.standing in (Standing.RETIRED, Standing.SUSPENDED):
                raise Refused(f"{version.id} is {version.standing} and takes no part in a test.")
        if any((c.challenger, c.champion) == (new.id, old.id) for c in waiting(tx, new.dataset)):
            raise Refused(f"A test of {new.id} against {old.id} is declared already and waits for its wave.")
        made = Comparison(
            secrets.token_hex(8),
            new.id,
            old.id,
            new.dataset,
            MEASURES[kind],
            reason,
            person.name,
            store.clock(),
        )
        details = {"challenger": new.id, "champion": old.id, "measure": made.measure}
        tx.add(made, Event(person.name, "comparison.declare", made.id, reason, details))
    return made


def waiting(view: Transaction, dataset: str) -> list[Comparison]:
    """The declared tests without a result."""
    done = {result.id for result in view.all(ComparisonResult)}
    return [c for c in view.all(Comparison, dataset=dataset) if c.id not in done]


def wave_of(declared_at: datetime, waves: list[Wave]) -> Wave | None:
    """The first accepted wave that arrived after the declaration: its only chance."""
    later = [w for w in waves if w.state is WaveState.ACCEPTED and w.arrived_at > declared_at]
    return min(later, key=lambda w: (w.arrived_at, w.day, w.id), default=None)


def run_first(store: Store, tallies: Tallies, wave: Wave, by: str) -> list[ComparisonResult]:
    """Runs the tests that were declared for this wave and have no result; asking again does nothing."""
    with store.reading() as view:
        declared, waves = waiting(view, wave.dataset), view.all(Wave, dataset=wave.dataset)
        mine = [c for c in declared if (own := wave_of(c.declared_at, waves)) and own.id == wave.id]
        pairs = [(c, view.get(ModelVersion, c.challenger), view.get(ModelVersion, c.champion)) for c in mine]
    made = []
    for declared_one, challenger, champion in pairs:
        result = _result(declared_one, tallies, challenger, champion, wave, store.clock())
        details = {"status": result.status, "wave": wave.id}
        event = Event(by, "comparison.finish", declared_one.id, "declared beforehand", details)
        with suppress(IntegrityError), store.transaction() as tx:  # another worker was first
            tx.add(result, event)
            made.append(result)
    return made


def words(result: ComparisonResult, declared: Comparison) -> str:
    """What the test said, in one of three answers."""
    pair = f"{declared.challenger} against {declared.champion} on {result.wave}"
    if result.value is None or result.low is None or result.high is None:
        return f"{pair}: {result.status}. The test is spent; declare another for the next wave."
    size = f"{declared.measure} {result.value:+.4f} (95 % interval {result.low:+.4f} to {result.high:+.4f})"
    better = result.low > 0 if declared.measure != "mae" else result.high < 0
    worse = result.high < 0 if declared.measure != "mae" else result.low > 0
    verdict = "better" if better else "worse" if worse else "too little data to tell"
    return f"{pair}: {verdict}, {size}, n = {result.n:,}."


def told(view: Transaction, model_version: str = "") -> list[str]:
    """Every declared test of this version (or of all), oldest first, with what it said, in words."""
    results = {result.id: result for result in view.all(ComparisonResult)}
    lines = []
    for c in sorted(view.all(Comparison), key=lambda c: c.declared_at):
        if model_version in ("", c.challenger, c.champion):
            said = f"{c.challenger} against {c.champion}: waits for the next wave of {c.dataset} to arrive."
            said = words(results[c.id], c) if c.id in results else said
            lines.append(f"{said} Declared by {c.declared_by}: {c.reason}")
    return lines


def paired_auc(joint: Array) -> Estimate:
    """The difference of two AUCs from counts of outcome x score of the one x score of the other (DeLong)."""
    ahead_a, behind_a = curve.placements(joint.sum(axis=2))
    ahead_b, behind_b = curve.placements(joint.sum(axis=1))
    no, yes = (float(side.sum()) for side in joint)
    variance, value = 0.0, 0.0
    for counts, n, a, b in ((joint[1], yes, ahead_a, ahead_b), (joint[0], no, behind_a, behind_b)):
        off = a[:, None] - b[None, :]
        value = float((counts * off).sum() / n)
        variance += float((counts * (off - value) ** 2).sum()) / n / max(n - 1, 1)
    half = t_of(0.95, max(min(no, yes) - 1, 1)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, round(no + yes))


def _result(
    declared: Comparison, tallies: Tallies, challenger: ModelVersion, champion: ModelVersion, wave: Wave,
    now: datetime,
) -> ComparisonResult:  # fmt: skip
    """Trouble with this machine is raised, and the wave waits; a model that fails has had its test."""
    try:
        estimate = _compare(tallies, challenger, champion, wave)
    except OF_THE_MACHINE:
        raise
    except Exception as error:
        return ComparisonResult(
            declared.id, wave.id, None, None, None, 0, f"scoring:{type(error).__name__}", now
        )
    if estimate is None:
        return ComparisonResult(declared.id, wave.id, None, None, None, 0, "too few", now)
    value, low, high = estimate.value, estimate.low, estimate.high
    return ComparisonResult(declared.id, wave.id, value, low, high, estimate.n, "ok", now)


def _compare(
    tallies: Tallies, challenger: ModelVersion, champion: ModelVersion, wave: Wave
) -> Estimate | None:
    encodings = [tallies.encoding(v.dataset, v.task) for v in (challenger, champion)]
    scorers = [tallies.scorer(v) for v in (challenger, champion)]
    kind = encodings[0].task.kind
    asked = (
        [next(scoring.score([table], s, e)) for s, e in zip(scorers, encodings, strict=True)]
        for table in scoring.read(unchanged(wave), encodings[0])
    )
    if units.clustered(encodings[0].card):
        return between_units(kind, asked)
    joint = np.zeros((2, GROUP_SCORE_BINS, GROUP_SCORE_BINS), np.int64)
    n, total, squares = 0, 0.0, 0.0
    for sides in asked:
        known, outcome = sides[0].labelled, sides[0].outcome
        if kind == "binary":
            a, b = (coarser(score_positions(side.said), GROUP_SCORE_BINS)[known] for side in sides)
            np.add.at(joint, (outcome, a, b), 1)
            continue
        a, b = (_loss(kind, side.said[known], outcome) for side in sides)
        n, total, squares = n + len(a), total + float((a - b).sum()), squares + float(((a - b) ** 2).sum())
    if kind == "binary":
        return paired_auc(joint) if joint.sum(axis=(1, 2)).min() >= MINIMUM else None
    if n < MINIMUM:
        return None
    return mean(total / n, squares / n - (total / n) ** 2, n)


def between_units(kind: str, asked: Iterable[Sequence[Batch]]) -> Estimate | None:
    """The difference in weighted records, or records of which several are of one person, by replicates of persons:
    replicate x model x outcome x score, or replicate x (sum of differences, sum of weights)."""
    bins = GROUP_SCORE_BINS
    sums = np.zeros((units.REPLICATES, *((2, 2, bins) if kind == "binary" else (2,))))
    n = 0
    for sides in asked:
        known, outcome = sides[0].labelled, sides[0].outcome
        assert sides[0].replicate is not None  # the caller looked
        weight = np.ones(len(outcome)) if sides[0].weight is None else sides[0].weight[known]
        replicate = sides[0].replicate[known]
        n += len(outcome)
        if kind == "binary":
            for model, side in enumerate(sides):
                place = coarser(score_positions(side.said), bins)[known]
                np.add.at(sums[:, model], (replicate, outcome, place), weight)
            continue
        a, b = (_loss(kind, side.said[known], outcome) for side in sides)
        np.add.at(sums[:, 0], replicate, weight * (a - b))
        np.add.at(sums[:, 1], replicate, weight)
    # each outcome, or the whole, is of at least so many persons
    held = sums[:, 0].sum(axis=-1) if kind == "binary" else sums[:, 1:]
    if np.count_nonzero(held, axis=0).min() < MINIMUM:
        return None
    return _apart(sums, _auc_apart if kind == "binary" else _mean_apart, n)


def auc_between_units(first: Cases, second: Cases) -> Estimate:
    """The difference of two AUCs of the same records, each replicated outcome x score cases."""
    assert first.replicates is not None  # the caller looked
    assert second.replicates is not None
    return _apart(np.stack([first.replicates, second.replicates], axis=1), _auc_apart, first.n)


def _apart(replicates: Array, metric: units.Metric, n: int) -> Estimate:
    """A difference of two models on the same `n` records, with its error between units."""
    value, (error, freedom) = float(metric(replicates.sum(axis=0))), units.jackknife(replicates, metric)
    half = t_of(0.95, freedom) * error
    return Estimate(value, value - half, value + half, n)


def _auc_apart(counts: Array) -> Array:
    return np.asarray(curve.auc(counts[..., 0, :, :]) - curve.auc(counts[..., 1, :, :]))


def _mean_apart(sums: Array) -> Array:
    return curve.ratio(sums[..., 0], sums[..., 1])


def _loss(kind: str, said: Array, outcome: Array) -> Array:
    """Per record: whether the chosen class is right, or how far the number is off."""
    if kind == "multiclass":
        return np.asarray(said.argmax(axis=1) == outcome, float)
    return np.asarray(np.abs(np.asarray(said, float) - outcome))
