"""A plan of slots: what may ever be run on these people is fixed in advance, as a multiset of standard steps.

The whole plan is accounted at once, tightly, by privacy loss distributions. Which slot is used when,
whether one is left empty or stopped early, and what fills it may depend on everything seen so far, as long
as what fills it is dominated by the slot's step (see `domination`) and each slot is used once. The proof
is in this package's README, and is checked by brute force in tests/spec/test_slot_plan_proof.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sandbox.errors import Refused
from sandbox.privacy import accounting, checks
from sandbox.privacy.domination import GRID, SLACK, dominates
from sandbox.records import Json


@dataclass(frozen=True)
class Slot:
    """`count` runs of this standard step; `name` is the custodian's word for it."""

    name: str
    count: int
    event: Json

    def to_json(self) -> Json:
        return {"name": self.name, "count": self.count, "event": self.event}


@dataclass(frozen=True)
class SlotPlan:
    """Slots by name, in the order in which the custodian wrote them."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, slots: Iterable[Slot]) -> SlotPlan:
        """Checked; raises Refused for a plan without slots, with a name twice, or with an event that has no PLD."""
        plan = cls(tuple(Slot(s.name, checks.count(s.count), accounting.checked(s.event)) for s in slots))
        names = [slot.name for slot in plan.slots]
        if not names or not all(names) or len(set(names)) != len(names):
            raise Refused("A slot plan has at least one slot, and each has a name of its own.")
        if not all(slot.count and accounting.has_pld(slot.event) for slot in plan.slots):
            raise Refused("Each slot counts at least one run of a step that is fixed in advance.")
        return plan

    @cached_property
    def total(self) -> int:
        return sum(slot.count for slot in self.slots)

    def epsilon(self, delta: float) -> float:
        """What the whole plan can ever cost at `delta`, by PLD; it does not matter what is seen in between."""
        if not (left := delta_left(delta, self.total)):
            raise Refused("A delta this small leaves no room for rounding in so many slots.")
        if any(accounting.worthless(slot.event) for slot in self.slots):
            return math.inf
        return _epsilon_of_plan(tuple((accounting.canonical(s.event), s.count) for s in self.slots), left)

    def slot_for(self, event: Json, taken: Mapping[str, int]) -> Slot | None:
        """The cheapest free slot whose step dominates the event; None if there is none."""
        fitting = (slot for slot in self.free(taken) if dominates(slot.event, event))
        return min(fitting, key=cost_of, default=None)

    def free(self, taken: Mapping[str, int]) -> list[Slot]:
        """The kinds of slot that have one left."""
        return [slot for slot in self.slots if taken.get(slot.name, 0) < slot.count]

    def share(self, taken: Mapping[str, int]) -> float:
        """The part of the plan that is taken, from 0 to 1, slots weighted by what each costs."""
        whole = sum(cost_of(slot) * slot.count for slot in self.slots)
        return sum(cost_of(slot) * taken.get(slot.name, 0) for slot in self.slots) / whole

    def to_json(self) -> Json:
        return {"rule": "slots", "slots": [slot.to_json() for slot in self.slots]}


def cost_of(slot: Slot) -> float:
    """One number to compare slots by: the Rényi divergence at order 8."""
    return accounting.rdp_at(slot.event, 8)


def noise_to_fill(slot: Slot, sampling_rate: float, steps: int) -> float:
    """The least noise multiplier, to 0.1 %, with which this DP-SGD is dominated by the slot's step.

    Raises Refused when none is found.
    """
    return _noise_to_fill(accounting.canonical(slot.event), checks.rate(sampling_rate), checks.count(steps))


@lru_cache(maxsize=256)
def _noise_to_fill(slot: str, sampling_rate: float, steps: int) -> float:
    step = json.loads(slot)

    def fits(noise: float) -> bool:
        return dominates(step, accounting.dp_sgd_event(noise, sampling_rate, steps))

    low, high = 0.0, 1.0
    while not fits(high):
        low, high = high, high * 2
        if high > 1e4:
            raise Refused("No noise makes this training fit the slot; take fewer steps.")
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def delta_left(delta: float, slots: int) -> float:
    """What the chance that one of so many slots reveals everything (SLACK each) leaves of a delta; 0 for nothing."""
    revealing = -math.expm1(slots * math.log1p(-SLACK))
    return max(0.0, (delta - revealing) / (1 - revealing))


@lru_cache(maxsize=64)
def _epsilon_of_plan(slots: tuple[tuple[str, int], ...], delta: float) -> float:
    """On the grid on which slots are compared with what fills them: it is these distributions that compose."""
    from dp_accounting import pld

    accountant = pld.PLDAccountant(value_discretization_interval=GRID)
    for event, count in slots:
        accountant.compose(accounting.to_dp_event(json.loads(event)), count)
    return float(accountant.get_epsilon(delta))
