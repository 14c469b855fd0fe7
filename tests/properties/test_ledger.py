"""Whatever is asked, in whatever order, by however many, and whoever is killed: nothing is overspent."""

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from sandbox import audit
from sandbox.errors import BudgetExhausted, NoSlot, Refused
from sandbox.lifecycle import ChargeState
from sandbox.privacy import ledger
from sandbox.privacy.accounting import (
    canonical,
    discrete_gaussian_event,
    dp_sgd_event,
    gaussian_event,
    rdp_at,
    with_steps,
)
from sandbox.privacy.budgets import Held
from sandbox.privacy.filter import rdp_bound
from sandbox.records import Charge
from sandbox.roles import Person, Role
from sandbox.storage import Store
from tests.properties.ledger_processes import Processes

POOL = "training:p"
OPERATOR = Person("olga", frozenset({Role.OPERATOR}))
PLAN = {"training": 3, "release": 2}
"""Slots by name, and how many of each; their steps are in `slots`."""
STEP = dp_sgd_event(1.63, 0.01, 200)
TAKES = {
    canonical(event): slot
    for event, slot in (
        (STEP, "training"),
        (dp_sgd_event(1.8, 0.01, 180), "training"),
        (gaussian_event(6.0), "release"),
        (discrete_gaussian_event(9.0), "release"),
        (gaussian_event(2.0), None),
    )
}
"""What is asked of a plan, and which slot may take it."""
OF_A_FILTER = st.one_of(
    st.builds(gaussian_event, st.sampled_from([1.5, 3.0, 6.0])),
    st.builds(dp_sgd_event, st.sampled_from([1.0, 4.0]), st.just(0.02), st.integers(0, 900)),
)
PLACES = st.integers(0, 99)


