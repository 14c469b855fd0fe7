"""What does this mechanism cost? Events as JSON, and their Rényi and (epsilon, delta) costs.

An event says what ran, in the shape of dp_accounting's DpEvent, with the same names:

    {"event": "Gaussian", "noise_multiplier": 1.1}
    {"event": "DiscreteGaussian", "noise_multiplier": 1.1}
    {"event": "PoissonSampled", "sampling_probability": 0.01, "of": <a Gaussian>}
    {"event": "SelfComposed", "count": 1000, "of": <event>}
    {"event": "Composed", "of": [<event>, ...]}
    {"event": "RepeatAndSelect", "mean": 10, "shape": 1, "of": <event>}

Charges are for add-or-remove-one adjacency: neighbouring populations differ by one unit being there or
not. A noise multiplier is the noise's standard deviation over the L2 sensitivity. Discrete noise is charged
by what is proved of it: as concentrated DP (see sandbox.privacy.mechanisms). The last event is "best of K
random settings", K drawn from a distribution of this mean and shape: 0 logarithmic, 1 geometric,
"infinity" Poisson, between them negative binomial (Papernot and Steinke 2022, arXiv 2110.03620).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from sandbox.errors import Refused
from sandbox.privacy import checks
from sandbox.records import Json

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Adjacency = Literal["add/remove", "replace-one"]
ADJACENCY: Adjacency = "add/remove"
"""Stated beside every epsilon: the same run has a larger one under replace-one adjacency."""

Method = Literal["pld", "rdp"]
# Whole orders have a finite exact sum; dp_accounting's series for others does not always converge.
_WHOLE_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
_WORTHLESS = 500.0
_KEYS = {
    "Gaussian": {"noise_multiplier"},
    "DiscreteGaussian": {"noise_multiplier"},
    "PoissonSampled": {"sampling_probability", "of"},
    "SelfComposed": {"count", "of"},
    "Composed": {"of"},
    "RepeatAndSelect": {"mean", "shape", "of"},
}


def gaussian_event(noise_multiplier: float) -> Json:
    """One release with continuous Gaussian noise."""
    return {"event": "Gaussian", "noise_multiplier": checks.positive(noise_multiplier, "A noise multiplier")}


def discrete_gaussian_event(noise_multiplier: float) -> Json:
    """One release of whole numbers with discrete Gaussian noise (see sandbox.privacy.mechanisms)."""
    return {**gaussian_event(noise_multiplier), "event": "DiscreteGaussian"}


def concentration(event: Json) -> float:
    """The rho of a discrete Gaussian: its Rényi cost at every order a is at most a rho."""
    mu = 1 / float(event["noise_multiplier"])
    return 0.5 * mu * mu


def dp_sgd_event(noise_multiplier: float, sampling_rate: float, steps: int) -> Json:
    """DP-SGD: each step draws every unit independently with `sampling_rate` and adds Gaussian noise."""
    step = {
        "event": "PoissonSampled",
        "sampling_probability": checks.rate(sampling_rate),
        "of": gaussian_event(noise_multiplier),
    }
    return {"event": "SelfComposed", "count": checks.count(steps), "of": step}


def best_of_event(event: Json, mean: float, shape: float | str = "infinity") -> Json:
    """The best of K runs of this event with random settings, K drawn anew with this mean."""
    return checked({"event": "RepeatAndSelect", "mean": mean, "shape": shape, "of": event})


def compose(events: Iterable[Json]) -> Json:
    """These events one after another on the same people."""
    return checked({"event": "Composed", "of": list(events)})


def with_steps(event: Json, steps: int) -> Json:
    """The same DP-SGD, stopped after `steps` steps."""
    return checked({**event, "count": steps})


def checked(event: Any) -> Json:
    """The event in canonical form; raises Refused, in one sentence, for anything that is not one."""
    kind = event.get("event") if isinstance(event, dict) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        raise Refused(f"A charge is one of the events {', '.join(sorted(_KEYS))}.")
    if event.keys() - {"event"} != _KEYS[kind]:
        raise Refused(f"The event {kind} has exactly these fields: {', '.join(sorted(_KEYS[kind]))}.")
    if kind == "Gaussian":
        return gaussian_event(event["noise_multiplier"])
    if kind == "DiscreteGaussian":
        return discrete_gaussian_event(event["noise_multiplier"])
    if kind == "Composed":
        if not isinstance(event["of"], list):
            raise Refused("The event Composed holds a list of events.")
        return {"event": kind, "of": [checked(part) for part in event["of"]]}
    if kind == "RepeatAndSelect":
        repeats = {
            "mean": checks.at_least_one(event["mean"], "A mean number of runs"),
            "shape": event["shape"],
        }
        if event["shape"] != "infinity":
            repeats["shape"] = checks.not_negative(event["shape"], "The shape of a number of runs")
        return {"event": kind, **repeats, "of": checked(event["of"])}
    field, check = {
        "PoissonSampled": ("sampling_probability", checks.rate),
        "SelfComposed": ("count", checks.count),
    }[kind]
    inner = checked(event["of"])
    if kind == "PoissonSampled" and inner["event"] != "Gaussian":
        raise Refused(
            "The event PoissonSampled holds a Gaussian: of nothing else is the sampling accounted for."
        )
    return {"event": kind, field: check(event[field]), "of": inner}


def to_dp_event(event: Json) -> DpEvent:
    """The same event as dp_accounting knows it."""
    import dp_accounting as dp

    event = checked(event)
    if event["event"] == "Gaussian":
        return dp.GaussianDpEvent(event["noise_multiplier"])
    if event["event"] == "DiscreteGaussian":
        return dp.ZCDpEvent(concentration(event))
    if event["event"] == "Composed":
        return dp.ComposedDpEvent([to_dp_event(part) for part in event["of"]])
    inner = to_dp_event(event["of"])
    if event["event"] == "RepeatAndSelect":
        return dp.dp_event.RepeatAndSelectDpEvent(inner, event["mean"], float(event["shape"]))
    if event["event"] == "PoissonSampled":
        rate = event["sampling_probability"]
        return inner if rate == 1 else dp.PoissonSampledDpEvent(rate, inner)
    return dp.SelfComposedDpEvent(inner, event["count"]) if event["count"] else dp.NoOpDpEvent()


def epsilon_of(
    events: Iterable[Json], delta: float, method: Method = "pld", adjacency: Adjacency = ADJACENCY
) -> float:
    """Epsilon at `delta` of these events together, had their parameters been fixed in advance.

    `pld` (privacy loss distributions) is tight and an upper bound; `rdp` is the looser classic.
    Neither is a filter: later requests depend on earlier results (see sandbox.privacy.ledger).
    Raises Refused where the method cannot account for the events: PLD for "best of K" and discrete noise, RDP for
    sampling under replace-one, either for numbers out of all proportion.
    """
    return _epsilon(canonical(compose(events)), checks.share(delta, "A delta"), method, adjacency)


def pld_grid(events: Iterable[Json], delta: float) -> float:
    """To multiples of what losses are rounded when `epsilon_of` these events; for who replays them elsewhere."""
    return _grid(epsilon_of(events, delta, "rdp"))


def has_pld(event: Json) -> bool:
    """Whether privacy loss distributions can account for this event: not for "best of K", nor for discrete noise,
    of which a bound at every Rényi order is proved and not that its curve lies below the continuous one's."""
    match event["event"]:
        case "Composed":
            return all(has_pld(part) for part in event["of"])
        case "SelfComposed" | "PoissonSampled":
            return has_pld(event["of"])
    return bool(event["event"] == "Gaussian")


