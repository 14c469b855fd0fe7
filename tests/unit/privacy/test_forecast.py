"""When a budget ends, told from what was charged of late."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.errors import Invalid
from sandbox.privacy import ledger
from sandbox.privacy.accounting import dp_sgd_event
from sandbox.privacy.forecast import forecast
from sandbox.storage import Store

POOL = "training:pupils"
TRAINING = dp_sgd_event(4.09, 0.02, 600)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(ready_url, clock):
    store = Store(ready_url, clock=clock)
    yield store
    store.close()


def charge(store, event=TRAINING):
    return ledger.reserve(store, POOL, event, "pupil", "training", "wanda")


def test_a_steady_pace_is_carried_on_to_the_end(store, card, opened, clock):
    opened(card())
    for day in range(10):
        clock.now = START + timedelta(days=day)
        charge(store)
    clock.now = START + timedelta(days=10)
    found = forecast(store, POOL)
    assert (found.days, found.charges_of_late) == (10, 10)
    assert found.remaining == 129  # of 139, see test_filter
    assert (found.lasts_until - clock.now).days == 129
    assert abs((found.ends_at - clock.now).days - 129) <= 1
    assert found.share == found.share_of_late


def test_only_the_window_sets_the_pace(store, card, opened, clock):
    opened(card())
    for _ in range(20):
        charge(store)
    clock.now = START + timedelta(days=100)
    charge(store)
    found = forecast(store, POOL, days=10)
    assert (found.charges_of_late, found.days) == (1, 10)
    assert (found.lasts_until - clock.now).days == 118 * 10
    assert found.share > 20 * found.share_of_late


def test_a_pool_that_rests_has_no_end_in_sight(store, card, opened, clock):
    opened(card())
    found = forecast(store, POOL)
    assert (found.ends_at, found.event, found.remaining, found.lasts_until) == (None, None, None, None)
    charge(store)
    clock.now = START + timedelta(days=100)
    found = forecast(store, POOL, days=30)
    assert (found.charges_of_late, found.ends_at, found.remaining) == (0, None, 138)


def test_a_released_charge_sets_no_pace(store, card, opened, clock, operator):
    opened(card())
    made = charge(store)
    ledger.release(store, made.id, "the machine was lost", operator)
    assert forecast(store, POOL).charges_of_late == 0


def test_a_day_is_the_shortest_time_to_take_a_pace_from(store, card, opened):
    opened(card())
    charge(store)
    assert forecast(store, POOL).days == 1


def test_trainings_of_other_settings_can_be_counted(store, card, opened):
    opened(card())
    charge(store)
    other = dp_sgd_event(8.0, 0.02, 600)
    assert forecast(store, POOL, event=other).remaining > 3 * forecast(store, POOL).remaining


def test_each_kind_of_slot_has_its_own_end(store, card, opened, clock, slots):
    opened(card(training=(2, 1e-6, *slots)))
    charge(store, dp_sgd_event(1.63, 0.01, 200))
    clock.now = START + timedelta(days=10)
    found = forecast(store, POOL)
    training, release = found.slots
    assert (training.name, training.free) == ("training", 3)
    assert training.ends_at == clock.now + timedelta(days=30)
    assert (release.free, release.ends_at) == (2, None)


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_days_that_cannot_be_are_refused_by_name(store, card, opened, days):
    opened(card())
    with pytest.raises(Invalid, match="--days"):
        forecast(store, POOL, days=days)