@pytest.fixture(scope="module")
def elsewhere():
    """Runs the ledger's verbs in processes of their own; see ledger_processes."""
    processes = Processes()
    yield processes
    processes.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fresh(request, tmp_path_factory):
    """Called, it gives the URL of a database with our tables and nothing in them, and again the next time."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").ready
    folder = tmp_path_factory.mktemp("ledgers")
    Store(f"sqlite:///{folder}/ready.db").close()

    def copy():
        for file in folder.glob("ndl.db*"):
            file.unlink()
        shutil.copy(folder / "ready.db", folder / "ndl.db")
        return f"sqlite:///{folder}/ndl.db"

    return copy


def wish(epsilon, plan=None):
    fields = "noise_multiplier", "sampling_rate", "steps"
    steps = {"training": (1.63, 0.01, 200), "release": (6.0, 1.0, 1)}
    slots = [
        SimpleNamespace(name=name, count=count, **dict(zip(fields, steps[name], strict=True)))
        for name, count in (plan or {}).items()
    ]
    return SimpleNamespace(epsilon=epsilon, delta=1e-6, slots=slots)


def open_budget(store, epsilon, plan=None):
    card = SimpleNamespace(population="p", recurs=False, budget=SimpleNamespace(training=wish(epsilon, plan)))
    with store.transaction() as tx:
        return ledger.open_budgets(tx, card, "dana")


def cost(events, order):
    return sum(rdp_at(event, order) for event in events)


class Asking(RuleBasedStateMachine):
    """The ledger's verbs in any order, by this process and others, some killed; against a list of what should be there.

    `known` is what every charge should be: its event, state and slot.
    """

    def __init__(self, fresh, elsewhere):
        super().__init__()
        self.url, self.elsewhere = fresh(), elsewhere
        self.store = Store(self.url)
        self.known = {}
        self.plan = None

    @initialize(plan=st.sampled_from([None, PLAN]))
    def open(self, plan):
        self.plan = dict(plan) if plan else None
        open_budget(self.store, 1.7 if plan else 3, plan)
        self.status = ledger.status(self.store, POOL)

    def teardown(self):
        try:
            if self.plan is not None or self.known:
                self.whatever_the_order_the_same_would_have_been_admitted()
            assert audit.first_broken(self.store.audit_lines()) is None
        finally:
            self.store.close()

    # what may happen

    @rule(data=st.data())
    def reserve(self, data):
        event = data.draw(self.events())
        try:
            charge = ledger.reserve(self.store, POOL, event, "pupil", "test", "wanda")
        except (BudgetExhausted, NoSlot):
            assert not self.fits(event)
        else:
            self.admitted(charge.id, event)

    @rule(data=st.data(), count=st.integers(2, 4))
    def several_reserve_at_once(self, data, count):
        events = data.draw(st.lists(self.events(), min_size=count, max_size=count))
        said = self.elsewhere(self.url, *({"verb": "reserve", "event": event} for event in events))
        for event, answer in zip(events, said, strict=True):
            if "id" in answer:
                self.admitted(answer["id"], event, before=False)
        for event, answer in zip(events, said, strict=True):
            assert "id" in answer or not self.fits(event)  # nothing is given back meanwhile

    @rule(place=PLACES)
    def touch(self, place):
        self.change(place, "touch", {ChargeState.RESERVED}, ChargeState.TOUCHED)

    @rule(place=PLACES)
    def release(self, place):
        self.change(place, "release", {ChargeState.RESERVED}, ChargeState.RELEASED)

    @rule(place=PLACES, part=st.floats(0, 2))
    def settle(self, place, part):
        if charge := self.one(place):
            event = self.known[charge][0]
            if "count" in event:
                event = with_steps(event, int(event["count"] * part))
            self.change(
                place, "settle", {ChargeState.RESERVED, ChargeState.TOUCHED}, ChargeState.SETTLED, event
            )

    @rule(place=PLACES)
    def a_worker_touches_what_an_operator_releases_at_the_same_time(self, place):
        if charge := self.one(place):
            event, state, slot = self.known[charge]
            jobs = [{"verb": verb, "id": charge} for verb in ("touch", "release")]
            touched, released = ("id" in said for said in self.elsewhere(self.url, *jobs))
            assert touched + released == (state is ChargeState.RESERVED)  # one of them, never both
            if touched or released:
                now = ChargeState.TOUCHED if touched else ChargeState.RELEASED
                self.known[charge] = (event, now, slot)

    @rule(data=st.data(), place=PLACES, verb=st.sampled_from(["reserve", "touch", "settle", "release"]),
          dies=st.sampled_from(["before", "after"]))  # fmt: skip
    def somebody_is_killed(self, data, place, verb, dies):
        """Before the commit nothing happened; after it, everything did, though nobody was told."""
        job = {"verb": verb, "dies": dies}
        if verb == "reserve":
            job["event"] = data.draw(self.events())
            possible = self.fits(job["event"])
        else:
            if not (charge := self.one(place)):
                return
            event, state, slot = self.known[charge]
            job |= {"id": charge, "event": event}
            possible = state is ChargeState.RESERVED or (verb == "settle" and state is ChargeState.TOUCHED)
        [said] = self.elsewhere(self.url, job)
        assert (said is None) or not possible or dies == "after"
        if dies == "before" or not possible:
            return
        if verb == "reserve":
            [found] = [c.id for c in self.store.all(Charge) if c.id not in self.known]
            self.admitted(found, job["event"])
        else:
            self.known[charge] = (event, {"touch": ChargeState.TOUCHED, "settle": ChargeState.SETTLED,
                                          "release": ChargeState.RELEASED}[verb], slot)  # fmt: skip

    @rule(epsilon=st.sampled_from([1.7, 2, 2.5, 3, 8]), fewer=st.sampled_from(["training", "release"]))
    def another_card(self, epsilon, fewer):
        plan = self.plan and {
            name: n - (name == fewer) for name, n in self.plan.items() if n - (name == fewer)
        }
        with contextlib.suppress(Refused):
            open_budget(self.store, 1.7 if self.plan else epsilon, plan)
        before, self.status = self.status, ledger.status(self.store, POOL)
        assert self.status.epsilon <= before.epsilon
        if self.plan:
            now = {s.name: s.count for s in self.status.slots}
            assert now in (self.plan, plan)
            self.plan = now

    # what must hold

    @invariant()
    def what_is_stored_is_what_was_admitted(self):
        if self.plan is not None or self.known:
            stored = {c.id: (c.event, c.state, c.slot) for c in self.store.all(Charge)}
            assert stored == self.known

    @invariant()
    def the_replayed_total_is_within_the_promise(self):
        """Worked out anew from the stored charges, without the ledger's own replay."""
        with self.store.reading() as view:
            if not list(ledger.budgets(view)):
                return
        counted = [c for c in self.store.all(Charge, pool=POOL) if c.state is not ChargeState.RELEASED]
        status = ledger.status(self.store, POOL)
        assert status.charges == len(counted)
        assert status.spent <= status.epsilon * (1 + 1e-12)
        if self.plan is None:
            bound = rdp_bound(status.epsilon, status.delta, status.order)
            assert cost([c.event for c in counted], status.order) <= bound * (1 + 1e-12)
        else:
            for slot in status.slots:
                assert sum(c.slot == slot.name for c in counted) == slot.taken <= slot.count
            assert {c.slot for c in counted} <= {slot.name for slot in status.slots}

    def whatever_the_order_the_same_would_have_been_admitted(self):
        """The charges that count, asked for in another order, are admitted to the last and come to the same."""
        with self.store.reading() as view:
            budget, found = ledger.budget_of(view, POOL), ledger.held(view, POOL)
        counted = [
            (event, slot) for event, state, slot in self.known.values() if state is not ChargeState.RELEASED
        ]
        random.Random(len(counted)).shuffle(counted)
        again = Held()
        for event, slot in counted:
            if self.plan is None:
                budget.place(event, again)
            text = canonical(event)
            again = Held(
                {**again.events, text: again.events.get(text, 0) + 1},
                {**again.slots, slot: again.slots.get(slot, 0) + 1},
            )
        assert budget.share(again) == pytest.approx(budget.share(found), rel=1e-12)
        assert again.charges == found.charges

    # how this test sees it

    def events(self):
        return OF_A_FILTER if self.plan is None else st.sampled_from(list(TAKES)).map(json.loads)

    def fits(self, event):
        """Whether it should be admitted beside what is known."""
        counted = [e for e, state, _ in self.known.values() if state is not ChargeState.RELEASED]
        if self.plan is None:
            bound = rdp_bound(self.status.epsilon, self.status.delta, self.status.order)
            return cost([*counted, event], self.status.order) <= bound
        taken = [slot for _, state, slot in self.known.values() if state is not ChargeState.RELEASED]
        slot = TAKES[canonical(event)]
        return slot is not None and taken.count(slot) < self.plan.get(slot, 0)

    def admitted(self, charge, event, before=True):
        assert not before or self.fits(event)
        self.known[charge] = (
            event,
            ChargeState.RESERVED,
            TAKES[canonical(event)] if self.plan is not None else "",
        )

    def one(self, place):
        """One of the charges, if there are any."""
        return list(self.known)[place % len(self.known)] if self.known else None

    def change(self, place, verb, possible, to, event=None):
        """Does it, and expects it to be refused where the charge is in no state for it, or grows."""
        if not (charge := self.one(place)):
            return
        was, state, slot = self.known[charge]
        now = event or was
        same = verb == "settle" and state is ChargeState.SETTLED and now == was
        allowed = same or (state in possible and now.get("count", 0) <= was.get("count", 0))
        who = {"release": ("the machine was lost", OPERATOR), "settle": (now, "wanda"), "touch": ("wanda",)}[
            verb
        ]
        try:
            getattr(ledger, verb)(self.store, charge, *who)
        except Refused:
            assert not allowed
        else:
            assert allowed
            self.known[charge] = (now, to, slot)