def worthless(event: Json) -> bool:
    """Whether its epsilon is beyond any figure: no privacy loss distribution of it is worth the memory."""
    try:
        return not epsilon_of([event], 1e-6, "rdp") < _WORTHLESS
    except Refused:
        return True


def rdp_at(event: Json, order: float) -> float:
    """The Rényi divergence bound of this event at one order, as dp_accounting computes it."""
    return rdp_at_text(canonical(checked(event)), order)


@lru_cache(maxsize=16384)
def rdp_at_text(event: str, order: float) -> float:
    """`rdp_at` of an event written as JSON text; remembered by content, for replays of a long ledger."""
    from dp_accounting import UnsupportedEventError, rdp

    if not (math.isfinite(order) and order > 1):
        raise Refused(f"A Rényi order is above 1, not {order}.")
    accountant = rdp.RdpAccountant(rdp_orders(event, order))
    try:
        cost = float(accountant.compose(to_dp_event(json.loads(event)))._rdp[0])
    except (UnsupportedEventError, ArithmeticError, ValueError):
        cost = math.nan
    if not cost >= 0:
        raise Refused("The Rényi cost of this event cannot be computed at the pool's order.")
    return cost


def rdp_orders(event: str, order: float) -> list[float]:
    """The orders at which this event (as JSON text) is accounted to have its bound at the first of them.

    "Best of K" is bounded through the best of several orders; everything else through this one alone.
    """
    return [order, *(o for o in _WHOLE_ORDERS if o != order)] if '"RepeatAndSelect"' in event else [order]


