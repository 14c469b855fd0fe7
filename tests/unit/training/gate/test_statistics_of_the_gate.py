"""Each test of the gate passes what is right, however small, and refuses the fault it is for."""

import math

import numpy as np
import pytest
from scipy import stats

from sandbox.training.gate import tails
from sandbox.training.gate.canaries import Scores, how_many, refutes
from sandbox.training.gate.check import CANARY_LEVEL, RECORD_LEVEL, Check, exact, failures
from sandbox.training.gate.marks import signs_of, twice
from sandbox.training.gate.residuals import Residuals
from sandbox.training.gate.sampling import Draws
from sandbox.training.sampler import draw

LAYERS = {"w": (32, 20), "b": (32,), "o": (1, 32), "ob": (1,)}
SIZES = {name: int(np.prod(shape)) for name, shape in LAYERS.items()}


def normal_noise(rng, _step):
    return {name: rng.normal(size=size) for name, size in SIZES.items()}


def watched(noise=normal_noise, steps=40, seed=1, rehearsal=None):
    rng = np.random.default_rng(seed)
    found = Residuals(LAYERS, steps, np.random.default_rng(seed + 1), rehearsal)
    for step in range(steps):
        found.note(noise(rng, step))
    return found


def drawn(sampler=None, units=3000, rate=0.1, steps=30, seed=2):
    rng = np.random.default_rng(seed)
    draws = Draws(units, rate)
    for step in range(steps):
        draws.note(sampler(rng, step) if sampler else draw(units, rate, rng))
    return draws.checks(np.random.default_rng(seed + 1))


def refused(tests):
    return {test.name for test in failures(tests)}


@pytest.mark.parametrize("seed", range(4))
def test_noise_as_claimed_passes(seed):
    rehearsal = watched(steps=1, seed=seed + 50).first
    assert not refused(watched(seed=seed, rehearsal=rehearsal).checks("records", "w"))


def _scaled(by):
    return lambda rng, step: {name: values / by for name, values in normal_noise(rng, step).items()}


def _but(change):
    def noise(rng, step):
        return change(normal_noise(rng, step), rng, step)

    return noise


def _fixed(period):
    return lambda _rng, step: normal_noise(np.random.default_rng(step % period), step)


