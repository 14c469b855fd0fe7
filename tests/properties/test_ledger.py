"""Whatever is asked, in whatever order, by however many, and whoever is killed: nothing is overspent."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sandbox.errors import BudgetExhausted, Refused
from sandbox.privacy import ledger
from sandbox.privacy.accounting import dp_sgd_event, gaussian_event, rdp_at, with_steps
from sandbox.privacy.filter import rdp_bound
from sandbox.records import Charge
from sandbox.storage import Store

POOL = "training:p"
NUMBER = itertools.count()


def card(epsilon):
    budget = SimpleNamespace(training=SimpleNamespace(epsilon=epsilon, delta=1e-6, slots=()))
    return SimpleNamespace(population="p", recurs=False, budget=budget)


def open_budget(store, epsilon):
    with store.transaction() as tx:
        return ledger.open_budgets(tx, card(epsilon), "dana")


def within_the_bound(store):
    """The bound, worked out anew from the stored charges, without the ledger's own replay."""
    status = ledger.status(store, POOL)
    used = sum(rdp_at(charge.event, status.order) for charge in store.all(Charge, pool=POOL))
    assert used <= rdp_bound(status.epsilon, status.delta, status.order) * (1 + 1e-12)
    assert status.spent <= status.epsilon * (1 + 1e-12)
    return used


EVENTS = st.one_of(
    st.builds(gaussian_event, st.sampled_from([1.5, 3.0, 6.0])),
    st.builds(dp_sgd_event, st.sampled_from([1.0, 4.0]), st.just(0.02), st.integers(0, 900)),
)


class Asking(RuleBasedStateMachine):
    """Charges, settlements and budget changes in any order, against a list of what should be stored."""

    charges = Bundle("charges")

    def __init__(self):
        super().__init__()
        self.file = f"/tmp/ndl-ledger-{os.getpid()}-{next(NUMBER)}.db"
        self.store = Store(f"sqlite:///{self.file}")
        self.expected = {}
        open_budget(self.store, 3)

    def teardown(self):
        self.store.close()
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.file + end)

    @rule(target=charges, event=EVENTS)
    def reserve(self, event):
        try:
            charge = ledger.reserve(self.store, POOL, event, "pupil", "test", "wanda")
        except BudgetExhausted:
            return None
        self.expected[charge.id] = event
        return charge

    @rule(charge=consumes(charges), part=st.floats(0, 2))
    def settle(self, charge, part):
        if charge is None or "count" not in charge.event:
            return
        event = with_steps(charge.event, int(charge.event["count"] * part))
        try:
            ledger.settle(self.store, charge.id, event, "wanda")
        except Refused:
            assert part > 1
        else:
            self.expected[charge.id] = event

    @rule(epsilon=st.sampled_from([2, 2.5, 3, 8]))
    def another_card(self, epsilon):
        before = ledger.status(self.store, POOL)
        with contextlib.suppress(Refused):
            open_budget(self.store, epsilon)
        assert ledger.status(self.store, POOL).epsilon <= before.epsilon

    @invariant()
    def what_is_stored_is_what_was_admitted_and_stays_within_the_promise(self):
        assert {c.id: c.event for c in self.store.all(Charge)} == self.expected
        within_the_bound(self.store)


TestAsking = Asking.TestCase
TestAsking.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


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


RACER = textwrap.dedent("""
    import sys
    from sandbox.errors import BudgetExhausted
    from sandbox.privacy import ledger
    from sandbox.privacy.accounting import gaussian_event
    from sandbox.storage import Store
    store = Store(sys.argv[1])
    event = gaussian_event(float(sys.argv[2]))
    ledger.status(store, "training:p")
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        while True:
            print(ledger.reserve(store, "training:p", event, "pupil", "race", "wanda").id, flush=True)
    except BudgetExhausted:
        print("exhausted", flush=True)
""")


def racers(url, noises):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url, str(noise)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for noise in noises
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    return processes


def test_processes_racing_for_one_budget_never_overspend_it_and_use_it_up(tmp_path):
    url = f"sqlite:///{tmp_path}/ndl.db"
    store = Store(url)
    open_budget(store, 3)
    processes = racers(url, [10.0, 10.0, 14.0, 14.0])
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0].split() for process in processes]
    assert all(lines[-1] == "exhausted" for lines in said)
    told = [line for lines in said for line in lines[:-1]]
    assert sorted(told) == sorted(charge.id for charge in store.all(Charge))
    used, status = within_the_bound(store), ledger.status(store, POOL)
    bound = rdp_bound(status.epsilon, status.delta, status.order)
    assert used > bound - rdp_at(gaussian_event(14.0), status.order)
    assert sum(len(lines) > 1 for lines in said) >= 2  # it was a race
    store.close()


def test_every_charge_a_killed_process_was_told_of_is_stored(tmp_path):
    url = f"sqlite:///{tmp_path}/ndl.db"
    store = Store(url)
    open_budget(store, 8)
    [process] = racers(url, [400.0])
    process.stdin.write("go\n")
    process.stdin.flush()
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