def noise_for(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """The least noise multiplier, to 0.1 %, with which DP-SGD costs at most `epsilon` by PLD.

    RDP gives an upper end (it never claims less than PLD); from there each guess assumes
    epsilon ~ noise^-slope between the last two, which meets the target in three to six evaluations.
    """
    epsilon, delta = checks.positive(epsilon, "An epsilon"), checks.share(delta, "A delta")
    if checks.count(steps) == 0:
        raise Refused("Noise is calibrated for at least one step.")

    def cost(noise: float) -> float:
        return epsilon_of([dp_sgd_event(noise, sampling_rate, steps)], delta)

    high = _enough_noise(epsilon, delta, sampling_rate, steps)
    low, low_cost, high_cost = 0.0, math.inf, cost(high)
    for _ in range(60):
        if high - low <= 1e-3 * high:
            break
        guess = _next_guess(low, low_cost, high, high_cost, epsilon)
        found = cost(guess)
        if found <= epsilon:
            high, high_cost = guess, found
        else:
            low, low_cost = guess, found
    return high


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal content, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=1024)
def _epsilon(event: str, delta: float, method: Method, adjacency: Adjacency) -> float:
    from dp_accounting import NeighboringRelation, UnsupportedEventError, pld, rdp

    whole = to_dp_event(json.loads(event))
    relation = NeighboringRelation.REPLACE_ONE if adjacency == "replace-one" else None
    neighbours = {"neighboring_relation": relation} if relation else {}
    try:
        if method == "rdp":
            return float(rdp.RdpAccountant(_WHOLE_ORDERS, **neighbours).compose(whole).get_epsilon(delta))
        grid = _grid(float(rdp.RdpAccountant(_WHOLE_ORDERS).compose(whole).get_epsilon(delta)))
        accountant = pld.PLDAccountant(value_discretization_interval=grid, **neighbours)
        return float(accountant.compose(whole).get_epsilon(delta))
    except (UnsupportedEventError, ArithmeticError, ValueError):
        raise Refused(
            f"{method.upper()} cannot account for these events under {adjacency} adjacency."
        ) from None


def _grid(classic: float) -> float:
    """Losses are rounded to a grid, pessimistically: dp_accounting's 1e-4, or 0.02 % of a large epsilon."""
    return min(0.01, max(1e-4, 2e-4 * classic))


def _enough_noise(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """A noise multiplier whose RDP epsilon is within `epsilon`, by doubling and halving."""

    def fits(noise: float) -> bool:
        return epsilon_of([dp_sgd_event(noise, sampling_rate, steps)], delta, "rdp") <= epsilon

    low, high = 0.05, 1.0
    while not fits(high):
        low, high = high, high * 2
        if high > 1e7:
            raise Refused(f"No noise gives an epsilon of {epsilon:g} at a delta of {delta:g}.")
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _next_guess(low: float, low_cost: float, high: float, high_cost: float, epsilon: float) -> float:
    """Between the ends: the power law through both, aimed just inside the target; else the middle."""
    if not low:
        return high * min(0.97, max(0.5, high_cost / epsilon))
    aim = epsilon * (1 - 2e-4)
    slope = math.log(low_cost / high_cost) / math.log(low / high) if low_cost > high_cost > 0 else 0.0
    guess = high * (aim / high_cost) ** (1 / slope) if slope else 0.0
    inside = low * (1 + 2e-4) < guess < high * (1 - 2e-4)
    return guess if inside else math.sqrt(low * high)
