"""Plans of slots: what they cost, which slot a request takes, what they refuse."""

import pytest

from sandbox.errors import NoSlot, Refused
from sandbox.lifecycle import ChargeState
from sandbox.privacy import accounting, ledger
from sandbox.privacy.accounting import best_of_event, dp_sgd_event, epsilon_of, gaussian_event, with_steps
from sandbox.privacy.budgets import Budget, Held, new_budget, rule_from_json
from sandbox.privacy.slots import Slot, SlotPlan, noise_to_fill
from sandbox.records import Charge

TRAINING = dp_sgd_event(1.626, 0.01, 200)
"""Epsilon 0.5 at delta 1e-6 / 16."""
SMALL = Slot("small", 40, TRAINING)
LARGE = Slot("large", 2, dp_sgd_event(1.2, 0.01, 200))
PLAN = SlotPlan((LARGE, SMALL))
POOL = "training:pupils"


def wish(count=40, noise=1.626, rate=0.01, steps=200, name="small"):
    from types import SimpleNamespace

    return SimpleNamespace(name=name, count=count, noise_multiplier=noise, sampling_rate=rate, steps=steps)


@pytest.fixture
def planned(card, opened):
    return opened(card(training=(3, 1e-6, wish())))


def reserve(store, event=TRAINING):
    return ledger.reserve(store, POOL, event, "pupil", "train m", "wanda")


def test_a_plan_costs_what_all_its_slots_cost_in_one_composition():
    together = epsilon_of([{**TRAINING, "count": 40 * 200}], 1e-6)
    assert SlotPlan((SMALL,)).epsilon(1e-6) == pytest.approx(together, rel=2e-3)
    assert SlotPlan((SMALL,)).epsilon(1e-6) > SlotPlan((Slot("small", 39, TRAINING),)).epsilon(1e-6)


def test_a_plan_takes_more_trainings_than_the_filter_and_than_adding_epsilons():
    """ε = 3 at δ = 1e-6: adding 0.5 takes six."""
    filtered = new_budget(POOL, 3, 1e-6).fits(TRAINING, Held())
    assert filtered == 38
    assert (
        SlotPlan((Slot("small", 44, TRAINING),)).epsilon(1e-6)
        <= 3
        < SlotPlan((Slot("s", 46, TRAINING),)).epsilon(1e-6)
    )


def test_a_plan_that_costs_more_than_it_promises_is_refused():
    with pytest.raises(Refused, match="more than the promised 3"):
        new_budget(POOL, 3, 1e-6, (Slot("small", 46, TRAINING),))


@pytest.mark.parametrize(
    "slots",
    [
        (Slot("a", 0, TRAINING),),
        (Slot("", 1, TRAINING),),
        (Slot("a", 1, TRAINING), Slot("a", 1, TRAINING)),
        (Slot("a", 1, best_of_event(TRAINING, 3)),),
        (Slot("a", 1, dp_sgd_event(1e-3, 0.1, 3)),),
        (Slot("a", 1, dp_sgd_event(1.0, 0.1, 10**7)),),
        (Slot("a", -1, TRAINING),),
        (Slot("a", 1, {"event": "Gaussian", "noise_multiplier": 0}),),
    ],
)
def test_a_plan_that_is_none_is_refused(slots):
    with pytest.raises(Refused):
        new_budget(POOL, 3, 1e-6, slots)


def test_the_cheapest_free_slot_that_dominates_is_taken():
    assert PLAN.slot_for(TRAINING, {}) is SMALL
    assert PLAN.slot_for(TRAINING, {"small": 40}) is LARGE
    assert PLAN.slot_for(dp_sgd_event(1.3, 0.01, 100), {}) is LARGE
    assert PLAN.slot_for(dp_sgd_event(1.1, 0.01, 200), {}) is None
    assert PLAN.slot_for(TRAINING, {"small": 40, "large": 2}) is None


