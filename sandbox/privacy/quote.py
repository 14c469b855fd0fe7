"""What would this training cost these people's budget, and how many like it still fit? Nothing is spent.

The answer is by the pool's own rule, which is the promise. Beside it stands the other rule, as a *what-if*: had
the pool been opened with that one, with the same charges made. It binds nobody.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sandbox.errors import BudgetExhausted, Invalid, NoSlot, Problem, Refused
from sandbox.privacy import accounting, checks, ledger, slots
from sandbox.privacy.budgets import MOST, Budget, Held
from sandbox.privacy.domination import GRID, SLACK
from sandbox.privacy.filter import RenyiFilter, order_for
from sandbox.privacy.history import mechanism_of
from sandbox.privacy.mechanisms import concentrated_epsilon, noise_multiplier
from sandbox.privacy.reports import MOST_DIFFERENT
from sandbox.privacy.slots import SlotPlan, delta_left
from sandbox.records import Dataset, Json

if TYPE_CHECKING:
    from sandbox.storage import Store, Transaction

LARGEST_EPSILON = 100.0
SMALLEST_DELTA = 1e-12


@dataclass(frozen=True)
class Request:
    """A training as somebody asks for it; what is None is left open. Without sampling and steps it is one
    release with Gaussian noise: everybody, once. `units` says of how many people `batch` is a part."""

    epsilon: float | None = None
    noise: float | None = None
    rate: float | None = None
    batch: float | None = None
    units: int | None = None
    steps: int | None = None
    epochs: float | None = None
    delta: float | None = None

    @property
    def empty(self) -> bool:
        return self == Request()


@dataclass(frozen=True)
class Settings:
    """A request that makes sense: noise or an epsilon to find it for, a sampling rate and steps."""

    epsilon: float | None
    noise: float | None
    rate: float
    steps: int
    delta: float


@dataclass(frozen=True)
class Fit:
    """By one rule: how many such trainings still fit (None: it cannot say), and what the first would do.

    `promise` is True for the pool's own rule. `share` is the part of the promised budget that is used, and
    `largest` the epsilon of the largest further request, before and after; None where nothing fits. `slot`
    is the slot it would take.
    """

    rule: Literal["filter", "slots"]
    promise: bool
    fits: int | None
    share: tuple[float, float] | None = None
    largest: tuple[float, float] | None = None
    slot: str = ""


@dataclass(frozen=True)
class Quote:
    """`epsilon` is of this training alone, by PLD, under add/remove and under replace-one adjacency. On a held-out
    pool one release is of counts with discrete noise, as the exit gate makes it: by its concentration.

    `to_fill` lists, where no free slot is as large as this, the noise multiplier with which each free one
    would take it.
    """

    pool: str
    unit: str
    adjacency: str
    budget_epsilon: float
    budget_delta: float
    event: Json
    noise_multiplier: float
    sampling_rate: float
    steps: int
    delta: float
    epsilon_asked: float | None
    epsilon: float
    epsilon_replace_one: float
    own: Fit
    other: Fit
    refusal: str = ""
    to_fill: tuple[tuple[str, float], ...] = ()


def quote(store: Store, pool: str, request: Request) -> Quote:
    """The quote of this request; changes nothing.

    Raises NotFound for a pool without a budget, Invalid with every number that cannot be, Refused where no
    noise reaches the epsilon.
    """
    with store.reading() as view:
        budget, found = ledger.budget_of(view, pool), ledger.held(view, pool)
        unit, people = _people(view, pool)
    asked = settings_of(request, people, budget.delta)
    event, (epsilon, replaced) = (
        _counts(asked) if _is_counts(pool, asked) else _training(asked, budget, found)
    )
    noise = mechanism_of(event).noise_multiplier
    assert noise is not None
    refusal = _refusal(budget, event, found)
    return Quote(
        pool=pool,
        unit=unit,
        adjacency=accounting.ADJACENCY,
        budget_epsilon=budget.epsilon,
        budget_delta=budget.delta,
        event=event,
        noise_multiplier=noise,
        sampling_rate=asked.rate,
        steps=asked.steps,
        delta=asked.delta,
        epsilon_asked=asked.epsilon,
        epsilon=epsilon,
        epsilon_replace_one=replaced,
        own=fit(budget, event, found),
        other=what_if(budget, event, found),
        refusal=refusal,
        to_fill=_to_fill(budget, asked, found) if refusal and not _is_counts(pool, asked) else (),
    )


def settings_of(request: Request, people: int | None, delta: float) -> Settings:
    """The request, checked and completed; `people` and `delta` are the pool's. Raises Invalid."""
    found = _Checked(request)
    found.exactly_one("epsilon", "noise")
    sampled = found.at_most_one("rate", "batch")
    stepped = found.at_most_one("steps", "epochs")
    if sampled != stepped:
        missing = ("--steps or --epochs", "--rate or --batch")[stepped]
        found.problem(
            missing, "is missing", "Give both how it samples and how long, or neither for one release."
        )
    epsilon = found.number("epsilon", lambda value: checks.positive(value, "An epsilon"))
    noise = found.number("noise", lambda value: checks.positive(value, "A noise multiplier"))
    found.number("delta", lambda value: checks.share(value, "A delta"))
    units = found.number("units", lambda value: checks.positive(value, "A number of units")) or people
    rate = _rate(found, units)
    steps = _steps(found, rate)
    if epsilon and epsilon > LARGEST_EPSILON:
        found.problem("--epsilon", f"an epsilon above {LARGEST_EPSILON:g} promises nothing", "Ask for less.")
    delta = delta if request.delta is None else request.delta
    if 0 < delta < SMALLEST_DELTA:
        found.problem("--delta", f"below {SMALLEST_DELTA:g} rounding decides", "Ask for a larger one.")
    found.raise_if_any()
    settings = Settings(epsilon, noise, rate, steps, delta)
    if noise and _too_weak(settings):
        found.problem(
            "--noise", f"so little that one training has an epsilon above {LARGEST_EPSILON:g}", "Raise it."
        )
        found.raise_if_any()
    return settings


