"""Every ruler laid on what was charged measures what its name says."""

import json
import math

import numpy as np
import pytest

from sandbox.privacy import ledger, reports, wording
from sandbox.privacy.accounting import (
    best_of_event,
    canonical,
    compose,
    dp_sgd_event,
    epsilon_of,
    gaussian_event,
    rdp_at,
)
from sandbox.privacy.budgets import Held, new_budget
from sandbox.privacy.filter import rdp_bound
from sandbox.privacy.gaussian_dp import FLOOR, central_limit_mu, dominating_mu, gaussian_delta
from sandbox.privacy.odometer import STEPS, Odometer
from sandbox.privacy.quote import what_if
from sandbox.privacy.slots import Slot

POOL = "training:pupils"
TRAINING = dp_sgd_event(4.09, 0.02, 600)


def many(event, count):
    return {canonical(event): count}


@pytest.mark.parametrize("noise", [0.5, 2.0, 10.0])
def test_the_mu_of_a_gaussian_release_is_one_over_its_noise(noise):
    assert central_limit_mu(gaussian_event(noise)) == pytest.approx(1 / noise)
    assert 1 / noise <= dominating_mu(gaussian_event(noise)) <= 1 / noise + 5e-4


def test_the_squares_of_the_mu_of_gaussians_add():
    both = compose([gaussian_event(2.0), gaussian_event(2.0), gaussian_event(1.0)])
    assert central_limit_mu(both) == pytest.approx(math.sqrt(1.5))
    assert dominating_mu(both) == pytest.approx(math.sqrt(1.5), abs=1e-3)


@pytest.mark.parametrize("event", [dp_sgd_event(1.63, 0.01, 200), dp_sgd_event(0.7, 0.001, 1000), TRAINING])
def test_the_dominating_mu_bounds_every_epsilon_above_the_floor_and_no_smaller_one_does(event):
    mu = dominating_mu(event)

    def bounded(mu):
        deltas = [1e-9, 1e-8, 1e-6, 1e-4, 1e-2]
        at = np.array([epsilon_of([event], delta) for delta in deltas])
        return bool(np.all(gaussian_delta(mu, at[at > 0]) >= np.array(deltas)[at > 0] * (1 - 1e-2)))

    assert bounded(mu)
    assert not bounded(mu * 0.8)  # tight to the part of the curve between FLOOR and 1e-9
    assert FLOOR < 1e-9


def test_the_central_limit_understates_few_steps_and_is_near_for_many():
    """Why it is called an approximation and no bound."""
    few, many_steps = dp_sgd_event(0.7, 0.001, 1000), dp_sgd_event(8.0, 0.05, 20_000)
    assert central_limit_mu(few) < 0.3 * dominating_mu(few)
    assert central_limit_mu(many_steps) == pytest.approx(dominating_mu(many_steps), rel=0.03)
    assert central_limit_mu(dp_sgd_event(2.0, 0.1, 9)) == pytest.approx(0.3 * math.sqrt(math.expm1(0.25)))


def test_what_has_no_privacy_loss_distribution_has_no_mu():
    event = best_of_event(TRAINING, 4)
    assert (dominating_mu(event), central_limit_mu(event)) == (None, None)
    assert (dominating_mu(compose([])), central_limit_mu(compose([]))) == (0.0, 0.0)
    assert dominating_mu(gaussian_event(0.015)) is None  # beyond what is worth a figure


def test_the_odometer_reads_nothing_of_nothing_and_the_promise_of_a_full_filter():
    budget = new_budget(POOL, 8, 1e-6)
    odometer, whole = Odometer.of(budget), budget.fits(TRAINING, Held())
    assert odometer.reading({}) == 0
    readings = [odometer.reading(many(TRAINING, n)) for n in (1, 10, 70, whole)]
    assert readings == sorted(readings)
    assert readings[0] < 0.08 * 8
    assert readings[-1] <= 8
    assert readings[-1] > 7.9


def test_each_level_of_the_odometer_is_a_filter_of_that_epsilon_and_it_reads_the_lowest_that_holds_all():
    budget = new_budget(POOL, 3, 1e-6)
    odometer = Odometer.of(budget)
    events = {**many(TRAINING, 3), **many(gaussian_event(9.0), 2)}
    reading = odometer.reading(events)

    def holds(level, order):
        return sum(n * rdp_at(json.loads(e), order) for e, n in events.items()) <= rdp_bound(
            level, 1e-6, order
        )

    by_hand = [
        level for level, order in zip(odometer.levels, odometer.orders, strict=True) if holds(level, order)
    ]
    assert reading == min(by_hand)
    assert reading > epsilon_of([json.loads(e) for e, n in events.items() for _ in range(n)], 1e-6)


