"""Have a wave's inputs moved, as far as noisy counts can tell? The distances and p-values of `drift.input_drift`.

The same measures of the same bins, merged to sixteen. What chance and noise together add to a distance is taken off,
and both are in its interval and p-value; draws are seeded by the counts. A function of noisy counts: it costs no
privacy. Only the wave itself is compared, never several together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluators import intervals
from evaluators.base import too_few
from evaluators.discrimination import of
from evaluators.intervals import Estimate
from evaluators.noisy import Counts
from evaluators.two_waves import noisy_chi_square
from sandbox.disclosure.noisy import NoisyTally, columns_of
from sandbox.records import Measurement

DISTANCE, P = "input_distance", "input_p"


def inputs(
    now: NoisyTally, reference: NoisyTally, threshold: int, together: int = 1
) -> Iterator[Measurement]:
    """How far each input is from the reference wave, and whether chance and noise could have moved it, if up to
    `together` records are one person's."""
    for name, feature in zip(now.tally.tables, columns_of(now.tally.tables), strict=True):
        here, there = (
            Counts(side.tally[name].counts, side.sigma, threshold, together) for side in (now, reference)
        )
        if not (here.clear(here.counts) and there.clear(there.counts)):
            yield from (too_few(each, here.n, feature=feature) for each in (DISTANCE, P))
            continue
        yield of(DISTANCE, distance(here, there), feature=feature)
        p = noisy_chi_square(here.counts, there.counts, here.sigma, there.sigma, together)
        yield Measurement(P, p, here.n, feature=feature)  # itself about chance: no interval


def distance(now: Counts, reference: Counts) -> Estimate:
    """The total variation distance of two noisy histograms on the same bins, as `two_waves.distance` has it."""
    gaps = _shares(now.counts) - _shares(reference.counts)
    noise = _shares(now.draws) - _shares(reference.draws) - gaps
    return intervals.distance(gaps / 2, noise / 2, noise.std(axis=0) / 2, now.n)


def _shares(counts: intervals.Array) -> intervals.Array:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
