"""A quote is what the ledger would do, worked out without doing it."""

import pytest

from sandbox.errors import BudgetExhausted, NoSlot, NotFound
from sandbox.privacy import ledger, reports
from sandbox.privacy.accounting import best_of_event, dp_sgd_event, epsilon_of, gaussian_event
from sandbox.privacy.budgets import MOST, Held, new_budget
from sandbox.privacy.mechanisms import discrete_gaussian
from sandbox.privacy.quote import Request, quote, what_if
from sandbox.privacy.slots import Slot, SlotPlan

POOL = "training:pupils"


def test_the_noise_that_is_quoted_keeps_the_epsilon_that_was_asked_and_is_what_the_training_gets(
    store, card, opened
):
    opened(card())
    found = quote(store, POOL, Request(epsilon=0.5, rate=0.02, steps=600))
    assert 0.499 < found.epsilon <= 0.5
    assert found.epsilon == epsilon_of([dp_sgd_event(found.noise_multiplier, 0.02, 600)], 1e-6)
    assert found.noise_multiplier == ledger.calibration(store, POOL)(0.5, 1e-6, 0.02, 600)


def test_the_same_training_costs_more_under_replace_one(store, card, opened):
    """FACTS 9's neighbour: one run, two adjacencies. Gaussian releases check it by hand: twice the shift."""
    opened(card())
    found = quote(store, POOL, Request(noise=4.0))
    assert found.epsilon_replace_one == pytest.approx(epsilon_of([gaussian_event(2.0)], 1e-6), rel=1e-3)
    assert found.epsilon_replace_one > 2 * found.epsilon


def test_what_is_left_after_it_is_what_the_ledger_says_after_it(store, card, opened):
    opened(card())
    found = quote(store, POOL, Request(noise=4.09, rate=0.02, steps=600))
    ledger.reserve(store, POOL, found.event, "pupil", "training m", "wanda")
    after = ledger.status(store, POOL)
    assert found.own.promise
    assert not found.other.promise
    assert found.own.share == (0, pytest.approx(after.share))
    assert found.own.largest[1] == pytest.approx(after.largest)
    assert quote(store, POOL, Request(noise=4.09, rate=0.02, steps=600)).own.fits == found.own.fits - 1


def test_a_plan_is_quoted_by_its_slots_and_the_filter_beside_it_is_a_what_if(store, card, opened, slots):
    opened(card(training=(2, 1e-6, *slots)))
    found = quote(store, POOL, Request(noise=1.7, rate=0.01, steps=150))
    assert (found.own.rule, found.own.fits, found.own.slot) == ("slots", 4, "training")
    assert found.other.rule == "filter"
    assert found.other.fits > 4


def test_what_no_slot_takes_is_refused_with_the_noise_that_each_would_take(store, card, opened, slots):
    opened(card(training=(2, 1e-6, *slots)))
    found = quote(store, POOL, Request(noise=1.0, rate=0.02, steps=100))
    assert found.own.fits == 0
    assert "No free slot" in found.refusal
    with pytest.raises(NoSlot):
        ledger.reserve(store, POOL, found.event, "pupil", "training m", "wanda")
    names = dict(found.to_fill)
    again = quote(store, POOL, Request(noise=names["training"], rate=0.02, steps=100))
    assert (again.own.fits, again.refusal, again.to_fill) == (4, "", ())
    assert names["training"] > 1.0


def test_what_does_not_fit_a_filter_is_quoted_with_the_refusal(store, card, opened):
    opened(card(training=(1, 1e-6)))
    found = quote(store, POOL, Request(noise=1.0))
    assert (found.own.fits, found.own.share) == (0, None)
    assert "left and this needs" in found.refusal
    with pytest.raises(BudgetExhausted):
        ledger.reserve(store, POOL, found.event, "pupil", "release", "omar")


def test_the_plan_of_a_what_if_is_the_largest_that_keeps_the_promise():
    event = dp_sgd_event(1.63, 0.01, 200)
    budget = new_budget(POOL, 3, 1e-6)
    held = Held({'{"event": "Gaussian", "noise_multiplier": 4.0}': 2})
    count = what_if(budget, event, held).fits

    def cost(n):
        return SlotPlan((Slot("held", 2, gaussian_event(4.0)), Slot("this", n, event))).epsilon(1e-6)

    assert cost(count) <= 3 < cost(count + 1)
    assert count > budget.fits(event, held)  # a plan made in hindsight holds more than a filter


def test_a_plan_beside_a_best_of_k_cannot_be_made(store, card, opened):
    opened(card())
    event = best_of_event(dp_sgd_event(8.0, 0.02, 100), 4)
    assert what_if(new_budget(POOL, 8, 1e-6), event, Held()).fits is None


def test_a_training_that_costs_next_to_nothing_fits_without_a_count(store, card, opened):
    opened(card())
    assert quote(store, POOL, Request(noise=1e6)).own.fits == MOST
    assert new_budget(POOL, 8, 1e-6).fits(dp_sgd_event(1.0, 0.1, 0), Held()) == MOST


def test_a_pool_without_a_budget_has_no_quote(store):
    with pytest.raises(NotFound):
        quote(store, POOL, Request(epsilon=1))


def test_a_release_from_a_held_out_wave_is_quoted_as_the_exit_gate_makes_it(store, card):
    """Counts with discrete noise, whose epsilon is its concentration's: what is quoted is what is then charged."""
    pool = "held-out:pupils/2016"
    with store.transaction() as tx:
        ledger.open_wave_budget(tx, card(), "2016", "dana")
    found = quote(store, pool, Request(epsilon=1.0, delta=1e-6))
    made = discrete_gaussian(1.0, 1e-6, 2.0)
    assert found.event["event"] == made.event["event"] == "DiscreteGaussian"
    assert found.noise_multiplier == pytest.approx(made.event["noise_multiplier"], rel=1e-3)
    assert found.epsilon == pytest.approx(1.0, rel=1e-5)
    assert 1.9 < found.epsilon_replace_one < 2.3
    for _ in range(found.own.fits):
        ledger.reserve(store, pool, made.event, "pupil", "release", "omar")
    with pytest.raises(BudgetExhausted):
        ledger.reserve(store, pool, made.event, "pupil", "release", "omar")
    report = reports.report(store, pool)
    assert (report.readings.pld, report.readings.mu) == (None, None)  # no proof, no figure
    assert 0 < report.readings.rdp < 3
