"""Which rules does a release's content break? Pure functions, each with its source.

Sources: SDC handbook: 'Handbook on Statistical Disclosure Control for Outputs' (Safe Data Access
Professionals, UK). Five Safes: Desai, Ritchie and Welpton 2016, 'safe outputs'. ONS: disclosure control
policy for tables (threshold 10, rounding to base 5). Figures are differentially private besides; the rules
hold whatever the noise, and are what an output checker asks for by name.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from sandbox.disclosure.content import Content
from sandbox.disclosure.suppression import DECIMALS, rounded_count, significant
from sandbox.errors import Problem
from sandbox.records import Json
from sandbox.settings import problems_of

Rule = Callable[[Json], Iterator[Problem]]


def problems(content: Json) -> list[Problem]:
    """Everything wrong with this content; empty when it may leave. No message quotes a figure."""
    broken = [*plain_json(content)]
    if not broken:
        broken = [*known_format(content)]
    return broken or [problem for rule in RULES for problem in rule(content)]


def plain_json(content: Any, where: str = "content") -> Iterator[Problem]:
    """Only JSON values, only finite numbers: what is hashed is what is shown."""
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                yield Problem(where, "has a key that is not text")
            else:
                yield from plain_json(value, f"{where}.{key}")
    elif isinstance(content, list):
        for at, value in enumerate(content):
            yield from plain_json(value, f"{where}.{at}")
    elif isinstance(content, float) and not math.isfinite(content):
        yield Problem(where, "is not a finite number")
    elif content is not None and not isinstance(content, str | int | float):
        yield Problem(where, "is not a JSON value")


def known_format(content: Json) -> Iterator[Problem]:
    """Exactly the fields of the format, of the right types. Five Safes: clear what you have looked at."""
    try:
        Content.model_validate(content)
    except ValidationError as error:
        yield from problems_of(error)


def counts_reach_the_threshold(content: Json) -> Iterator[Problem]:
    """A count below the threshold, zero included, is not shown (SDC handbook: threshold 10)."""
    threshold = content["publication"]["threshold"]
    for where, part in _parts(content):
        if part["n"] is not None and part["n"] < threshold:
            yield Problem(f"{where}.n", f"is below the threshold of {threshold}", "Withhold it.")


def counts_are_rounded(content: Json) -> Iterator[Problem]:
    """A shown count is a multiple of `round_to` (ONS: base 5)."""
    round_to = content["publication"]["round_to"]
    for where, part in _parts(content):
        if part["n"] is not None and part["n"] != rounded_count(part["n"], round_to):
            yield Problem(f"{where}.n", f"is not rounded to {round_to}", "Round it.")


def figures_stand_on_a_shown_count(content: Json) -> Iterator[Problem]:
    """No rate or mean of too few: without a shown count, no figure (SDC handbook, rates and means)."""
    for where, part in _parts(content):
        if part["n"] is None and any(m["value"] is not None for m in part["measures"].values()):
            yield Problem(where, "has figures but no count that may be shown", "Withhold them.")


def withheld_means_withheld(content: Json) -> Iterator[Problem]:
    """A status that says why a figure is missing comes without the figure, and the other way round."""
    for where, part in _parts(content):
        if "status" in part and (part["status"] == "ok") != (part["n"] is not None):
            yield Problem(where, "has a count and a status that contradict each other")
        for name, m in part["measures"].items():
            bounds = m["low"] is not None or m["high"] is not None
            if (m["status"] == "ok") != (m["value"] is not None) or (m["value"] is None and bounds):
                yield Problem(
                    f"{where}.measures.{name}", "has a value and a status that contradict each other"
                )


def nothing_withheld_can_be_subtracted(content: Json) -> Iterator[Problem]:
    """Exactly one withheld group follows from the total and the others (SDC handbook: secondary suppression)."""
    for at, wave in enumerate(content["waves"]):
        groups = Counter(g["attribute"] for g in wave["groups"])
        withheld = Counter(g["attribute"] for g in wave["groups"] if g["n"] is None)
        for attribute, count in withheld.items():
            if count == 1 and groups[attribute] > 1:
                where, todo = f"waves.{at}.groups", "Withhold the next smallest too."
                yield Problem(where, f"exactly one group of {attribute} is withheld", todo)


def nothing_twice(content: Json) -> Iterator[Problem]:
    """A wave, group or input given twice could be shown once and withheld once, or be differenced."""
    waves = Counter(wave["name"] for wave in content["waves"])
    yield from (Problem("waves", f"{name} is there twice") for name, count in waves.items() if count > 1)
    for at, wave in enumerate(content["waves"]):
        groups = Counter((g["attribute"], g["label"]) for g in wave["groups"])
        if any(count > 1 for count in groups.values()):
            yield Problem(f"waves.{at}.groups", "a group is there twice")
        inputs = Counter(one["column"] for one in wave.get("inputs", ()))
        if any(count > 1 for count in inputs.values()):
            yield Problem(f"waves.{at}.inputs", "an input is there twice")


def figures_are_rounded(content: Json) -> Iterator[Problem]:
    """Three decimals: more would not be known anyway, and could carry a message."""
    for where, part in _parts(content):
        for name, m in part["measures"].items():
            if not all(_is_rounded(m[k]) for k in ("value", "low", "high")):
                yield Problem(f"{where}.measures.{name}", f"has more than {DECIMALS} decimals", "Round it.")
    for at, finding in enumerate(content["findings"]):
        if not (_is_rounded(finding["value"]) and _is_rounded(finding["limit"])):
            yield Problem(f"findings.{at}", f"has more than {DECIMALS} decimals", "Round it.")
    if content["privacy"]["sampling_rate"] != significant(content["privacy"]["sampling_rate"]):
        what = "has more than two significant figures, which would tell the number of training units"
        yield Problem("privacy.sampling_rate", what, "Round it.")


def sentences_keep_the_rules(content: Json) -> Iterator[Problem]:
    """A count or figure in a sentence obeys the rules of a count or figure (Five Safes: text is output too)."""
    threshold, round_to = content["publication"]["threshold"], content["publication"]["round_to"]
    texts = [(f"findings.{at}.sentence", f["sentence"]) for at, f in enumerate(content["findings"])]
    texts += [(f"history.{at}.what", change["what"]) for at, change in enumerate(content["history"])]
    for where, text in texts:
        counts = [int(found.replace(",", "")) for pair in _COUNTED.findall(text) for found in pair if found]
        if any(n < threshold or n % round_to for n in counts):
            yield Problem(where, "quotes a count that is too small or not rounded", "Leave it out.")
        if any(len(decimals) > DECIMALS for decimals in _DECIMALS.findall(text)):
            yield Problem(where, f"quotes a figure with more than {DECIMALS} decimals", "Round it.")


RULES: tuple[Rule, ...] = (
    counts_reach_the_threshold,
    counts_are_rounded,
    figures_stand_on_a_shown_count,
    withheld_means_withheld,
    nothing_withheld_can_be_subtracted,
    nothing_twice,
    figures_are_rounded,
    sentences_keep_the_rules,
)

_COUNTED = re.compile(
    r"\bn\s*=\s*(\d[\d,]*)(?!\.\d)|(?<![\d.,])(\d[\d,]*)\s+(?:people|persons?|records?|cases?|rows?|units?)\b",
    re.IGNORECASE,
)
_DECIMALS = re.compile(r"\d\.(\d+)")


def _parts(content: Json) -> Iterator[tuple[str, Json]]:
    """Waves, their groups and inputs: everything that has a count and figures that stand on it."""
    for at, wave in enumerate(content["waves"]):
        yield f"waves.{at}", wave
        for kind in ("groups", "inputs"):
            for place, part in enumerate(wave.get(kind, ())):
                yield f"waves.{at}.{kind}.{place}", part


def _is_rounded(value: float | None) -> bool:
    return value is None or round(value, DECIMALS) == value