def fit(budget: Budget, event: Json, found: Held, promise: bool = True) -> Fit:
    """What the budget's rule says."""
    rule: Literal["filter", "slots"] = "filter" if isinstance(budget.rule, RenyiFilter) else "slots"
    count = budget.fits(event, found)
    if not count:
        return Fit(rule, promise, 0)
    slot = budget.place(event, found)
    after = with_one_more(found, event, slot)
    return Fit(
        rule,
        promise,
        count,
        (budget.share(found), budget.share(after)),
        (budget.largest(found), budget.largest(after)),
        slot,
    )


def what_if(budget: Budget, event: Json, found: Held) -> Fit:
    """What the other rule would say, had it kept this budget and met the same charges.

    For a filter: a plan of slots that foresaw every charge and as many of this event as it can hold.
    """
    if isinstance(budget.rule, SlotPlan):
        other = replace(budget, rule=RenyiFilter(order_for(budget.epsilon, budget.delta)))
        return fit(other, event, found, promise=False)
    return Fit("slots", False, _plan_holds(budget, event, found))


def with_one_more(found: Held, event: Json, slot: str) -> Held:
    """What would be held if this event were charged."""
    text = accounting.canonical(event)
    events, taken = dict(found.events), dict(found.slots)
    events[text] = events.get(text, 0) + 1
    taken[slot] = taken.get(slot, 0) + 1
    return Held(events, taken)


def units_of(view: Transaction, population: str) -> int | None:
    """How many people the population's training data is about; None where its datasets differ."""
    known = {d.training_units for d in view.all(Dataset, population=population)}
    return known.pop() if len(known) == 1 else None


def _is_counts(pool: str, asked: Settings) -> bool:
    return pool.startswith("held-out:") and asked.rate == 1 and asked.steps == 1


def _counts(asked: Settings) -> tuple[Json, tuple[float, float]]:
    """A release of counts, and its epsilons: who is replaced moves them at most twice as far as who is removed."""
    noise = asked.noise or noise_multiplier(asked.epsilon or 0.0, asked.delta)
    replaced = concentrated_epsilon(noise / 2, asked.delta)
    return accounting.discrete_gaussian_event(noise), (concentrated_epsilon(noise, asked.delta), replaced)


def _training(asked: Settings, budget: Budget, found: Held) -> tuple[Json, tuple[float, float]]:
    noise = asked.noise or budget.noise_for(asked.epsilon or 0.0, asked.delta, asked.rate, asked.steps, found)
    event = accounting.dp_sgd_event(noise, asked.rate, asked.steps)
    replaced = accounting.epsilon_of([event], asked.delta, "pld", "replace-one")
    return event, (accounting.epsilon_of([event], asked.delta), replaced)


def _people(view: Transaction, pool: str) -> tuple[str, int | None]:
    population = ledger.population_of(pool)
    units = [ledger.card_unit(d) for d in view.all(Dataset, population=population)]
    return next(iter(units), "unit"), units_of(view, population) if pool.startswith("training:") else None


