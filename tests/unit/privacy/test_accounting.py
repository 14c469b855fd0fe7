"""What events cost, and which numbers can never enter."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from sandbox.errors import Refused
from sandbox.privacy import accounting
from sandbox.privacy.accounting import (
    discrete_gaussian_event,
    dp_sgd_event,
    epsilon_of,
    gaussian_event,
    noise_for,
    rdp_at,
)
from sandbox.privacy.budgets import Held, new_budget
from sandbox.privacy.domination import concentrated_divergence, dominates
from sandbox.privacy.slots import Slot

DELTA = 1e-6


@pytest.mark.parametrize(
    ("noise", "rate", "steps"),
    [
        (math.nan, 0.1, 10), (math.inf, 0.1, 10), (0, 0.1, 10), (-1, 0.1, 10), (True, 0.1, 10), ("1", 0.1, 10),
        (None, 0.1, 10), (10**400, 0.1, 10),
        (1, 0, 10), (1, -0.1, 10), (1, 1.01, 10), (1, math.nan, 10), (1, math.inf, 10), (1, None, 10),
        (1, 0.1, -1), (1, 0.1, 1.5), (1, 0.1, math.nan), (1, 0.1, math.inf), (1, 0.1, True), (1, 0.1, "9"),
        (1, 0.1, 10**7 + 1),
    ],
)  # fmt: skip
def test_a_wrong_number_never_enters_a_charge(noise, rate, steps):
    with pytest.raises(Refused) as refusal:
        dp_sgd_event(noise, rate, steps)
    assert len(str(refusal.value)) < 100
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, None])
def test_a_wrong_epsilon_is_refused(epsilon):
    with pytest.raises(Refused, match="An epsilon"):
        noise_for(epsilon, DELTA, 0.1, 10)


@pytest.mark.parametrize("delta", [0, 1, 1.5, -1e-6, math.nan, None])
def test_a_wrong_delta_is_refused(delta):
    with pytest.raises(Refused, match="A delta"):
        epsilon_of([gaussian_event(1)], delta)
    with pytest.raises(Refused, match="A delta"):
        noise_for(1, delta, 0.1, 10)


@pytest.mark.parametrize(
    "event",
    [
        None, [], "Gaussian", {}, {"event": "Laplace", "scale": 1}, {"event": ["Gaussian"]},
        {"event": "Gaussian"}, {"event": "Gaussian", "noise_multiplier": 1, "epsilon": 0.1},
        {"event": "SelfComposed", "count": 3}, {"event": "SelfComposed", "count": 3, "of": {}},
        {"event": "Composed", "of": gaussian_event(1)}, {"event": "Composed", "of": [1]},
        {"event": "PoissonSampled", "sampling_probability": 2, "of": gaussian_event(1)},
    ],
)  # fmt: skip
def test_what_is_not_an_event_is_refused(event):
    with pytest.raises(Refused):
        accounting.checked(event)


def by_hand(noise, rate, steps, order):
    """Mironov, Talwar and Zhang 2019 (arXiv 1908.10530), section 3.3, for whole orders."""
    terms = [
        math.comb(order, k) * (1 - rate) ** (order - k) * rate**k * math.exp((k * k - k) / (2 * noise**2))
        for k in range(order + 1)
    ]
    return steps * math.log(math.fsum(terms)) / (order - 1)


@pytest.mark.parametrize("order", [2, 4, 9, 22])
@pytest.mark.parametrize(("noise", "rate", "steps"), [(1, 0.01, 1000), (4.087, 0.02, 600), (2, 0.5, 7)])
def test_the_renyi_cost_of_dp_sgd_is_the_textbook_sum(noise, rate, steps, order):
    assert rdp_at(dp_sgd_event(noise, rate, steps), order) == pytest.approx(
        by_hand(noise, rate, steps, order), rel=1e-9
    )


def test_the_renyi_cost_of_a_gaussian_is_exact():
    assert rdp_at(gaussian_event(3.0), 9) == pytest.approx(9 / (2 * 3.0**2), rel=1e-12)


def test_what_did_not_run_costs_nothing():
    nothing = accounting.with_steps(dp_sgd_event(1, 0.1, 100), 0)
    assert rdp_at(nothing, 4) == 0
    assert epsilon_of([nothing], DELTA) == 0
    assert epsilon_of([], DELTA) == 0


SETTINGS = [
    (noise, rate, steps)
    for noise in (0.8, 1.2, 4.0)
    for rate, steps in ((0.001, 2000), (0.01, 500), (0.1, 100), (1.0, 5))
]


@pytest.mark.parametrize(("noise", "rate", "steps"), SETTINGS)
def test_pld_claims_no_more_than_rdp_and_the_same_order_of_size(noise, rate, steps):
    event = [dp_sgd_event(noise, rate, steps)]
    tight, classic = epsilon_of(event, DELTA, "pld"), epsilon_of(event, DELTA, "rdp")
    assert 0.3 * classic < tight <= classic


def test_dp_sgd_that_takes_everybody_is_a_gaussian():
    repeated = epsilon_of([dp_sgd_event(4, 1, 4)], DELTA)
    assert repeated == pytest.approx(epsilon_of([gaussian_event(2)], DELTA), rel=2e-3)


def test_the_order_of_events_does_not_matter():
    a, b = dp_sgd_event(2, 0.01, 300), gaussian_event(9)
    assert epsilon_of([a, b], DELTA) == pytest.approx(epsilon_of([b, a], DELTA), rel=1e-9)


def test_twenty_mixed_trainings_together_cost_far_less_than_their_sum():
    mixed = [dp_sgd_event(2 + i / 10, 0.01 + i / 1000, 300) for i in range(20)]
    alone = sum(epsilon_of([event], DELTA, "rdp") for event in mixed)
    assert epsilon_of(mixed, DELTA, "rdp") < alone / 3


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"), [(0.5, 0.02, 600), (1, 0.05, 150), (3, 1, 10), (8, 0.02, 400)]
)
def test_calibrated_noise_keeps_its_epsilon_and_is_hardly_more_than_needed(epsilon, rate, steps):
    noise = noise_for(epsilon, DELTA, rate, steps)
    assert epsilon_of([dp_sgd_event(noise, rate, steps)], DELTA) <= epsilon
    assert epsilon_of([dp_sgd_event(noise * 0.997, rate, steps)], DELTA) > epsilon


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"event": "PoissonSampled", "sampling_probability": 0.1, "of": dp_sgd_event(1, 0.1, 3)}, "holds a Gaussian"),
        (
            {"event": "PoissonSampled", "sampling_probability": 0.1, "of": discrete_gaussian_event(1)},
            "holds a Gaussian",
        ),
        ({"event": "RepeatAndSelect", "mean": 0.5, "shape": 0, "of": gaussian_event(1)}, "is 1 or more, not 0.5"),
        ({"event": "RepeatAndSelect", "mean": math.nan, "shape": 0, "of": gaussian_event(1)}, "finite number"),
        ({"event": "RepeatAndSelect", "mean": 2, "shape": -1, "of": gaussian_event(1)}, "is 0 or more, not -1"),
        ({"event": "RepeatAndSelect", "mean": 2, "shape": math.inf, "of": gaussian_event(1)}, "finite number"),
    ],
)  # fmt: skip
def test_what_cannot_be_accounted_for_is_refused_in_one_sentence(event, sentence):
    with pytest.raises(Refused, match=sentence) as refusal:
        accounting.checked(event)
    assert "\n" not in str(refusal.value)


NUMBERS = st.sampled_from([1e-300, 1e-9, 1e-3, 0.3, 1, 7.5, 1e4, 1e300])
EVENTS = st.recursive(
    st.one_of(
        st.builds(gaussian_event, NUMBERS),
        st.builds(discrete_gaussian_event, NUMBERS),
        st.builds(
            dp_sgd_event, NUMBERS, st.sampled_from([1e-300, 1e-6, 0.01, 0.7, 1]), st.integers(0, 10**7)
        ),
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda n, of: {"event": "SelfComposed", "count": n, "of": of}, st.integers(0, 10**7), inner
        ),
        st.builds(accounting.compose, st.lists(inner, max_size=3)),
        st.builds(
            accounting.best_of_event,
            inner,
            st.sampled_from([1, 3, 1e300]),
            st.sampled_from([0, 1, 1e300, "infinity"]),
        ),
    ),
    max_leaves=4,
)
RULES = (
    new_budget("training:p", 3, DELTA),
    new_budget("training:p", 3, DELTA, (Slot("a", 3, dp_sgd_event(1.63, 0.01, 200)),)),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # dp_accounting's, of numbers out of all proportion
@given(EVENTS, st.sampled_from(RULES))
@settings(max_examples=60, deadline=None)
def test_whatever_event_is_asked_for_fits_or_is_refused_in_words(event, budget):
    """Never a traceback, nor memory without end: an event is checked, and then accounted for or refused."""
    with contextlib.suppress(Refused):
        budget.place(accounting.checked(event), Held())


def hockey_stick(p, q, x):
    return float(np.maximum(p - math.exp(x) * q, 0).sum())


def test_discrete_noise_is_not_charged_as_if_its_curve_lay_below_the_continuous_ones():
    """In whole numbers it does not: with noise 1 there is a threshold where its divergence is 1.3 times as large."""
    y = np.arange(-60, 61)
    q = np.exp(-(y**2) / 2)
    q /= q.sum()
    x = np.linspace(0, 3, 301)
    discrete = np.array([hockey_stick(np.roll(q, 1), q, e) for e in x])
    continuous = ndtr(0.5 - x) - np.exp(x) * ndtr(-0.5 - x)
    assert (discrete / continuous).max() > 1.3
    event = discrete_gaussian_event(1.0)
    assert not accounting.has_pld(event)
    assert not dominates(gaussian_event(1.0), event)
    assert rdp_at(event, 9) == pytest.approx(rdp_at(gaussian_event(1.0), 9), rel=1e-12)  # that much is proved
    with pytest.raises(Refused, match="PLD cannot account"):
        epsilon_of([event], DELTA)


@pytest.mark.parametrize("noise", [0.7, 1.0, 3.0])
def test_what_concentration_allows_is_more_than_discrete_noise_does(noise):
    y = np.arange(-400, 401)
    q = np.exp(-(y**2) / (2 * noise**2))
    q /= q.sum()
    x = np.linspace(0, 4 / noise, 200)
    allowed = concentrated_divergence(accounting.concentration(discrete_gaussian_event(noise)), x)
    for e, most in zip(x, allowed, strict=True):
        assert max(hockey_stick(np.roll(q, 1), q, e), hockey_stick(q, np.roll(q, 1), e)) <= most


def test_a_slot_of_clearly_less_noise_takes_a_discrete_release():
    assert dominates(gaussian_event(0.67 * 9), discrete_gaussian_event(9))
    assert dominates(dp_sgd_event(0.67 * 9, 1, 1), discrete_gaussian_event(9))
    assert not dominates(gaussian_event(0.8 * 9), discrete_gaussian_event(9))
    assert not dominates(
        gaussian_event(1e-3), discrete_gaussian_event(9)
    )  # a slot that keeps nothing is none