def test_the_odometers_ladder_depends_on_the_budget_alone(slots):
    plan = [Slot(s.name, s.count, dp_sgd_event(s.noise_multiplier, s.sampling_rate, s.steps)) for s in slots]
    assert Odometer.of(new_budget(POOL, 3, 1e-6)) is Odometer.of(new_budget("another", 3, 1e-6))
    assert len(Odometer.of(new_budget(POOL, 3, 1e-6)).levels) == STEPS
    assert len(Odometer.of(new_budget(POOL, 3, 1e-6, tuple(plan))).levels) == 3 * STEPS


def test_a_best_of_k_is_on_the_odometer_too():
    assert 0 < Odometer.of(new_budget(POOL, 8, 1e-6)).reading(many(best_of_event(TRAINING, 4), 1)) < 8


def test_a_report_keeps_the_promise_and_the_readings_apart(store, card, opened, dataset):
    opened(card())
    dataset()
    for _ in range(3):
        ledger.reserve(store, POOL, TRAINING, "pupil", "training m", "wanda")
    found = reports.report(store, POOL)
    assert (found.status.epsilon, found.unit, found.adjacency) == (8, "pupil", "add/remove")
    assert found.states == {"reserved": 3, "touched": 0, "settled": 0, "released": 0}
    r = found.readings
    assert r.pld == pytest.approx(epsilon_of([TRAINING] * 3, 1e-6), rel=1e-3)
    assert r.rdp == pytest.approx(epsilon_of([TRAINING] * 3, 1e-6, "rdp"))
    assert r.pld < r.rdp < r.odometer < 8
    assert r.pld < r.pld_replace_one
    assert r.mu >= r.mu_central_limit


def test_a_report_of_a_best_of_k_names_no_figure_that_there_is_not(store, card, opened):
    opened(card())
    ledger.reserve(store, POOL, best_of_event(dp_sgd_event(8.0, 0.02, 100), 4), "pupil", "tuning", "wanda")
    r = reports.report(store, POOL).readings
    assert (r.pld, r.pld_replace_one, r.mu, r.mu_central_limit) == (None, None, None, None)
    assert 0 < r.rdp < r.odometer


def test_datasets_of_a_population_are_named_together_and_one_person_is_promised_the_largest(
    store, card, dataset
):
    dataset("school"), dataset("exams"), dataset("clinic", population="patients", unit="patient")
    with store.transaction() as tx:
        ledger.open_budgets(tx, card(training=(2, 1e-6), held_out=(3, 1e-7)), "dana")
        ledger.open_wave_budget(tx, card(held_out=(3, 1e-7)), "2016", "dana")
        ledger.open_budgets(tx, card(population="patients"), "dana")
    patients, pupils = reports.populations(store)
    assert pupils.datasets == ("exams", "school")
    assert (pupils.epsilon, pupils.delta) == (3, 1e-6)
    assert [s.pool for s in pupils.disjoint] == ["held-out:pupils/2016", "training:pupils"]
    assert (pupils.shared, patients.unit) == ((), "patient")


def test_no_epsilon_is_said_without_its_delta_its_adjacency_and_its_unit():
    assert (
        wording.stated(0.99801, 1e-6, "add/remove", "pupil")
        == "ε = 0.9981 at δ = 1e-06, add or remove one pupil"
    )
    assert wording.stated(8.0, 1e-6, "replace-one", "one_trip").endswith("replace one one trip")
    assert wording.part(0.4, 8.0) == "40.0 % of the promised ε = 8"
    assert wording.FIXED == "if parameters had been fixed in advance"


@pytest.mark.parametrize("epsilon", [0.123456, 0.99994, 8.0, 123.449, 1e-9, math.inf, 0.0])
def test_an_epsilon_is_rounded_up_and_hardly(epsilon):
    assert epsilon <= wording.rounded_up(epsilon) <= epsilon * 1.001


def test_of_too_many_different_charges_only_the_figures_that_are_quick_are_worked_out():
    events = {canonical(gaussian_event(50 + n)): 1 for n in range(reports.MOST_DIFFERENT + 1)}
    budget, held = new_budget(POOL, 8, 1e-6), Held(events)
    r = reports.readings(budget, held)
    assert (r.pld, r.pld_replace_one, r.mu) == (None, None, None)
    assert 0 < r.rdp < r.odometer < 8
    assert r.mu_central_limit > 0
    assert what_if(budget, TRAINING, held).fits is None
    assert budget.fits(TRAINING, held) > 0
