"""What can an independent person check without us? A pool's charges as a document that dp-accounting alone replays.

The document holds what ran (events, in our words and as dp_accounting's classes), for whom it was charged and the
totals that a replay should find. It holds nothing about records: no figure in it was computed from one.
"""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sandbox.errors import NotFound
from sandbox.privacy import accounting, ledger, reports, wording
from sandbox.privacy.budgets import Budget
from sandbox.privacy.domination import GRID, SLACK
from sandbox.privacy.filter import RenyiFilter
from sandbox.privacy.history import Entry, history
from sandbox.records import Json

if TYPE_CHECKING:
    from sandbox.storage import Store

FORMAT = "ndl-budget-export/1"
REPLAY = """
import json, math, sys
import dp_accounting as dp
from dp_accounting import pld, rdp

def event(d):                      # a "dp_event" of this document as dp_accounting's own object
    if isinstance(d, list): return [event(x) for x in d]
    if not isinstance(d, dict): return math.inf if d == "Infinity" else d
    fields = {k: event(v) for k, v in d.items() if k != "class"}
    return getattr(dp.dp_event, d["class"])(**fields)

for pool in json.load(open(sys.argv[1]))["pools"]:
    counted = [event(c["dp_event"]) for c in pool["charges"] if c["counts"]]
    again = {}
    if pool["rule"]["rule"] == "filter":
        order = pool["rule"]["order"]
        accountant = rdp.RdpAccountant(pool["totals"]["rdp_orders"])
        for e in counted: accountant.compose(e)
        # _rdp[0] is the total at the first order, the filter's; the filter keeps it at most:
        bound = pool["epsilon"] - math.log1p(-1 / order) + math.log(pool["delta"] * order) / (order - 1)
        again["rdp_total"], again["rdp_bound"] = float(accountant._rdp[0]), bound
    else:
        accountant = pld.PLDAccountant(value_discretization_interval=pool["totals"]["plan_grid"])
        slots = sum(s["count"] for s in pool["rule"]["slots"])
        for s in pool["rule"]["slots"]: accountant.compose(event(s["dp_event"]), s["count"])
        rounding = -math.expm1(slots * math.log1p(-pool["totals"]["plan_rounding_per_slot"]))
        again["plan_epsilon"] = float(accountant.get_epsilon((pool["delta"] - rounding) / (1 - rounding)))
    if pool["totals"]["pld_epsilon"] is not None:
        accountant = pld.PLDAccountant(value_discretization_interval=pool["totals"]["pld_grid"])
        for e in counted: accountant.compose(e)
        again["pld_epsilon"] = float(accountant.get_epsilon(pool["delta"])) if counted else 0.0
    print(json.dumps({"pool": pool["pool"], **again}))
"""


def export(store: Store, pool: str | None = None) -> Json:
    """The document for one pool, or for all; raises NotFound for a pool without a budget."""
    with store.reading() as view:
        known = {budget.pool: (budget, ledger.held(view, budget.pool)) for budget in ledger.budgets(view)}
        units, made_at = reports.units(view), view.clock()
    if pool is not None and pool not in known:
        raise NotFound("privacy budget", pool, known)
    names = [pool] if pool else list(known)
    return {
        "format": FORMAT,
        "made_at": made_at.isoformat(),
        "versions": {
            "ndl-sandbox": version("ndl-sandbox"),
            "dp-accounting": version("dp-accounting"),
            "python": platform.python_version(),
        },
        "adjacency": accounting.ADJACENCY,
        "what": {
            "epsilon, delta": f"the promise of a pool. {wording.PROMISE_NOTE}",
            "pld_epsilon": f"of all charges that count, {wording.FIXED}; no promise. null: none, or too long to do",
            "rdp_total": "the filter's running total at its order; a request is refused when it would pass rdp_bound",
            "noise_multiplier": "the noise's standard deviation over the L2 sensitivity to one unit",
            "state": "reserved, touched and settled count; released never reached the data and does not",
        },
        "replay": REPLAY.strip().split("\n"),
        "pools": [
            _pool(*known[name], history(store, name), units.get(ledger.population_of(name), "unit"))
            for name in names
        ],
        "populations": [
            {
                "population": p.name, "unit": p.unit, "datasets": list(p.datasets),
                "compose_in_parallel": [s.pool for s in p.disjoint], "share_people": [s.pool for s in p.shared],
                "promised_to_one_person": {"epsilon": p.epsilon, "delta": p.delta},
            }
            for p in reports.populations(store)
            if pool is None or p.name == ledger.population_of(pool)
        ],
    }  # fmt: skip


def dp_event_json(event: Json) -> Json:
    """dp_accounting's own event as JSON: its class, and its fields by its own names."""
    tree: Json = _tree(accounting.to_dp_event(event))
    return tree


def _pool(budget: Budget, found: Any, entries: list[Entry], unit: str) -> Json:
    rule = budget.rule.to_json()
    totals: Json = {"charges": found.charges, "pld_epsilon": None, "pld_grid": None}
    event = reports.composed(found)
    if accounting.has_pld(event) and len(found.events) <= reports.MOST_DIFFERENT:
        totals["pld_epsilon"] = accounting.epsilon_of([event], budget.delta) if found.charges else 0.0
        totals["pld_grid"] = accounting.pld_grid([event], budget.delta) if found.charges else GRID
    if isinstance(budget.rule, RenyiFilter):
        totals["rdp_total"] = budget.rule.used(found.events)
        totals["rdp_orders"] = accounting.rdp_orders(" ".join(found.events), budget.rule.order)
        totals["rdp_bound"] = budget.rule.bound(budget.epsilon, budget.delta)
    else:
        rule["slots"] = [{**slot, "dp_event": dp_event_json(slot["event"])} for slot in rule["slots"]]
        totals["plan_epsilon"] = budget.rule.epsilon(budget.delta)
        totals |= {"plan_grid": GRID, "plan_rounding_per_slot": SLACK}
    return {
        "pool": budget.pool, "population": ledger.population_of(budget.pool), "unit": unit,
        "adjacency": accounting.ADJACENCY, "epsilon": budget.epsilon, "delta": budget.delta, "rule": rule,
        "charges": [_charge(entry) for entry in entries], "totals": totals,
    }  # fmt: skip


def _charge(entry: Entry) -> Json:
    charge = entry.charge
    return {
        "number": entry.number,
        "id": charge.id,
        "reserved_at": charge.reserved_at.isoformat(),
        "reserved_by": charge.reserved_by,
        "purpose": charge.purpose,
        "state": str(charge.state),
        "counts": entry.counts,
        "touched_at": entry.touched_at and entry.touched_at.isoformat(),
        "ended_at": entry.ended_at and entry.ended_at.isoformat(),
        "ended_by": entry.ended_by,
        "reason": entry.reason,
        "slot": charge.slot,
        "unit": charge.unit,
        "adjacency": charge.adjacency,
        "mechanism": asdict(entry.mechanism),
        "event": charge.event,
        "dp_event": dp_event_json(charge.event),
    }


def _tree(value: Any) -> Any:
    from dp_accounting import DpEvent

    if isinstance(value, DpEvent):
        value = value.to_named_tuple()
    if hasattr(value, "class_name"):
        fields = {k: _tree(v) for k, v in value._asdict().items() if k not in ("module_name", "class_name")}
        return {"class": value.class_name, **fields}
    if value == math.inf:
        return "Infinity"  # JSON has no such number
    return [_tree(part) for part in value] if isinstance(value, list | tuple) else value
