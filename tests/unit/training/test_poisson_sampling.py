"""Each unit is in or out of a step independently, and brings at most its share of rows."""

import numpy as np

from sandbox.training.sampler import Randomness, UnitRows, draw


def test_every_unit_is_drawn_as_often_as_the_rate_says_and_never_twice():
    generator, seen, sizes = np.random.default_rng(1), np.zeros(50), []
    for _ in range(4000):
        drawn = draw(50, 0.2, generator)
        assert len(set(drawn)) == len(drawn)
        seen[drawn] += 1
        sizes.append(len(drawn))
    assert np.abs(seen / 4000 - 0.2).max() < 5 * np.sqrt(0.16 / 4000)
    assert abs(np.var(sizes) - 50 * 0.16) < 1.0  # of a binomial, not of a fixed size


def test_two_units_are_drawn_independently():
    generator = np.random.default_rng(2)
    both = sum({0, 1} <= set(draw(10, 0.3, generator)) for _ in range(6000))
    assert abs(both / 6000 - 0.09) < 5 * np.sqrt(0.09 * 0.91 / 6000)


def test_a_step_may_be_empty():
    assert len(draw(5, 1e-9, np.random.default_rng(3))) == 0


def test_a_unit_brings_its_own_rows_and_no_more_than_its_limit():
    units = UnitRows(np.array([7, 3, 7, 9, 7, 3]), limit=2)
    assert len(units) == 3
    rows, owners = units.rows(np.array([1, 0]))  # unit 7, then unit 3
    assert rows.tolist() == [0, 2, 1, 5]
    assert owners.tolist() == [0, 0, 1, 1]


def test_the_system_never_gives_the_same_randomness_twice():
    one, other = Randomness.of_the_system(), Randomness.of_the_system()
    streams = [g.integers(2**63) for g in (one.sampling, one.noise, other.sampling, other.noise)]
    assert len(set(streams)) == 4
