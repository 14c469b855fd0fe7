"""What is a judgement, and on which occasion is it made? The nouns of the rules, and how figures are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluators.axes import PAIR
from evaluators.intervals import Estimate
from evaluators.policy import Kind
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement


@dataclass(frozen=True)
class Occasion:
    """Which wave is judged against which; `reference` is empty on the reference wave itself.

    `titles` are the words for columns, where the card has any.
    """

    kind: Kind
    wave: str
    reference: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)

    def words(self, column: str) -> str:
        """What a column is called; of a pair, `a & b`, both."""
        return PAIR.join(self.titles.get(name) or name.replace("_", " ") for name in column.split(PAIR))


@dataclass(frozen=True)
class Judgement:
    """One answer of one rule on one subject; `value` is what was held against `limit`."""

    rule: str
    subject: str
    verdict: Verdict
    level: str
    sentence: str
    value: float | None
    limit: float


Measured = Sequence[Measurement]


def find(measurements: Measured, name: str, group: str = "", feature: str = "") -> Measurement | None:
    key = (name, group, feature)
    return next((m for m in measurements if (m.name, m.group, m.feature) == key), None)


def estimate_of(m: Measurement) -> Estimate | None:
    if m.value is None or m.low is None or m.high is None:
        return None
    return Estimate(m.value, m.low, m.high, m.n)


def between(estimate: Estimate) -> str:
    return f"95 % interval {estimate.low:.3f} to {estimate.high:.3f}"
