"""What does DP-EBM make of noised sums? Groups of bins that hold enough people, and a table for each column.

The public side of the training (Nori et al. 2021, "Accuracy, interpretability, and differential privacy via
explainable boosting", algorithm 2): whatever happens here is post-processing, and the release gate does it again.
The first steps count, all columns at once; each later step splits the groups of one column, in turn, into a few
leaves and moves each leaf by the noised sum of its people's residuals over its noised number of people. Where a
column is split follows from the step's number alone, so that no record has a say in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sandbox.training.plan import Plan
from sandbox.training.resumable import State

if TYPE_CHECKING:
    from torch import Tensor

COUNTS, LEAVES = "(counts)", "(leaves)"
"""What a step releases: a number for each bin of each column, and one for each leaf."""

_MOST_GROUPS = 128
_SURE = 2.0
"""A group holds at least so many people, as a share of all of them and in standard deviations of a noised count."""
_ONE_IN = 100
"""Of the steps, this part counts; interpret spends as much: a tenth of epsilon is a hundredth of the noise's inverse
variance."""

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]


def counting_steps(steps: int) -> int:
    """How many of so many steps count, the first ones."""
    return max(1, steps // _ONE_IN)


def released(plan: Plan) -> dict[str, tuple[int, ...]]:
    """The shapes of what a step releases."""
    return {COUNTS: (sum(plan.terms),), LEAVES: (plan.leaves,)}


@dataclass(frozen=True)
class Split:
    """One step's question: the column `term`, whose bins begin at `start`, with the leaf of each of its bins.

    `people` is how many each leaf holds as far as noise tells.
    """

    term: int
    start: int
    leaf_of: Whole
    people: Numbers

    @property
    def place(self) -> slice:
        """The column's bins among those of all columns."""
        return slice(self.start, self.start + len(self.leaf_of))


class Tables:
    """What has been learned so far; `table` has a number for each bin of each column, one after another."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._first = counting_steps(plan.steps)
        self._starts = np.cumsum([0, *plan.terms])
        self._groups: list[tuple[Whole, Numbers]] = []
        self.table: Numbers = np.zeros(sum(plan.terms))
        self.counts: Numbers = np.zeros(sum(plan.terms))
        self.done = 0

    def split(self) -> Split | None:
        """What the next step asks; None while people are counted."""
        if self.done < self._first:
            return None
        if not self._groups:
            self._groups = self._grouped()
        term = (self.done - self._first) % len(self._plan.terms)
        group_of, held = self._groups[term]
        rng = np.random.default_rng(self.done)
        cuts = rng.permutation(len(held) - 1)[: self._plan.leaves - 1]
        leaf_of_group = np.zeros(len(held), np.int64)
        leaf_of_group[cuts + 1] = 1
        leaf_of_group = leaf_of_group.cumsum()
        if term >= self._plan.ordered:  # categories have no neighbours
            leaf_of_group = rng.permutation(leaf_of_group)
        people = np.bincount(leaf_of_group, held, self._plan.leaves).astype(np.float64)
        return Split(term, int(self._starts[term]), leaf_of_group[group_of], people)

    def learn(self, split: Split | None, noised: Mapping[str, Tensor]) -> Numbers:
        """Takes what a step released; gives what the split column's bins moved by, or the counts so far."""
        self.done += 1
        if split is None:
            people: Numbers = noised[COUNTS].numpy() * (math.sqrt(len(self._plan.terms)) / self._plan.clip)
            self.counts += (people - self.counts) / self.done
            return self.counts
        sums: Numbers = noised[LEAVES].numpy() / self._plan.clip
        moved = self._plan.learning_rate * (sums / np.maximum(split.people, 1.0))[split.leaf_of]
        self.table[split.place] += moved
        return moved

    def of_terms(self) -> list[Numbers]:
        """The table of each column."""
        return np.split(self.table, self._starts[1:-1])

    def state(self) -> dict[str, Tensor]:
        """What `take_up` takes."""
        import torch

        kept = {"done": self.done, "table": self.table, "counts": self.counts}
        return {name: torch.tensor(value) for name, value in kept.items()}

    def take_up(self, state: State) -> None:
        """Goes on where this state was taken."""
        self.done = int(state["done"])
        self.table, self.counts = (state[name].numpy().copy() for name in ("table", "counts"))

    def _grouped(self) -> list[tuple[Whole, Numbers]]:
        """For each column the group of each bin, and how many people each group holds as far as noise tells."""
        plan = self._plan
        noise = plan.noise_multiplier * math.sqrt(len(plan.terms) / self._first)
        least = max(plan.units / _MOST_GROUPS, _SURE * noise)
        parts = np.split(np.maximum(self.counts, 0.0), self._starts[1:-1])
        found = [
            in_order(part, least) if at < plan.ordered else by_size(part, least)
            for at, part in enumerate(parts)
        ]
        return [(group_of, np.maximum(held, least)) for group_of, held in found]


def in_order(counts: Numbers, least: float) -> tuple[Whole, Numbers]:
    """Neighbouring bins together until they hold `least`; what is left over goes to the last group."""
    group_of, held = np.zeros(len(counts), np.int64), [0.0]
    for place, count in enumerate(counts):
        if held[-1] >= least and counts[place:].sum() >= least:
            held.append(0.0)
        group_of[place] = len(held) - 1
        held[-1] += count
    return group_of, np.array(held)


def by_size(counts: Numbers, least: float) -> tuple[Whole, Numbers]:
    """A group for each category that holds `least`, and one for all others, with the smallest of these if need be."""
    order = np.argsort(-counts, kind="stable")
    alone = int((counts >= least).sum())
    if alone < len(counts) and counts[order[alone:]].sum() < least:
        alone = max(0, alone - 1)
    own = np.sort(order[:alone])
    group_of = np.full(len(counts), alone)
    group_of[own] = np.arange(alone)
    return group_of, np.bincount(group_of, counts, minlength=1).astype(np.float64)
