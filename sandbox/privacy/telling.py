"""How well can anybody tell who was in the training? What (epsilon, delta) allows any attack, whatever it knows.

An attack's true positive rate is the share of members it takes for members, its false positive rate the share of
others. Under (epsilon, delta)-DP for adding or removing one unit, TPR <= exp(epsilon) FPR + delta, and the same with
members and others exchanged (Kairouz, Oh and Viswanath 2015, Theorem 2.1; Dong, Roth and Su 2022, equation 5). Over
units whose side was decided by chance the rates are means of theirs, so the bounds hold for them too.
"""

from __future__ import annotations

import math


def most_found(epsilon: float, delta: float, false_positives: float) -> float:
    """The largest true positive rate at this false positive rate."""
    grown = math.exp(min(epsilon, 700.0))
    return max(0.0, min(1.0, grown * false_positives + delta, 1 - (1 - delta - false_positives) / grown))


def best_auc(epsilon: float, delta: float) -> float:
    """The area under that curve: straight from (0, delta) to where both bounds meet, and on to (1 - delta, 1)."""
    meet = (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))
    up = meet * (delta + 1 - meet) / 2
    on = (1 - delta - meet) * (2 - meet) / 2
    return up + on + delta
