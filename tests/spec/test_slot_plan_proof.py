"""The slot plan's theorem, by brute force on small mechanisms: every way of using a plan, and what it reveals.

A pair (P, Q) of distributions over few outputs is a mechanism on two neighbours. `worst` looks at every
adaptive strategy there is: which mechanism next, or none, after every sequence of outputs. It gives the
largest hockey-stick divergence any of them reaches. The theorem says: never more than that of the product
of all slots. The last tests show that the brute force finds what unsound rules would let through.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ALPHAS = (0.3, 0.7, 1.0, 1.4, 2.0, 3.5, 8.0)


def divergence(p, q, alpha):
    return float(np.maximum(np.asarray(p) - alpha * np.asarray(q), 0).sum())


def product(pairs):
    """The distributions of all outputs together."""
    p = q = np.ones(1)
    for one, other in pairs:
        p, q = np.outer(p, one).ravel(), np.outer(q, other).ravel()
    return p, q


def worst(choices, alpha, used=frozenset(), p=1.0, q=1.0):
    """The most that a strategy reaches from here on, having seen something of probability p and q.

    `choices` are (slot, pair); each slot is used once, by any of its pairs. To stop is a strategy too.
    """
    best = max(p - alpha * q, 0.0)
    for slot, (one, other) in choices:
        if slot not in used:
            seen = (
                worst(choices, alpha, used | {slot}, p * a, q * b) for a, b in zip(one, other, strict=True)
            )
            best = max(best, sum(seen))
    return best


def distributions(size):
    weights = st.lists(st.floats(0.02, 1), min_size=size, max_size=size)
    return weights.map(lambda found: np.array(found) / sum(found))


def pairs(size=2):
    return st.tuples(distributions(size), distributions(size))


def kernels(size):
    """What can be done to an output: for each one, a distribution over new ones."""
    return st.tuples(*(distributions(2) for _ in range(size))).map(np.array)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(pairs(), min_size=3, max_size=3),
    st.lists(st.lists(kernels(2), max_size=2), min_size=3, max_size=3),
)
def test_no_strategy_learns_more_than_all_slots_together(slots, fillings):
    """Order, skipping, stopping and what fills a slot are free: any of its own step or what it dominates."""
    choices = list(enumerate(slots))
    for number, (pair, made) in enumerate(zip(slots, fillings, strict=True)):
        choices += [(number, (pair[0] @ kernel, pair[1] @ kernel)) for kernel in made]
    for alpha in ALPHAS:
        assert worst(choices, alpha) <= divergence(*product(slots), alpha) + 1e-12


@settings(max_examples=40, deadline=None)
@given(st.lists(pairs(3), min_size=2, max_size=2), st.permutations(range(2)))
def test_using_every_slot_reaches_the_bound_in_any_order(slots, order):
    """The bound is not slack: it is what the plan really reveals when it is used up."""
    for alpha in ALPHAS:
        reached = divergence(*product([slots[number] for number in order]), alpha)
        assert reached == pytest.approx(divergence(*product(slots), alpha), abs=1e-12)
        assert worst(list(enumerate(slots)), alpha) == pytest.approx(reached, abs=1e-12)


COIN = np.array([0.55, 0.45]), np.array([0.45, 0.55])
RARE = np.array([0.9, 0.08, 0.02]), np.array([0.9, 0.1, 0.0])
"""One often says a little, the other seldom says all: their curves cross."""


def test_the_brute_force_sees_a_slot_that_is_used_twice():
    once, twice = [("a", COIN)], [("a", COIN), ("again", COIN)]
    assert worst(twice, 1.2) > divergence(*product([pair for _, pair in once]), 1.2) + 0.01


def test_choosing_between_what_fits_alone_is_more_than_either_and_a_plan_does_not_allow_it():
    """FACTS 9 in small: after one output, one of two mechanisms, each of which alone would have fitted."""
    gaps = []
    for alpha in np.linspace(0.8, 3, 60):
        alone = max(divergence(*product([COIN, pair]), alpha) for pair in (COIN, RARE))
        chosen = worst([("first", COIN), ("second", COIN), ("second", RARE)], alpha)
        gaps.append(chosen - alone)
        both = divergence(*product([COIN, COIN, RARE]), alpha)
        assert worst([("first", COIN), ("second", COIN), ("third", RARE)], alpha) <= both + 1e-12
    assert max(gaps) > 1e-4


def test_a_slot_is_taken_for_good_since_handing_it_on_later_would_break_the_plan():
    """The first mechanism fits either slot. Were that decided only when the next one asks, a strategy could go on
    with A after one output and with B after another, and reveal more than A and B together."""
    a = np.array([0.7, 0.3]), np.array([0.3, 0.7])
    b = np.array([0.2, 0.8, 0.0]), np.array([0.0, 0.8, 0.2])
    first = np.array([0.35, 0.65]), np.array([0.15, 0.85])
    assert dominates(a, first)
    assert dominates(b, first)
    plan = divergence(*product([a, b]), 3)
    assert worst([("first", first), ("second", a), ("second", b)], 3) > plan + 0.03
    for taken, left in ((a, b), (b, a)):  # as the ledger does it: the slot is fixed when it is taken
        assert worst([("one", first), ("one", taken), ("other", left)], 3) <= plan + 1e-12


def dominates(big, small):
    """For every threshold: both curves are straight between the ratios of probabilities."""
    ratios = [x / y for p, q in (big, small) for x, y in zip(p, q, strict=True) if y]
    return all(divergence(*small, r) <= divergence(*big, r) + 1e-12 for r in [0, *ratios, 1e9])