def _refusal(budget: Budget, event: Json, found: Held) -> str:
    try:
        budget.place(event, found)
    except (BudgetExhausted, NoSlot) as error:
        return str(error).partition("\n")[0]
    return ""


def _to_fill(budget: Budget, asked: Settings, found: Held) -> tuple[tuple[str, float], ...]:
    if not isinstance(budget.rule, SlotPlan):
        return ()
    answers = []
    for slot in budget.rule.free(found.slots):
        try:
            answers.append((slot.name, slots.noise_to_fill(slot, asked.rate, asked.steps)))
        except Refused:
            continue
    return tuple(answers)


def _plan_holds(budget: Budget, event: Json, found: Held) -> int | None:
    """The most runs of `event` that a plan beside the charges could have held: see `SlotPlan.epsilon`.

    None where something has no PLD, or the charges are too many different ones.
    """
    from dp_accounting import pld

    held = [(json.loads(text), count) for text, count in found.events.items()]
    if len(held) > MOST_DIFFERENT or not all(map(accounting.has_pld, (event, *(known for known, _ in held)))):
        return None
    charged = pld.PLDAccountant(value_discretization_interval=GRID)
    for known, count in held:
        charged.compose(accounting.to_dp_event(known), count)

    def within(count: int) -> bool:
        if not (left := delta_left(budget.delta, found.charges + count)):
            return False
        whole = copy.deepcopy(charged).compose(accounting.to_dp_event(event), count)
        return bool(whole.get_epsilon(left) <= budget.epsilon)

    guess = budget.fits(event, found)
    return _most(within, guess, min(MOST, int(budget.delta / SLACK)))


def _most(within: Callable[[int], bool], guess: int, limit: int) -> int:
    """The largest count up to `limit` that is within, looked for around the guess; 0 if none is."""
    low, high = 0, min(max(1, guess), limit) if limit else 0
    while high and within(high):
        low, high = high, min(limit, high + max(1, high // 4))
        if low == limit:
            return limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def _rate(found: _Checked, units: float | None) -> float:
    rate = found.number("rate", checks.rate)
    batch = found.number("batch", lambda value: checks.positive(value, "A batch"))
    if batch is None:
        return 1.0 if rate is None else rate
    if units is None:
        found.problem(
            "--batch", "is a part of an unknown number of units", "Give --units, or --rate instead."
        )
        return 1.0
    if batch > units:
        found.problem(
            "--batch", f"holds more than the {units:,.0f} units there are", "Ask for a smaller one."
        )
        return 1.0
    return batch / units


def _steps(found: _Checked, rate: float) -> int:
    steps = found.number("steps", lambda value: checks.positive(checks.count(value), "A number of steps"))
    epochs = found.number("epochs", lambda value: checks.positive(value, "A number of epochs"))
    count = math.ceil(epochs / rate) if epochs else int(steps or 1)
    if count > checks.MOST_STEPS:
        field = "--epochs" if epochs else "--steps"
        found.problem(field, f"more than {checks.MOST_STEPS:,} steps", "Ask for fewer.")
    return count


def _too_weak(settings: Settings) -> bool:
    if not settings.noise or settings.noise < 1e-3:
        return True
    event = accounting.dp_sgd_event(settings.noise, settings.rate, settings.steps)
    try:
        return not accounting.epsilon_of([event], settings.delta, "rdp") <= LARGEST_EPSILON
    except (ArithmeticError, ValueError):
        return True


class _Checked:
    """A request and what was found wrong with it, under the names of the command's options."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._problems: list[Problem] = []

    def problem(self, where: str, what: str, todo: str = "") -> None:
        self._problems.append(Problem(where, what, todo))

    def number(self, field: str, check: Callable[[float], float]) -> float | None:
        value = getattr(self._request, field)
        if value is None:
            return None
        try:
            return check(value)
        except Refused as error:
            self.problem(f"--{field}", str(error).rstrip("."))
            return None

    def exactly_one(self, one: str, other: str) -> None:
        if not self.at_most_one(one, other):
            self.problem(f"--{one} or --{other}", "is missing", "Give one of them.")

    def at_most_one(self, one: str, other: str) -> bool:
        """Whether one is given; both are a problem."""
        given = [name for name in (one, other) if getattr(self._request, name) is not None]
        if len(given) == 2:
            self.problem(f"--{one}", f"and --{other} exclude each other", "Give one of them.")
        return bool(given)

    def raise_if_any(self) -> None:
        if self._problems:
            raise Invalid("The request", self._problems)
