"""Which figures of a release are withheld, and how are the others rounded? Pure, and safe to repeat."""

from __future__ import annotations

import copy
import math
from typing import Any

from sandbox.records import Json

DECIMALS = 3
SIGNIFICANT = 2


def suppress(content: Json) -> Json:
    """A copy of the content that the rules of `sandbox.disclosure.rules` clear, as far as figures go.

    Threshold and rounding are those under `publication`. Counts below the threshold, zero included,
    are withheld with everything that stands on them; a measure that brings its own `n` (how many
    records its denominator holds) is withheld by it. Where exactly one group of an attribute would be
    withheld, or those withheld are together below the threshold, the next smallest goes too, so that
    none can be found by subtraction. Then counts and figures are rounded.
    """
    content = copy.deepcopy(content)
    threshold, round_to = content["publication"]["threshold"], content["publication"]["round_to"]
    for wave in content["waves"]:
        for attribute in dict.fromkeys(group["attribute"] for group in wave["groups"]):
            _protect([g for g in wave["groups"] if g["attribute"] == attribute], threshold)
        for part in (wave, *wave["groups"], *wave.get("inputs", ())):
            if _is_small(part, threshold):
                _withhold(part, "too few")
            part["n"] = None if part["n"] is None else _shown(part["n"], threshold, round_to)
            part["measures"] = {name: _measure(m, threshold) for name, m in part["measures"].items()}
    for finding in content["findings"]:
        finding["value"], finding["limit"] = _rounded(finding["value"]), _rounded(finding["limit"])
    privacy = content["privacy"]
    privacy["sampling_rate"] = significant(privacy["sampling_rate"])
    return content


def rounded_count(n: int, round_to: int) -> int:
    """The nearest multiple; halves go up."""
    return (int(n) + round_to // 2) // round_to * round_to


def _shown(n: int, threshold: int, round_to: int) -> int:
    least = -(-threshold // round_to) * round_to  # 12 is shown as 15, not 10, where 12 is the threshold
    return max(rounded_count(n, round_to), least)


def significant(rate: float) -> float:
    """A sampling rate to two figures: exact, it would tell the exact number of training units."""
    return float(f"{rate:.{SIGNIFICANT}g}")


def _is_small(part: Json, threshold: int) -> bool:
    return part["n"] is None or part["n"] < threshold


def _protect(groups: list[Json], threshold: int) -> None:
    """Withholds small groups, then the next smallest while what is withheld could be worked out.

    A group withheld on an earlier pass has no count any more; it was protected then.
    """
    hidden = [g for g in groups if _is_small(g, threshold)]
    shown = sorted((g for g in groups if not _is_small(g, threshold)), key=lambda g: (g["n"], g["label"]))
    together = sum(math.inf if g["n"] is None else max(0, g["n"]) for g in hidden)
    for group in hidden:
        _withhold(group, "too few")
    while hidden and shown and (len(hidden) == 1 or together < threshold):
        hidden.append(shown.pop(0))
        together += hidden[-1]["n"]
        _withhold(hidden[-1], "suppressed")


def _withhold(part: Json, status: str) -> None:
    part["n"] = None
    if "status" not in part:
        part["measures"] = {name: _nothing(status) for name in part["measures"]}
        return
    part["measures"] = {}
    part["status"] = status if part["status"] == "ok" else part["status"]


def _measure(measure: Json, threshold: int) -> Json:
    if (status := measure.get("status", "ok")) != "ok":
        return _nothing(status)
    if measure.get("n", threshold) < threshold:
        return _nothing("too few")
    figures = {name: _rounded(measure.get(name)) for name in ("value", "low", "high")}
    return _nothing("undefined") if figures["value"] is None else {**figures, "status": "ok"}


def _nothing(status: str) -> Json:
    return {"value": None, "low": None, "high": None, "status": status}


def _rounded(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), DECIMALS) + 0.0  # never -0.0
