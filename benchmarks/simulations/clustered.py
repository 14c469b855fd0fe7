"""Do drift and the watch keep their promises where people have several records, or records weigh differently?

People come anew to every wave, with one to seven records each, or come again to every wave; a part of what is random in
a record is its person's. What would happen if records were taken as independent is simulated beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from evaluators import noisy, units
from evaluators.cases import Cases, rate
from evaluators.drift import SCALES
from evaluators.intervals import LEVEL
from evaluators.monitor import FIGURES, check, evidence_of
from evaluators.two_waves import chi_square, joined, moved
from simulations.alarms import STREAMS, Quiet, threshold
from simulations.coverage import Row
from simulations.drifts import CATEGORIES, EDGES, FEATURES, LIMIT, ROWS, WAVES, Shown

REFERENCE_PEOPLE = 1_500
NAIVE = "as plain records"
"""Simulated beside, to compare: what would be said if each record were taken for a person, and for as heavy as any."""


@dataclass(frozen=True)
class Crowd:
    """`alike` of the variance of a record is its person's; weights spread like exp(`uneven` x a normal); with
    `again`, the same people are in every wave."""

    words: str
    most_rows: int
    alike: float
    uneven: float
    again: bool = False

    def people(self, n: int, rng: np.random.Generator) -> Any:
        """Of each person the rows, the common part, the replicate and the weight in steps."""
        rows = rng.integers(1, self.most_rows + 1, n)
        raw = np.exp(self.uneven * rng.normal(size=n))
        weight = (
            np.maximum(np.rint(np.minimum(raw / 20, 1) * units.WEIGHT_STEPS), 1)
            if self.uneven
            else np.ones(n)
        )
        return rows, rng.normal(size=n), rng.integers(0, units.REPLICATES, n), weight.astype(np.int64)

    def records(self, people: Any, rng: np.random.Generator) -> Any:
        """A normal value, the replicate and the weight of each record of these people."""
        rows, common, replicate, weight = people
        value = np.sqrt(self.alike) * common.repeat(rows) + np.sqrt(1 - self.alike) * rng.normal(
            size=rows.sum()
        )
        return value, replicate.repeat(rows), weight.repeat(rows)


CROWDS = (
    Crowd("people with up to 7 records", 7, 0.6, 0.0),
    Crowd("the same people in every wave", 7, 0.6, 0.0, again=True),
    Crowd("uneven weights", 1, 0.0, 0.8),
    Crowd("both", 7, 0.6, 0.6),
)


def years(crowd: Crowd, count: int, seed: int = 8) -> tuple[Shown, Shown]:
    """The share of years without drift in which a feature alarms on any wave; and of those in which one would, were
    records taken as independent."""
    rng, alarmed = np.random.default_rng([seed, *crowd.words.encode()]), np.zeros(2)
    for _ in range(count):
        alarmed += np.any([_alarms(crowd, at % 2 == 0, rng) for at in range(FEATURES)], axis=0)
    share, naive = alarmed / count
    what = f"a year of nothing alarms, {crowd.words}"
    return Shown(what, share, count, at_most=0.05), Shown(f"{what}, {NAIVE}", naive, count)


def quiet_streams(crowd: Crowd, stream_years: int, seed: int = 10) -> tuple[Quiet, Quiet]:
    """Weekly accuracies in which nothing changes, watched for a year each; and were records taken as independent.
    Reference waves of the same people, where they come again."""
    rng, alarms = np.random.default_rng([seed, *crowd.words.encode()]), np.zeros(2, int)
    (accuracy,) = (figure for figure in FIGURES["binary"] if figure.name == "accuracy")
    for at in range(stream_years):
        edge = float(ndtri(1 - (0.05, 0.2, 0.4)[at % 3]))
        same, per_wave = crowd.people(REFERENCE_PEOPLE, rng), ROWS * 2 // (crowd.most_rows + 1)
        sizes = [REFERENCE_PEOPLE, *[per_wave] * WAVES]
        waves = [_right(crowd, same if crowd.again else crowd.people(n, rng), edge, rng) for n in sizes]
        for how, sides in enumerate((waves, [Cases.plain(wave.counts) for wave in waves])):
            before, *year = (check(accuracy, rate(side)) for side in sides)
            alarms[how] += max(evidence_of(accuracy, year, before)) >= threshold(WAVES)
    what = f"error rate, weekly, {crowd.words}"
    promised, naive = (int(n) for n in alarms)
    return (
        Quiet(what, stream_years, promised, stream_years / STREAMS),
        Quiet(f"{what}, {NAIVE}", stream_years, naive, None),
    )


def _right(crowd: Crowd, people: Any, edge: float, rng: np.random.Generator) -> Cases:
    """Records that the model got wrong, and right."""
    value, replicate, weight = crowd.records(people, rng)
    right = (value < edge).astype(int)
    replicated = np.bincount(replicate * 2 + right, weight, units.REPLICATES * 2)
    return _cases(np.bincount(right, minlength=2), replicated.reshape(units.REPLICATES, 2))


def distances(repeats: int, wanted: str = "") -> Iterator[Row]:
    """The covers of distances of two waves of people, and of a figure read off noisy counts."""
    for crowd, n, shift in product(CROWDS, (60, 250, 1500), (0.0, 0.1, 0.4)):
        if wanted in (name := f"distance people: {crowd.words} n={n} shift={shift:g}"):
            yield replace(covers(crowd, n, shift, repeats), setting=name)
    for together in (2, 5):
        if wanted in (name := f"noisy accuracy people: {together} records each"):
            yield replace(noisy_covers(together, True, repeats), setting=name)


def covers(crowd: Crowd, n: int, shift: float, repeats: int, seed: int = 9) -> Row:
    """The cover of the distance of a category that has moved, of two waves of `n` people."""
    rng = np.random.default_rng([seed, n, *crowd.words.encode()])
    after = np.diff(ndtr(_CATEGORY_EDGES - shift), prepend=0, append=1)
    truth, held, width = float(np.abs(after - CATEGORIES).sum() / 2), 0, 0.0
    for _ in range(repeats):
        people = crowd.people(n, rng)
        then = _cases(*_table(crowd, people, False, rng))
        now = _cases(*_table(crowd, people if crowd.again else crowd.people(n, rng), False, rng, shift))
        size = moved(now, then, rng)[0]
        held += size.low <= truth <= size.high
        width += size.high - size.low
    return Row(f"{crowd.words} n={n} shift={shift:g}", held / repeats, width / repeats, repeats)


def noisy_covers(together: int, honoured: bool, repeats: int, seed: int = 11) -> Row:
    """The cover of an accuracy of 80 % that is read off noisy counts, of people with `together` records each."""
    rng, held, width = np.random.default_rng([seed, together]), 0, 0.0
    for _ in range(repeats):
        own, theirs = rng.normal(size=1000 * together), rng.normal(size=1000).repeat(together)
        right = int((np.sqrt(0.1) * own + np.sqrt(0.9) * theirs < ndtri(0.8)).sum())
        counts = np.array([[right, 1000 * together - right], [0, 0]]) + np.rint(rng.normal(0, 5, (2, 2)))
        made = noisy.Counts(counts, 5, 10, together if honoured else 1)
        (answer,) = (answer for _, answer in noisy._confusion(made, ()))
        assert not isinstance(answer, int)
        estimate = answer(LEVEL)
        held += estimate.low <= 0.8 <= estimate.high
        width += estimate.high - estimate.low
    return Row(f"{together} records each", held / repeats, width / repeats, repeats)


def _alarms(crowd: Crowd, number: bool, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether one feature alarms in a year, and whether it would, were records taken as independent."""
    per_wave = ROWS * 2 // (crowd.most_rows + 1)
    same = crowd.people(per_wave, rng)
    before = _cases(*_table(crowd, crowd.people(REFERENCE_PEOPLE, rng), number, rng))
    waves = [
        _table(crowd, same if crowd.again else crowd.people(per_wave, rng), number, rng) for _ in range(WAVES)
    ]
    summed = [np.cumsum([0 * waves[0][part], *(wave[part] for wave in waves)], axis=0) for part in (0, 1)]
    naive = False
    for scale in SCALES:
        for at in range(WAVES + 1 - scale):
            now = _cases(*(part[at + scale] - part[at] for part in summed))
            sides = joined(now, before, number, 0)
            if chi_square(*(Cases.plain(side.counts) for side in sides)) * len(SCALES) < LIMIT:
                naive = True  # only then can the other be as small
                if chi_square(*sides) * len(SCALES) < LIMIT:
                    return True, True
    return False, naive


def _table(
    crowd: Crowd, people: Any, number: bool, rng: np.random.Generator, shift: float = 0.0
) -> tuple[Any, Any]:
    """Counts of records, and replicates x weights, over the cells of a number or of a category."""
    value, replicate, weight = crowd.records(people, rng)
    edges = EDGES[1:-1] if number else _CATEGORY_EDGES
    cell, width = np.searchsorted(edges, value + shift), len(edges) + 1
    replicated = np.bincount(replicate * width + cell, weight, units.REPLICATES * width)
    return np.bincount(cell, minlength=width), replicated.reshape(units.REPLICATES, width)


def _cases(records: Any, replicates: Any) -> Cases:
    weighed = replicates.sum(axis=0)
    scaled = weighed * (records.sum() / weighed.sum())
    return Cases(records, scaled, replicates, weighed.sum() != records.sum())


_CATEGORY_EDGES = ndtri(CATEGORIES.cumsum()[:-1])