def test_a_charge_takes_a_slot_and_keeps_it_when_it_is_settled(store, planned):
    charge = reserve(store)
    assert (charge.slot, charge.state) == ("small", ChargeState.RESERVED)
    settled = ledger.settle(store, charge.id, with_steps(TRAINING, 10), "wanda")
    assert settled.slot == "small"
    found = ledger.status(store, POOL)
    assert [(s.name, s.taken, s.count) for s in found.slots] == [("small", 1, 40)]
    assert found.share == pytest.approx(1 / 40)
    assert (found.order, found.epsilon) == (None, 3)


def test_when_every_slot_is_taken_nothing_more_is_charged(store, card, opened):
    opened(card(training=(3, 1e-6, wish(count=2))))
    reserve(store)
    reserve(store, dp_sgd_event(9, 0.001, 1))
    with pytest.raises(NoSlot, match="free: none"):
        reserve(store, dp_sgd_event(9, 0.001, 1))
    assert ledger.status(store, POOL).charges == 2
    assert ledger.status(store, POOL).largest == 0


def test_what_no_slot_dominates_is_not_charged_however_small_its_epsilon(store, planned):
    plain = gaussian_event(9.2)
    assert epsilon_of([plain], 1e-6 / 16) < epsilon_of([TRAINING], 1e-6 / 16)
    with pytest.raises(NoSlot, match="free: small"):
        reserve(store, plain)
    assert ledger.status(store, POOL).charges == 0


def test_a_released_reservation_frees_its_slot(store, card, opened, operator):
    opened(card(training=(3, 1e-6, wish(count=1))))
    first = reserve(store)
    ledger.release(store, first.id, "the machine was lost", operator)
    assert reserve(store).slot == "small"


def test_noise_is_raised_until_a_training_of_another_shape_fits_the_slot():
    noise = noise_to_fill(SMALL, 0.02, 100)
    assert PLAN.slot_for(dp_sgd_event(noise, 0.02, 100), {}) == SMALL
    assert PLAN.slot_for(dp_sgd_event(noise * 0.998, 0.02, 100), {}) is not SMALL


def test_a_training_is_calibrated_to_its_epsilon_and_to_a_slot(store, planned):
    noise_for = ledger.calibration(store, POOL)
    noise = noise_for(0.5, 1e-6 / 16, 0.02, 100)
    assert noise >= accounting.noise_for(0.5, 1e-6 / 16, 0.02, 100)
    assert reserve(store, dp_sgd_event(noise, 0.02, 100)).slot == "small"


def test_the_rule_of_a_pool_is_kept_when_a_card_asks_for_the_other(store, card, opened, planned):
    [answer] = opened(card(training=(2, 1e-6)))
    assert "change its rule" in answer.note
    assert ledger.status(store, POOL).slots
    [again] = opened(card(training=(3, 1e-6, wish())))
    assert again.note == ""


def test_a_plan_may_lose_slots_but_none_that_is_taken(store, card, opened, planned):
    for _ in range(3):
        reserve(store)
    [answer] = opened(card(training=(2, 1e-6, wish(count=5))))
    assert (answer.note[:7], ledger.status(store, POOL).epsilon) == ("Lowered", 2)
    with pytest.raises(Refused, match="below what is spent"):
        opened(card(training=(2, 1e-6, wish(count=2))))
    [kept] = opened(card(training=(2, 1e-6, wish(count=9))))
    assert "keeps its budget" in kept.note


def test_a_plan_is_stored_and_read_back_as_it_was():
    assert rule_from_json(PLAN.to_json()) == PLAN


def test_a_budget_says_how_many_more_fit():
    budget = Budget(POOL, 8, 1e-6, PLAN)
    assert budget.fits(TRAINING, Held()) == 42
    assert budget.fits(TRAINING, Held(slots={"small": 39, "large": 1})) == 2


def test_a_charge_of_best_of_k_fits_a_filter_and_no_plan(store, card, opened, planned):
    with pytest.raises(NoSlot):
        reserve(store, best_of_event(TRAINING, 2))
    assert new_budget(POOL, 3, 1e-6).fits(best_of_event(TRAINING, 4), Held()) == 6
    assert all(charge.slot for charge in store.all(Charge))
