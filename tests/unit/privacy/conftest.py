"""A store, and the parts of a card that the ledger reads."""

from types import SimpleNamespace

import pytest

from sandbox.privacy import ledger
from sandbox.records import Dataset, Event
from sandbox.roles import Person, Role
from sandbox.storage import Store


@pytest.fixture
def store(ready_url):
    store = Store(ready_url)
    yield store
    store.close()


@pytest.fixture
def card():
    def make(population="pupils", training=(8, 1e-6), held_out=(3, 1e-6), recurs=False):
        def guarantee(pair):
            epsilon, delta, *slots = pair
            return SimpleNamespace(epsilon=epsilon, delta=delta, slots=slots)

        budget = SimpleNamespace(training=guarantee(training), held_out=guarantee(held_out))
        return SimpleNamespace(population=population, recurs=recurs, budget=budget)

    return make


@pytest.fixture
def opened(store):
    def open_budgets(card):
        with store.transaction() as tx:
            return ledger.open_budgets(tx, card, "dana")

    return open_budgets


@pytest.fixture
def operator():
    return Person("olga", frozenset({Role.OPERATOR}))


@pytest.fixture
def dataset(store):
    """Registers a dataset of a population, as far as the ledger's reports read it."""

    def add(name="school", population="pupils", unit="pupil", units=10_000):
        with store.transaction() as tx:
            record = Dataset(
                name, name.title(), population, {"ndl:dataset": {"unit": unit}}, "digest", "nowhere", units, units,
                "digest", tx.clock(), "dana",
            )  # fmt: skip
            tx.add(record, Event("dana", "test", name))
        return record

    return add


@pytest.fixture
def slots():
    """A plan for the card: 4 trainings of one standard step, and 2 releases."""
    return (
        SimpleNamespace(name="training", count=4, noise_multiplier=1.63, sampling_rate=0.01, steps=200),
        SimpleNamespace(name="release", count=2, noise_multiplier=6.0, sampling_rate=1.0, steps=1),
    )
