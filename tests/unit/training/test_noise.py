"""What leaves a step lies on a grid, is what rounding makes of the ideal mechanism, and hides one unit."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sandbox.training.noise import Grid, gaussian, noised
from sandbox.training.sampler import Randomness

CLIPS, SIZES = st.floats(1e-3, 1e3), st.integers(1, 10_000_000)


@given(CLIPS, SIZES)
def test_the_grid_and_the_inner_clip_leave_room_for_rounding(clip, size):
    grid = Grid.of(clip, size)
    assert math.frexp(grid.step)[0] == 0.5  # a power of two
    assert grid.inner_clip + grid.step * math.sqrt(size) < clip
    assert grid.inner_clip > 0.999 * clip


@given(st.integers(0, 2**32), CLIPS, st.integers(1, 300), st.floats(0.3, 20))
@settings(max_examples=60, deadline=None)
def test_a_result_is_what_rounding_makes_of_the_rounded_sum_and_ideal_noise(seed, clip, size, multiplier):
    grid = Grid.of(clip, size)
    total = torch.from_numpy(np.random.default_rng(seed).normal(0, 5 * clip, size)).float()
    sums, deviation = {"one": total[:1].view(()), "more": total[1:].view(1, -1)}, multiplier * clip
    after = noised(sums, deviation, grid, np.random.default_rng(seed + 1))
    assert {name: part.shape for name, part in after.items()} == {n: part.shape for n, part in sums.items()}
    found = torch.cat([part.flatten() for part in after.values()])
    on_grid = torch.round(total.double() / grid.step) * grid.step
    noise = gaussian(size, deviation / grid.step, np.random.default_rng(seed + 1)) * grid.step
    assert torch.equal(found / grid.step, torch.round(found / grid.step))
    assert torch.equal(found, torch.round((on_grid + noise) / grid.step) * grid.step)


@given(st.integers(0, 2**32), CLIPS, st.integers(1, 2_000))
@settings(max_examples=60, deadline=None)
def test_rounded_sums_of_neighbours_are_at_most_the_clip_apart(seed, clip, size):
    grid, generator = Grid.of(clip, size), np.random.default_rng(seed)
    total = torch.from_numpy(generator.normal(0, 3 * clip, size))
    moved = torch.from_numpy(generator.normal(0, 1, size))
    neighbour = total + moved * (grid.inner_clip / moved.norm())
    one, other = (torch.round(t.float().double() / grid.step) * grid.step for t in (total, neighbour))
    assert (one - other).norm() <= clip


def test_the_systems_noise_is_gaussian_fresh_and_of_two_streams():
    one, other = Randomness.of_the_system(), Randomness.of_the_system()
    drawn = [
        gaussian(40_000, 1.0, generator).numpy()
        for generator in (one.noise, one.noise, other.noise, one.sampling)
    ]
    for values in drawn:
        assert stats.kstest(values, "norm").pvalue > 1e-7
    for at, first in enumerate(drawn):
        for second in drawn[at + 1 :]:
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_the_source_of_randomness_is_aes_in_counter_mode_keyed_anew_each_time():
    one, other = Randomness.of_the_system(), Randomness.of_the_system()
    streams = (one.sampling, one.noise, other.sampling, other.noise)
    assert {type(stream.bit_generator).__name__ for stream in streams} == {"AESCounter"}
    assert len({tuple(stream.integers(0, 2**63, 4)) for stream in streams}) == 4
