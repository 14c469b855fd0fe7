"""How is an epsilon said? In one form on every screen, so that a promise is never taken for a reading.

There are four kinds, and each epsilon is one of them:

* *promised*: the filter's or plan's. It holds whatever is asked, in whatever order, for ever.
* *of one training or release alone*: its parameters were fixed before it began; what else ran is not in it.
* FIXED: all charges together, as if nothing had depended on an earlier result. Nobody promised it.
* *odometer*: how far the running total of the charges has come (see `odometer`).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from sandbox.records import Json

PROMISED = "promised ε"
FIXED = "if parameters had been fixed in advance"
ODOMETER = "odometer"

PROMISE_NOTE = "The promise holds whatever is asked, in whatever order."
USED_NOTE = "Used is a share of the promise by Rényi cost, not the epsilon of what was released so far."
ODOMETER_NOTE = (
    "The odometer is the running total of the charges: what is released before it passes a level named in advance "
    "keeps that ε. It is a reading, and promises nothing about what comes."
)
FIXED_NOTE = f"“{FIXED[0].upper()}{FIXED[1:]}” is hindsight: later requests depend on earlier results."


AUDITED = "audited lower bound"
AUDITED_NOTE = (
    "The lower bound is what guessing at canaries (made-up units, added to every training) proves: the epsilon of this "
    "training is no smaller. It must lie below the claim. It is no estimate, and a low one promises nothing."
)


def neighbours(adjacency: str, unit: str) -> str:
    """Which populations are compared: `add or remove one pupil`, `replace one pupil`."""
    verb = {"add/remove": "add or remove", "replace-one": "replace"}.get(adjacency, adjacency)
    return f"{verb} one {word(unit)}"


def word(unit: str) -> str:
    """What a unit's column counts, as a word: `crime` of `crime_id`."""
    return unit.removesuffix("_id").replace("_", " ")


def stated(epsilon: float, delta: float, adjacency: str, unit: str) -> str:
    """`ε = 0.998 at δ = 1e-06, add or remove one pupil`: no epsilon is shown with less beside it."""
    return f"{number(epsilon)} at δ = {delta:.2g}, {neighbours(adjacency, unit)}"


def number(epsilon: float) -> str:
    """`ε = 0.998`, in four digits, rounded up: never less than is meant."""
    return f"ε = {rounded_up(epsilon):.4g}"


def certified(certificate: Json) -> str:
    """What a training's certificate says of it alone, in the form of `stated`."""
    c = certificate
    return stated(c["epsilon"], c["delta"], c["adjacency"], c.get("unit", "unit"))


def audited(certificate: Json) -> str:
    """What canaries prove of a training, to stand beside what is claimed; empty where there were none."""
    if certificate.get("epsilon_audited") is None:
        return ""
    c = certificate
    formal, gaussian = (rounded_down(c[name]) for name in ("epsilon_audited", "epsilon_audited_gaussian"))
    sure = f"{100 * c['audit_confidence']:g} % confidence, {c['audit_canaries']:,} canaries"
    return f"ε ≥ {formal:g}; if noise is Gaussian, ε ≥ {gaussian:g} ({sure})"


def alone(what: str) -> str:
    """`ε of this training alone`: of one thing, whatever else was charged."""
    return f"ε of this {what} alone"


def part(share: float, epsilon: float) -> str:
    """`40.0 % of the promised ε = 8`: how full a budget is, in words that cannot be read as an odometer."""
    return f"{100 * share:.1f} % of the {PROMISED} = {epsilon:g}"


def rounded_down(epsilon: float) -> float:
    """To three significant digits, down: no more than was proved."""
    return float(Context(prec=3, rounding=ROUND_FLOOR).create_decimal(repr(float(epsilon))))


def rounded_up(epsilon: float) -> float:
    """To four significant digits, up."""
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(repr(float(epsilon))))
