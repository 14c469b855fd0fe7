"""`ndl budget show` says what is promised and what is used, and never takes one for the other."""

import io
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from sandbox.errors import NotFound
from sandbox.privacy import ledger
from sandbox.privacy.accounting import gaussian_event
from sandbox.privacy.cli import budget


@pytest.fixture
def show(store):
    def run(*arguments):
        console = Console(file=io.StringIO(), width=160)
        box = SimpleNamespace(store=store, console=console)
        done = CliRunner().invoke(budget, ["show", *arguments], obj=box, catch_exceptions=True)
        if done.exception is not None:
            raise done.exception
        return console.file.getvalue()

    return run


def test_a_fresh_installation_says_how_budgets_come_about(show):
    assert "No budgets yet" in show()


def test_every_pool_is_shown_with_its_promise_its_use_and_its_adjacency(show, store, card, opened):
    opened(card())
    opened(card(population="patients", training=(2, 1e-5)))
    ledger.reserve(store, "training:pupils", gaussian_event(3), "pupil", "train m", "wanda")
    text = show()
    pupils = next(line for line in text.splitlines() if "training:pupils" in line).split()
    status = ledger.status(store, "training:pupils")
    assert {"8", "1e-06", "add/remove", "1", f"{status.share:.1%}"} <= set(pupils)
    assert "training:patients" in text
    assert "promised ε" in text
    assert "not the epsilon of what was released" in " ".join(text.split())


def test_one_pool_can_be_asked_for(show, card, opened):
    opened(card())
    opened(card(population="patients"))
    assert "training:pupils" not in show("training:patients")


def test_an_unknown_pool_is_named(show, card, opened):
    opened(card())
    with pytest.raises(NotFound, match="training:pupils"):
        show("training:nobody")
