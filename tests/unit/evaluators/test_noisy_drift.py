"""Noisy counts tell how far inputs moved: the interval holds chance and noise, and no change is no alarm."""

import numpy as np
import pytest

from evaluators import noisy_drift
from evaluators.base import stream
from evaluators.noisy import Counts
from sandbox.disclosure.noisy import NoisyTally
from sandbox.tally import Axis, Table, Tally

LEVEL = np.full(8, 1 / 8)
SLOPED = np.arange(1, 9) / 36


def noisy(counts, sigma):
    table = Table((Axis("age", tuple("abcdefgh")),), np.asarray(counts, np.int64))
    return NoisyTally(Tally({"input:age": table}), sigma, 0.5, 1e-6, "c")


def drawn(rng, n, shape, sigma, together=1):
    return np.rint(together * rng.multinomial(n // together, shape) + rng.normal(0, sigma, len(shape)))


@pytest.mark.parametrize(
    ("share", "sigma", "together"), [(0.0, 30, 1), (0.3, 30, 1), (0.3, 8, 5), (0.0, 8, 5)]
)
def test_the_interval_of_a_noisy_distance_holds_the_true_one(share, sigma, together):
    rng, shape = stream("noisy distance", share, sigma, together), (1 - share) * LEVEL + share * SLOPED
    true, held = abs(shape - LEVEL).sum() / 2, []
    for _ in range(300):
        sides = (drawn(rng, 4000, of, sigma, together) for of in (shape, LEVEL))
        found = noisy_drift.distance(*(Counts(side, sigma, 10, together) for side in sides))
        held.append(found.low <= true <= found.high and found.high - found.low < 0.25)
    assert np.mean(held) > 0.94


@pytest.mark.parametrize("together", [1, 5])
def test_inputs_that_did_not_move_are_rarely_said_to_have_and_those_that_did_are_found(together):
    rng, same, moved = stream("noisy inputs", together), [], []
    for _ in range(400):
        first = noisy(drawn(rng, 5000, LEVEL, 12, together), 12.0)
        for shape, ps in ((LEVEL, same), (SLOPED, moved)):
            now = noisy(drawn(rng, 4000, shape, 12, together), 12.0)
            _, p = noisy_drift.inputs(now, first, 10, together)
            ps.append(p.value)
    assert np.mean(np.array(same) < 0.05) < 0.09
    assert max(moved) < 1e-4


def test_a_column_is_named_with_its_distance_and_p_and_one_that_the_noise_drowns_is_too_few():
    first = noisy(np.full(8, 600), 20.0)
    measured = {m.name: m for m in noisy_drift.inputs(noisy([900, 300] * 4, 20.0), first, 10)}
    assert measured["input_distance"].feature == measured["input_p"].feature == "age"
    assert measured["input_distance"].value == pytest.approx(0.25, abs=0.01)
    assert {m.status for m in noisy_drift.inputs(noisy(np.full(8, 20), 20.0), first, 10)} == {"too few"}


def test_the_same_counts_give_the_same_answer():
    sides = noisy([900, 300] * 4, 20.0), noisy(np.full(8, 600), 20.0)
    assert [*noisy_drift.inputs(*sides, 10)] == [*noisy_drift.inputs(*sides, 10)]
