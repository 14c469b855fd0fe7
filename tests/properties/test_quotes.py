"""What is quoted is what the ledger then does, whatever was charged before; and a quote spends nothing."""

import contextlib
import itertools
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox.errors import BudgetExhausted, NoSlot
from sandbox.privacy import ledger
from sandbox.privacy.accounting import canonical, dp_sgd_event, gaussian_event, rdp_at, with_steps
from sandbox.privacy.budgets import MOST, Budget, Held, new_budget
from sandbox.privacy.filter import RenyiFilter
from sandbox.privacy.history import history
from sandbox.privacy.quote import Request, quote
from sandbox.records import Charge
from sandbox.roles import Person, Role
from sandbox.storage import Store

POOL = "training:p"
SLOTS = (
    SimpleNamespace(name="training", count=5, noise_multiplier=1.63, sampling_rate=0.01, steps=200),
    SimpleNamespace(name="small", count=4, noise_multiplier=3.0, sampling_rate=0.01, steps=100),
    SimpleNamespace(name="release", count=3, noise_multiplier=6.0, sampling_rate=1.0, steps=1),
)
# Of each slot's shape with as much noise or more, so that it is seen at a glance what fits it; and one that never does.
REQUESTS = st.sampled_from(
    [
        Request(noise=1.7, rate=0.01, steps=200),
        Request(noise=3.0, rate=0.005, steps=90),
        Request(noise=9.0, rate=0.01, steps=150),
        Request(noise=6.0),
        Request(noise=9.0),
        Request(noise=2.0),
    ]
)
NUMBER = itertools.count()
CALM = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def opened(folder, epsilon, slots):
    store = Store(f"sqlite:///{folder}/ndl-{next(NUMBER)}.db")
    budget = SimpleNamespace(training=SimpleNamespace(epsilon=epsilon, delta=1e-6, slots=slots))
    with store.transaction() as tx:
        ledger.open_budgets(tx, SimpleNamespace(population="p", recurs=False, budget=budget), "dana")
    return store


def event_of(request):
    if request.rate is None:
        return dp_sgd_event(request.noise, 1.0, 1)
    return dp_sgd_event(request.noise, request.rate, request.steps)


def charge(store, event):
    return ledger.reserve(store, POOL, event, "person", "test", "wanda")


@pytest.mark.parametrize("slots", [(), SLOTS])
@given(
    before=st.lists(st.tuples(REQUESTS, st.sampled_from(["keep", "shorten", "release"])), max_size=5),
    asked=REQUESTS,
)
@CALM
def test_as_many_as_are_quoted_are_accepted_and_not_one_more(
    tmp_path_factory, operator, slots, before, asked
):
    store = opened(tmp_path_factory.mktemp("quotes"), 1.7 if slots else 1.0, slots)
    for request, then in before:
        try:
            made = charge(store, event_of(request))
        except (BudgetExhausted, NoSlot):
            continue
        if then == "release":
            ledger.release(store, made.id, "lost", operator)
        elif then == "shorten":
            ledger.settle(store, made.id, with_steps(made.event, made.event["count"] // 2), "wanda")
    lines, charges = store.audit_lines(), store.all(Charge)
    found = quote(store, POOL, asked)
    assert (store.audit_lines(), store.all(Charge)) == (lines, charges)  # it spent nothing
    assert found.event == event_of(asked)
    for _ in range(found.own.fits):
        charge(store, found.event)
    with pytest.raises((BudgetExhausted, NoSlot)):
        charge(store, found.event)
    assert quote(store, POOL, asked).own.fits == 0
    store.close()


@given(noise=st.floats(0.8, 30), steps=st.integers(1, 400), held=st.integers(0, 40), epsilon=st.floats(1, 8))
@example(noise=14.0, steps=1, held=0, epsilon=8.0)
@settings(max_examples=40, deadline=None)
def test_a_filter_counts_what_it_admits_one_by_one(noise, steps, held, epsilon):
    budget, event = new_budget(POOL, epsilon, 1e-6), dp_sgd_event(noise, 0.02, steps)
    before = Held({'{"event": "Gaussian", "noise_multiplier": 30.0}': held})
    if budget.share(before) > 1:
        return
    count = budget.fits(event, before)
    if count == MOST:
        return  # "or more": nobody counts on
    last = {**before.events, **_times(event, count - 1)}
    if count:
        budget.place(event, Held(last))
    with pytest.raises(BudgetExhausted):
        budget.place(event, Held({**before.events, **_times(event, count)}))


@pytest.mark.parametrize("count", [1, 3, 7, 10, 49, 1000])
def test_a_filter_counts_exactly_what_fills_it_to_the_brim(count):
    """Where the cost divides the bound, a division rounds one way and a sum perhaps the other."""
    event, rule = gaussian_event(7.0), RenyiFilter(8)
    cost = rdp_at(event, 8)
    epsilon = cost * count - rule.bound(0.0, 1e-6)
    budget = Budget(POOL, epsilon, 1e-6, rule)
    found, admitted = budget.fits(event, Held()), 0
    try:
        while True:
            budget.place(event, Held(_times(event, admitted)))
            admitted += 1
    except BudgetExhausted:
        assert found == admitted
    assert abs(found - count) <= 1


@given(requests=st.lists(REQUESTS, min_size=1, max_size=6))
@CALM
def test_the_odometer_never_runs_backwards_nor_past_a_filters_promise(tmp_path_factory, requests):
    store = opened(tmp_path_factory.mktemp("odometer"), 3.0, ())
    charge(store, event_of(requests[0]))
    for request in requests[1:]:
        with contextlib.suppress(BudgetExhausted):
            charge(store, event_of(request))
    readings = [entry.odometer for entry in history(store, POOL)]
    assert readings == sorted(readings)
    assert 0 < readings[-1] <= 3.0
    store.close()


def _times(event, count):
    return {canonical(event): count} if count > 0 else {}


@pytest.fixture(scope="module")
def operator():
    return Person("olga", frozenset({Role.OPERATOR}))
