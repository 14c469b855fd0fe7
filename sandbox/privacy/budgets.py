"""What may ever be learnt about the people of one pool, and by which rule is that kept?

Two rules, both sound however later requests depend on earlier results: a filter at one Rényi order
(`filter`) and a plan of slots (`slots`). A pool's rule is chosen when its budget is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.errors import BudgetExhausted, NoSlot, Refused
from sandbox.privacy import accounting, slots
from sandbox.privacy.domination import dominates
from sandbox.privacy.filter import RenyiFilter, gaussian_epsilon, order_for
from sandbox.privacy.slots import Slot, SlotPlan
from sandbox.records import Json

Rule = RenyiFilter | SlotPlan

MOST = 1_000_000
"""No count of what fits goes above this."""


@dataclass(frozen=True)
class Held:
    """The charges of a pool that count: each event (as JSON text) and slot name, and how many there are."""

    events: Mapping[str, int] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)

    @property
    def charges(self) -> int:
        return sum(self.events.values())


@dataclass(frozen=True)
class Budget:
    """What a custodian allows about the people of one pool, and the rule that keeps it."""

    pool: str
    epsilon: float
    delta: float
    rule: Rule

    def must_admit(self) -> None:
        """Raises Refused when this budget admits nothing at all, or its plan costs more than it promises."""
        match self.rule:
            case RenyiFilter() as rule if not rule.bound(self.epsilon, self.delta) > 0:
                raise Refused(
                    f"A budget of ε = {self.epsilon:g} at δ = {self.delta:g} admits nothing at order "
                    f"{rule.order:g}. Ask the data custodian for a larger one."
                )
            case SlotPlan() as plan if (cost := plan.epsilon(self.delta)) > self.epsilon:
                raise Refused(
                    f"The slots of {self.pool} cost ε = {cost:.4g} at δ = {self.delta:g} together, more than "
                    f"the promised {self.epsilon:g}. Plan fewer slots, or more noise in each."
                )

    def place(self, event: Json, held: Held) -> str:
        """The slot that the event takes beside what is held; "" under a filter.

        Raises BudgetExhausted, or NoSlot, when it does not fit.
        """
        match self.rule:
            case RenyiFilter() as rule:
                used, bound = rule.used(held.events), rule.bound(self.epsilon, self.delta)
                cost = rule.used({accounting.canonical(event): 1})
                if not used + cost <= bound:
                    raise BudgetExhausted(self.pool, self._as_gaussian(cost), self._as_gaussian(bound - used))
                return ""
            case SlotPlan() as plan:
                slot = plan.slot_for(event, held.slots)
                if slot is None:
                    raise NoSlot(self.pool, [kind.name for kind in plan.free(held.slots)])
                return slot.name

    def share(self, held: Held) -> float:
        """The part of the budget that is used, from 0 to 1, by Rényi cost."""
        match self.rule:
            case RenyiFilter() as rule:
                return rule.used(held.events) / rule.bound(self.epsilon, self.delta)
            case SlotPlan() as plan:
                return plan.share(held.slots)

    def largest(self, held: Held) -> float:
        """Epsilon at this delta of the largest single request that still fits: a Gaussian release, or a slot."""
        match self.rule:
            case RenyiFilter() as rule:
                return self._as_gaussian(rule.bound(self.epsilon, self.delta) - rule.used(held.events))
            case SlotPlan() as plan:
                free = (accounting.epsilon_of([slot.event], self.delta) for slot in plan.free(held.slots))
                return max(free, default=0.0)

    def fits(self, event: Json, held: Held) -> int:
        """How many more such events the budget takes, one after another; MOST where there is no end to them."""
        match self.rule:
            case RenyiFilter() as rule:
                cost = rule.used({accounting.canonical(event): 1})
                bound, used = rule.bound(self.epsilon, self.delta), rule.used(held.events)
                if used + cost > bound or cost * MOST <= bound - used:
                    return 0 if used + cost > bound else MOST
                # The division rounds: what decides is what `place` would find before the last of them.
                count = max(0, int((bound - used) / cost) - 1)
                while self._used_with(event, count, held) + cost <= bound:
                    count += 1
                return count
            case SlotPlan() as plan:
                free = (s for s in plan.free(held.slots) if dominates(s.event, event))
                return sum(slot.count - held.slots.get(slot.name, 0) for slot in free)

    def noise_for(
        self, epsilon: float, delta: float, sampling_rate: float, steps: int, held: Held = Held()
    ) -> float:
        """The least noise multiplier with which DP-SGD costs at most `epsilon` and fits a slot, if there are slots.

        Under a plan, a training asks for a slot that costs about its epsilon or more; when none is free,
        this is the noise for the epsilon alone and `place` will say so.
        """
        noise = accounting.noise_for(epsilon, delta, sampling_rate, steps)
        if isinstance(self.rule, RenyiFilter):
            return noise
        event = accounting.dp_sgd_event(noise, sampling_rate, steps)
        if self.rule.slot_for(event, held.slots):
            return noise
        wide = [s for s in self.rule.free(held.slots) if _costs_about(s, epsilon, delta)]
        return max(noise, min((slots.noise_to_fill(s, sampling_rate, steps) for s in wide), default=noise))

    def lowered_to(self, asked: Budget, held: Held) -> bool:
        """Whether what is asked allows no more than this; raises Refused when less than is held already."""
        match self.rule, asked.rule:
            case RenyiFilter() as rule, RenyiFilter():
                new = rule.bound(asked.epsilon, asked.delta)
                lower = new < rule.bound(self.epsilon, self.delta)
                spent = lower and rule.used(held.events) > new
            case SlotPlan() as plan, SlotPlan() as fewer:
                lower = asked != self and _is_part(fewer, plan) and asked.delta <= self.delta
                lower = lower and asked.epsilon <= self.epsilon
                counts = {slot.name: slot.count for slot in fewer.slots}
                spent = lower and any(counts.get(name, 0) < n for name, n in held.slots.items())
            case _:
                return False
        if spent:
            raise Refused(
                f"{self.pool} has spent more than a budget of ε = {asked.epsilon:g} at δ = {asked.delta:g} "
                "allows; a budget never shrinks below what is spent."
            )
        return lower

    def _used_with(self, event: Json, count: int, held: Held) -> float:
        assert isinstance(self.rule, RenyiFilter)
        events = Counter(held.events)
        events[accounting.canonical(event)] += count
        return self.rule.used(events)

    def _as_gaussian(self, cost: float) -> float:
        """A Rényi cost in the words of a request: see `gaussian_epsilon`."""
        assert isinstance(self.rule, RenyiFilter)
        return gaussian_epsilon(max(0.0, cost), self.rule.order, self.delta)


def rule_from_json(rule: Json) -> Rule:
    """The rule as `to_json` wrote it."""
    if rule["rule"] == "filter":
        return RenyiFilter(rule["order"])
    return SlotPlan(tuple(Slot(**slot) for slot in rule["slots"]))


def new_budget(pool: str, epsilon: float, delta: float, plan: tuple[Slot, ...] = ()) -> Budget:
    """A budget with the rule that is asked for: these slots, or the filter at the order that suits it best.

    Raises Refused when it would admit nothing, or promises less than its plan costs.
    """
    rule = SlotPlan.of(plan) if plan else RenyiFilter(order_for(epsilon, delta))
    budget = Budget(pool, epsilon, delta, rule)
    budget.must_admit()
    return budget


def _is_part(fewer: SlotPlan, plan: SlotPlan) -> bool:
    known = {slot.name: slot for slot in plan.slots}
    return all(
        slot.name in known and slot.event == known[slot.name].event and slot.count <= known[slot.name].count
        for slot in fewer.slots
    )


def _costs_about(slot: Slot, epsilon: float, delta: float) -> bool:
    return accounting.epsilon_of([slot.event], delta) >= 0.99 * epsilon
