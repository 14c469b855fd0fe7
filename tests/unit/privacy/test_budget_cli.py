"""`ndl budget` says what is promised, what was charged and what would fit, and never takes one for the other."""

import io
import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from sandbox.errors import Invalid, NotFound, Refused
from sandbox.lifecycle import ChargeState
from sandbox.privacy import ledger, wording
from sandbox.privacy.accounting import dp_sgd_event, gaussian_event, with_steps
from sandbox.privacy.cli import budget
from sandbox.records import Charge
from sandbox.roles import Person, Role

POOL = "training:pupils"
TRAINING = dp_sgd_event(4.09, 0.02, 600)


@pytest.fixture
def ndl(store, operator):
    def run(*arguments, person=operator):
        console = Console(file=io.StringIO(), width=160)
        box = SimpleNamespace(store=store, console=console, person=person)
        done = CliRunner().invoke(budget, [str(a) for a in arguments], obj=box, catch_exceptions=True)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return console.file.getvalue() + done.output

    return run


@pytest.fixture
def used(store, card, opened, operator, dataset):
    """A pool with one charge in each state; answers them by state."""
    opened(card())
    dataset()
    made = [ledger.reserve(store, POOL, TRAINING, "pupil", f"training m{i}", "wanda") for i in range(4)]
    ledger.touch(store, made[1].id, "wanda")
    ledger.touch(store, made[2].id, "wanda")
    ledger.settle(store, made[2].id, with_steps(TRAINING, 150), "wanda")
    ledger.release(store, made[3].id, "the machine was lost", operator)
    return dict(zip(ChargeState, made, strict=True))


def words(text):
    return " ".join(text.split())


def test_a_fresh_installation_says_how_budgets_come_about(ndl):
    assert "No budgets yet" in ndl("show")


def test_every_pool_is_shown_with_its_promise_its_use_and_its_adjacency(ndl, store, card, opened):
    opened(card())
    opened(card(population="patients", training=(2, 1e-5)))
    ledger.reserve(store, POOL, gaussian_event(3), "pupil", "train m", "wanda")
    text = ndl("show")
    pupils = next(line for line in text.splitlines() if line.startswith(POOL)).split()
    status = ledger.status(store, POOL)
    assert {"filter", "8", "1e-06", "add/remove", "1/0/0/0", f"{status.share:.1%}"} <= set(pupils)
    assert "training:patients" in text
    assert "promised ε" in text
    assert "not the epsilon of what was released" in words(text)


def test_one_pool_can_be_asked_for(ndl, card, opened):
    opened(card())
    opened(card(population="patients"))
    assert POOL not in ndl("show", "training:patients")


@pytest.mark.parametrize("verb", ["show", "quote", "history", "forecast", "export"])
def test_an_unknown_pool_is_named(ndl, card, opened, verb):
    opened(card())
    more = ["--epsilon", "1"] if verb == "quote" else []
    with pytest.raises(NotFound, match=POOL):
        ndl(verb, "training:nobody", *more)


def test_one_pool_is_shown_with_its_promise_before_and_apart_from_every_reading(ndl, used):
    text = ndl("show", POOL)
    promise, _, readings = text.partition("Readings of what was charged: no promises")
    assert "ε = 8 at δ = 1e-06, add or remove one pupil" in promise
    assert "filter at Rényi order 4" in promise
    assert "1 reserved, 1 touched, 1 settled, 1 released" in promise
    assert not [word for word in ("odometer", "PLD", wording.FIXED, "μ") if word in promise]
    assert "ε = 8" not in readings
    for line in readings.splitlines():
        if "PLD" in line or "RDP" in line or "central limit" in line:
            assert ", if parameters had been fixed in advance" in line
        if "ε = " in line:
            assert "at δ = 1e-06" in line
            assert "one pupil" in line
    assert "replace one pupil" in readings


def test_a_plan_is_shown_slot_by_slot(ndl, store, card, opened, slots):
    opened(card(training=(2, 1e-6, *slots)))
    ledger.reserve(store, POOL, dp_sgd_event(1.63, 0.01, 100), "pupil", "training m", "wanda")
    text = words(ndl("show", POOL))
    assert "plan of 6 slots" in text
    assert "slot training 1 of 4 taken" in text
    assert "slot release 0 of 2 taken" in text