FAULTS = {
    "off": (_scaled(math.inf), "size"),
    "over 1.05": (_scaled(1.05), "size"),
    "times 1.05": (_scaled(1 / 1.05), "size"),
    "forgotten for one tensor": (_but(lambda n, _r, _s: n | {"ob": np.zeros(1)}), "size"),
    "forgotten in one step": (_but(lambda n, _r, s: {k: v * (s != 7) for k, v in n.items()}), "size"),
    "of Laplace": (lambda r, _s: {n: r.laplace(0, 2**-0.5, z) for n, z in SIZES.items()}, "shape"),
    "uniform": (lambda r, _s: {n: r.uniform(-(3**0.5), 3**0.5, z) for n, z in SIZES.items()}, "shape"),
    "cut off": (_but(lambda n, _r, _s: {k: np.clip(v, -2.5, 2.5) for k, v in n.items()}), "shape"),
    "the same in every step": (_fixed(1), "freshness"),
    "the same every seventh step": (_fixed(7), "freshness"),
    "the same in every row": (_but(lambda n, r, _s: n | {"w": np.tile(r.normal(size=20), 32)}), "neighbours"),
    "the same along a row": (_but(lambda n, r, _s: n | {"w": np.repeat(r.normal(size=32), 20)}), "neighbours"),
    "the same for two tensors": (_but(lambda n, _r, _s: n | {"b": n["w"][:32]}), "tensors"),
    "shifted": (_but(lambda n, _r, _s: {k: v + 0.1 for k, v in n.items()}), "mean"),
    "with one number for all": (
        _but(lambda n, r, _s: {k: v * 0.9 + 0.19**0.5 * c for c in [r.normal()] for k, v in n.items()}), "mean"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_noise_that_is_not_as_claimed_is_refused_by_the_test_for_it(fault):
    noise, by = FAULTS[fault]
    steps = 60 if "1.05" in fault else 40
    assert f"w: {by}" in refused(watched(noise, steps).checks("records", "w"))


def test_noise_that_depends_on_the_step_before_is_refused():
    last = {}

    def drifting(rng, step):
        fresh = normal_noise(rng, step)
        mixed = {k: 0.3 * last[k] + (1 - 0.09) ** 0.5 * v for k, v in fresh.items()} if last else fresh
        last.update(mixed)
        return mixed

    assert "w: freshness" in refused(watched(drifting).checks("records", "w"))


def test_noise_that_came_in_the_rehearsal_already_is_refused():
    earlier = watched(_fixed(100), steps=1).first
    assert refused(watched(_fixed(100)).checks("records", "w")) == set()
    assert "w: freshness" in refused(watched(_fixed(100), rehearsal=earlier).checks("records", "w"))


@pytest.mark.parametrize(
    ("units", "rate", "steps"), [(3000, 0.1, 30), (7, 0.3, 1), (50, 0.5, 3), (240, 1.0, 5), (40, 0.001, 50)]
)
def test_poisson_sampling_passes(units, rate, steps):
    for seed in range(5):
        assert not refused(drawn(units=units, rate=rate, steps=steps, seed=seed))


class Shuffled:
    """An epoch in order of a permutation, cut into batches of the expected size."""

    def __call__(self, rng, step):
        if step % 10 == 0:
            self.order = rng.permutation(3000)
        return self.order[(step % 10) * 300 :][:300]


def _same():
    batch = draw(3000, 0.1, np.random.default_rng(9))
    return lambda _rng, _step: batch


SAMPLERS = {
    "shuffling": (Shuffled(), "times drawn"),
    "shuffling, by batches in a row": (Shuffled(), "batches in a row"),
    "batches of one size": (lambda r, _s: r.choice(3000, 300, replace=False), "batch sizes"),
    "the same batch": (_same(), "batches in a row"),
    "a higher rate": (lambda r, _s: draw(3000, 0.11, r), "sampling rate"),
    "with replacement": (lambda r, _s: r.integers(0, 3000, r.binomial(3000, 0.1)), "units drawn once"),
    "in tens": (
        lambda r, _s: (draw(300, 0.1, r)[:, None] * 10 + np.arange(10)).ravel(), "batch sizes"
    ),
    "some units oftener": (
        lambda r, _s: np.concatenate([draw(300, 0.55, r), 300 + draw(2700, 0.05, r)]), "times drawn"
    ),
    "a unit nobody knows": (lambda r, _s: np.array([3000]), "units known"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SAMPLERS)
def test_other_sampling_is_refused_by_the_test_for_it(fault):
    sampler, by = SAMPLERS[fault]
    assert by in refused(drawn(sampler, steps=60))


def test_not_everybody_at_a_rate_of_one_is_refused():
    assert "sampling rate" in refused(drawn(lambda _r, _s: np.arange(39), units=40, rate=1.0))


def scores(noise=2.0, rate=0.2, steps=60, seed=4, clip=1.0, claimed=2.0, claimed_rate=0.2):
    rng = np.random.default_rng(seed)
    included = rng.random(2000) < 0.5
    found = Scores(included, claimed_rate, claimed)
    for _ in range(steps):
        who = np.flatnonzero(included & (rng.random(2000) < rate))
        sums = np.zeros(2000)
        sums[who] = clip
        found.note(who, sums, sums + rng.normal(0, noise, 2000))
    return found


def test_canaries_treated_as_claimed_pass():
    for seed in range(4):
        found = scores(seed=seed)
        assert not refused([*found.checks(), refutes(found.bounds(1e-6), 8.0, 1e-6)])


@pytest.mark.parametrize(
    ("fault", "by"),
    [({"noise": 2 / 1.05}, "noise"), ({"noise": 2 / 1.25}, "noise"), ({"clip": 5.0}, "clip"),
     ({"rate": 0.25}, "rate"), ({"rate": 0.3}, "separation"), ({"clip": 0.0}, "separation"),
     ({"clip": 0.5}, "bound")],
)  # fmt: skip
def test_canaries_treated_otherwise_are_refused_by_the_test_for_it(fault, by):
    assert f"canaries: {by}" in refused(scores(**fault).checks())


def test_guessing_alone_refutes_a_guarantee_that_is_far_off_and_misses_half_the_noise():
    """Why conformance is tested too (FACTS section 10): the bounds pass half the noise at a claimed 4."""
    half = scores(noise=0.65, rate=0.1, claimed=1.3, claimed_rate=0.1).bounds(1e-6)
    assert not refused([refutes(half, 4.0, 1e-6)])
    none = scores(noise=0.05, rate=0.1, claimed=0.05, claimed_rate=0.1).bounds(1e-12)
    assert refused([refutes(none, 1.0, 1e-12)])
    assert not refused([refutes(none, 1.0, 1e-6)])  # delta alone explains that much


def test_tails_are_never_below_the_truth():
    assert 10 ** tails.normal(1.96) == pytest.approx(0.05, rel=0.01)
    assert 10 ** tails.binomial(0, 100, 0.1) == pytest.approx(2 * 0.9**100)
    assert 10 ** tails.chi_squared(20.0, 10) == pytest.approx(2 * stats.chi2.sf(20, 10))
    exact_tail = 2 * stats.norm.sf(120, 100, 10)
    assert exact_tail < 10 ** tails.sampled_gaussian(120, 100, 1.0, 1.0) < 20 * exact_tail
    assert tails.normal(math.nan) == tails.chi_squared(math.nan, 3) == -math.inf


def test_scores_of_discrete_draws_are_standard_normal():
    rng = np.random.default_rng(5)
    counts = rng.binomial(3, 0.4, 20_000)
    below, at = stats.binom.cdf(counts - 1, 3, 0.4), stats.binom.pmf(counts, 3, 0.4)
    assert stats.kstest(tails.normal_scores(below, at, rng), "norm").pvalue > 1e-4


def test_false_refusals_are_shared_out_below_one_in_a_million():
    assert CANARY_LEVEL + RECORD_LEVEL < 1e-6
    many = [Check(str(i), "canaries", -7.5, "") for i in range(10)]
    assert not failures(many)  # 1e-8 each, so that ten together stay below
    assert len(failures([*many, Check("odd", "canaries", -9.0, "")])) == 1
    assert refused([exact("a", True, ""), exact("b", False, ""), Check("c", "records", math.nan, "")]) == {
        "b",
        "c",
    }


def test_few_steps_get_more_canaries():
    assert [how_many(steps) for steps in (1, 20, 60, 10_000)] == [8000, 4000, 1334, 1000]


def test_noise_of_another_run_is_found_whichever_process_of_either_it_was_in():
    one, other, shared = (signs_of(np.random.default_rng(seed).normal(size=1000)) for seed in (1, 2, 3))
    assert refused([twice(one + shared, [other, other + shared])])
    assert not refused([twice(one, [shared, other + shared, ""])])
    assert not refused([twice("", [shared])])


def test_what_is_said_of_a_p_value_outside_is_its_class_alone():
    found = [Check("t", "canaries", log10, "").p_class for log10 in (-0.3, -2.5, -5.0, -300.0)]
    assert found == ["0.01 or more", "below 1e-2", "below 1e-4", "below 1e-7"]
