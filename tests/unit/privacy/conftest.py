"""A store, and the parts of a card that the ledger reads."""

from types import SimpleNamespace

import pytest

from sandbox.privacy import ledger
from sandbox.roles import Person, Role
from sandbox.storage import Store


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/ndl.db")
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
