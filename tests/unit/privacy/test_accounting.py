"""What events cost, and which numbers can never enter."""

import math

import pytest

from sandbox.errors import Refused
from sandbox.privacy import accounting
from sandbox.privacy.accounting import dp_sgd_event, epsilon_of, gaussian_event, noise_for, rdp_at

DELTA = 1e-6


@pytest.mark.parametrize(
    ("noise", "rate", "steps"),
    [
        (math.nan, 0.1, 10), (math.inf, 0.1, 10), (0, 0.1, 10), (-1, 0.1, 10), (True, 0.1, 10), ("1", 0.1, 10),
        (None, 0.1, 10), (10**400, 0.1, 10),
        (1, 0, 10), (1, -0.1, 10), (1, 1.01, 10), (1, math.nan, 10), (1, math.inf, 10), (1, None, 10),
        (1, 0.1, -1), (1, 0.1, 1.5), (1, 0.1, math.nan), (1, 0.1, math.inf), (1, 0.1, True), (1, 0.1, "9"),
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