def test_pools_that_compose_in_parallel_are_told_from_those_that_share_people(ndl, store, card):
    with store.transaction() as tx:
        ledger.open_budgets(tx, card(), "dana")
        for wave in ("2016", "2017"):
            ledger.open_wave_budget(tx, card(), wave, "dana")
        ledger.open_wave_budget(tx, card(recurs=True), "2018", "dana")
    text = words(ndl("show"))
    assert "Nobody is in two of held-out:pupils/2016, held-out:pupils/2017, training:pupils" in text
    assert "held-out:pupils holds people of single waves too: those promises add" in text
    assert (
        "one unit is promised ε = 8 at δ = 2e-06" in text
    )  # the largest of 8 and 3 + 3; 1e-6 and 1e-6 + 1e-6


def test_a_quote_says_the_noise_both_adjacencies_what_is_left_and_what_fits_by_both_rules(ndl, store, used):
    text = words(ndl("quote", POOL, "--epsilon", 0.5, "--rate", 0.02, "--steps", 600))
    assert "noise multiplier 4.08" in text
    assert "ε of this training alone ε = 0.4999 at δ = 1e-06, add or remove one pupil" in text
    assert "replace one pupil" in text
    own, _, other = text.partition("What if it had been a plan of slots? Binds nobody")
    assert "a filter: the promise" in own
    assert "after it" in own
    assert "such trainings still fit 137" in own
    assert "such trainings would still fit" in other


def test_a_quote_takes_a_batch_and_epochs_of_the_registered_units(ndl, used):
    by_rate = json.loads(ndl("quote", POOL, "--noise", 4, "--rate", 0.02, "--steps", 600, "--json"))
    by_batch = json.loads(ndl("quote", POOL, "--noise", 4, "--batch", 200, "--epochs", 12, "--json"))
    assert by_rate == by_batch
    assert by_rate["unit"] == "pupil"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--epsilon", "nan"], "--epsilon"),
        (["--epsilon", "-1"], "--epsilon"),
        (["--epsilon", "inf"], "--epsilon"),
        (["--epsilon", "101"], "--epsilon"),
        (["--noise", "0"], "--noise"),
        (["--noise", "0.01"], "--noise"),
        (["--noise", "1e-200"], "--noise"),
        ([], "--epsilon or --noise"),
        (["--noise", "1", "--epsilon", "1"], "--epsilon"),
        (["--noise", "1", "--delta", "1"], "--delta"),
        (["--noise", "1", "--delta", "1e-13"], "--delta"),
        (["--noise", "1", "--rate", "0.1"], "--steps or --epochs"),
        (["--noise", "1", "--steps", "9"], "--rate or --batch"),
        (["--noise", "1", "--rate", "1.1", "--steps", "9"], "--rate"),
        (["--noise", "1", "--rate", "0", "--steps", "9"], "--rate"),
        (["--noise", "1", "--rate", "0.1", "--batch", "1", "--steps", "9"], "--rate"),
        (["--noise", "1", "--batch", "0", "--steps", "9"], "--batch"),
        (["--noise", "1", "--batch", "10001", "--steps", "9"], "--batch"),
        (["--noise", "1", "--batch", "9", "--units", "0", "--steps", "9"], "--units"),
        (["--noise", "1", "--rate", "0.1", "--steps", "0"], "--steps"),
        (["--noise", "1", "--rate", "0.1", "--steps", "-5"], "--steps"),
        (["--noise", "1", "--rate", "0.1", "--steps", "10000001"], "--steps"),
        (["--noise", "1", "--rate", "0.1", "--epochs", "nan"], "--epochs"),
        (["--noise", "1", "--rate", "0.1", "--epochs", "1", "--steps", "9"], "--steps"),
    ],
)
def test_a_number_that_cannot_be_is_refused_in_one_sentence_that_names_its_field(ndl, used, options, field):
    with pytest.raises(Invalid) as refusal:
        ndl("quote", POOL, *options)
    assert refusal.value.exit_code == 2
    [problem] = refusal.value.problems
    assert problem.where == field


def test_a_word_for_a_number_is_refused_by_name(ndl, used):
    assert "'--steps': '1.5' is not a valid integer" in ndl("quote", POOL, "--noise", 1, "--steps", "1.5")