def test_whatever_is_asked_and_whoever_is_killed_nothing_is_overspent(fresh, elsewhere, request):
    many = "sqlite" in request.node.name
    run_state_machine_as_test(
        lambda: Asking(fresh, elsewhere),
        settings=settings(
            max_examples=16 if many else 8, stateful_step_count=14, deadline=None,
            suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )  # fmt: skip


@given(st.permutations(range(6)))
@settings(max_examples=5, deadline=None)
def test_the_order_of_charges_does_not_change_what_is_spent(tmp_path_factory, order):
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('order')}/ndl.db")
    open_budget(store, 8)
    for i in order:
        ledger.reserve(store, POOL, dp_sgd_event(4 + i, 0.02, 100 * i), "pupil", "test", "wanda")
    expected = sum(rdp_at(dp_sgd_event(4 + i, 0.02, 100 * i), 4) for i in range(6))
    assert abs(within_the_bound(store) - expected) < 1e-12
    store.close()


def within_the_bound(store):
    status = ledger.status(store, POOL)
    used = cost([charge.event for charge in store.all(Charge, pool=POOL)], status.order)
    assert used <= rdp_bound(status.epsilon, status.delta, status.order) * (1 + 1e-12)
    return used


def test_processes_racing_for_one_budget_never_overspend_it_and_use_it_up(fresh, elsewhere):
    url = fresh()
    store = Store(url)
    open_budget(store, 3)
    events = [gaussian_event(noise) for noise in (10.0, 10.0, 14.0, 14.0)]
    said = elsewhere(url, *({"verb": "reserve all", "event": event} for event in events))
    told = [charge for answer in said for charge in answer["id"]]
    assert sorted(told) == sorted(charge.id for charge in store.all(Charge))
    used, status = within_the_bound(store), ledger.status(store, POOL)
    bound = rdp_bound(status.epsilon, status.delta, status.order)
    assert used > bound - rdp_at(gaussian_event(14.0), status.order)
    assert sum(len(answer["id"]) > 0 for answer in said) >= 2  # it was a race
    store.close()


ASKING_FOR_EVER = textwrap.dedent("""
    import sys
    from sandbox.privacy import ledger
    from sandbox.privacy.accounting import gaussian_event
    from sandbox.storage import Store
    store = Store(sys.argv[1])
    while True:
        print(ledger.reserve(store, "training:p", gaussian_event(400.0), "pupil", "test", "wanda").id, flush=True)
""")


def test_every_charge_a_killed_process_was_told_of_is_stored(fresh):
    url = fresh()
    store = Store(url)
    open_budget(store, 8)
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING_FOR_EVER, url], stdout=subprocess.PIPE, text=True
    )
    told = [process.stdout.readline().strip() for _ in range(15)]
    process.send_signal(signal.SIGKILL)
    told += process.communicate()[0].split("\n")
    whole = {line for line in told if len(line) == 32}
    stored = {charge.id for charge in store.all(Charge)}
    assert len(whole) >= 15
    assert whole <= stored
    assert len(stored - whole) <= 1  # committed, but killed before it could say so
    within_the_bound(store)
    store.close()