def test_a_batch_of_people_nobody_counted_asks_for_their_number(ndl, card, opened):
    opened(card())
    with pytest.raises(Invalid, match="Give --units"):
        ndl("quote", POOL, "--noise", 4, "--batch", 9, "--steps", 9)


def test_where_there_is_one_training_pool_it_need_not_be_named(ndl, card, opened):
    opened(card())
    assert POOL in ndl("quote", "--epsilon", 1)
    assert POOL in ndl("forecast")
    opened(card(population="patients"))
    with pytest.raises(Refused, match="Name a POOL"):
        ndl("quote", "--epsilon", 1)


def test_the_history_lists_every_charge_in_order_with_the_running_odometer(ndl, used):
    lines = json.loads(ndl("history", POOL, "--json"))
    assert [line["charge"]["state"] for line in lines] == ["reserved", "touched", "settled", "released"]
    assert [line["charge"]["id"] for line in lines] == [charge.id for charge in used.values()]
    assert [line["mechanism"]["steps"] for line in lines] == [600, 600, 150, 600]
    assert [line["reserved_steps"] for line in lines] == [600] * 4
    readings = [line["odometer"] for line in lines]
    assert 0 < readings[0] < readings[1] < readings[2] == readings[3] < 8
    assert (lines[3]["ended_by"], lines[3]["reason"]) == ("olga", "the machine was lost")
    assert lines[1]["touched_at"]
    assert not lines[0]["touched_at"]
    text = words(ndl("history", POOL))
    assert "training m0, by wanda" in text
    assert "DP-SGD, noise 4.09, rate 0.02" in text
    assert "150 settled" in text
    assert "of 600" in text
    assert "released, by olga: the machine was lost" in text
    assert "add or remove one pupil" in text


def test_an_empty_history_says_so(ndl, card, opened):
    opened(card())
    assert "Nothing was charged" in ndl("history", POOL)
    assert json.loads(ndl("history", POOL, "--json")) == []


def test_words_that_look_like_markup_are_shown_as_they_are(ndl, store, card, opened):
    opened(card())
    ledger.reserve(store, POOL, TRAINING, "pupil", "[bold]m[/bold] [/]", "wanda")
    assert "[bold]m[/bold] [/]" in ndl("history", POOL)


def test_an_operator_releases_what_was_never_touched_and_nothing_else(ndl, store, used):
    reserved, touched = used[ChargeState.RESERVED], used[ChargeState.TOUCHED]
    assert "counts no more" in ndl("release", reserved.id[:12], "--reason", "the machine was lost")
    assert store.get(Charge, reserved.id).state is ChargeState.RELEASED
    line = store.audit_lines()[-1]
    assert (line.action, line.by, line.reason) == ("privacy.release", "olga", "the machine was lost")
    for charge in (touched, used[ChargeState.SETTLED], reserved):
        with pytest.raises(Refused, match="never reached the data"):
            ndl("release", charge.id, "--reason", "I say so")


def test_a_release_is_an_operators_names_a_reason_and_a_charge(ndl, store, used):
    reserved = used[ChargeState.RESERVED]
    with pytest.raises(Refused, match="operator"):
        ndl("release", reserved.id, "--reason", "x", person=Person("ada", frozenset({Role.DEVELOPER})))
    assert "Missing option '--reason'" in ndl("release", reserved.id)
    for unknown in ("0" * 12, reserved.id[:7], ""):
        with pytest.raises(NotFound, match="charge"):
            ndl("release", unknown, "--reason", "x")
    assert store.get(Charge, reserved.id).state is ChargeState.RESERVED


@pytest.mark.parametrize("verb", ["show", "quote", "history", "forecast", "export"])
def test_every_question_leaves_the_ledger_and_the_audit_log_as_they_were(ndl, store, used, verb):
    more = ["--epsilon", "1"] if verb == "quote" else []
    before = (store.all(Charge), store.audit_lines())
    assert ndl(verb, POOL, *more)
    assert (store.all(Charge), store.audit_lines()) == before


@pytest.mark.parametrize("verb", ["show", "quote", "history", "forecast"])
def test_every_answer_is_there_for_programs_in_strict_json(ndl, used, verb):
    more = ["--epsilon", "1"] if verb == "quote" else []
    assert json.loads(ndl(verb, POOL, "--json", *more), parse_constant=pytest.fail)
