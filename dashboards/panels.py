"""What does a screen draw? Frozen records, ready to draw; a screen could be handed made-up ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from sandbox.lifecycle import FindingState, JobState, Standing, Verdict, WaveState

Unit = Literal["score", "share", "number", "amount"]
"""How a value is written: 0.757, 75.7 %, 12,345, or in three digits whatever its size: 0.0123, 12,300."""


@dataclass(frozen=True)
class Point:
    """One value on one wave, with its 95 % interval; `status` says why a value is missing."""

    wave: str
    day: date
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    status: str = "ok"


@dataclass(frozen=True)
class Trend:
    """One measure over the waves, oldest first. `limits` are the values that policy says not to cross."""

    name: str
    label: str
    unit: Unit
    points: tuple[Point, ...]
    limits: tuple[float, ...] = ()
    limit_words: str = ""

    @property
    def latest(self) -> Point | None:
        return self.points[-1] if self.points else None

    @property
    def known(self) -> tuple[Point, ...]:
        """The points that have a value."""
        return tuple(p for p in self.points if p.value is not None)


@dataclass(frozen=True)
class Moved:
    """How far one input lies from the reference wave, on one wave. `verdict` is None where policy is silent."""

    feature: str
    point: Point
    verdict: Verdict | None


@dataclass(frozen=True)
class HeatMap:
    """Inputs by waves; inputs in the order to draw them, the furthest moved first."""

    features: tuple[str, ...]
    waves: tuple[str, ...]
    cells: tuple[Moved, ...]
    limit: float | None

    def beyond(self, wave: str) -> int:
        """How many inputs are beyond tolerance on this wave."""
        return sum(c.verdict is Verdict.BEYOND for c in self.cells if c.point.wave == wave)


@dataclass(frozen=True)
class GroupLine:
    """One group on the latest wave. `measures` maps a measure's name to its point."""

    attribute: str
    label: str
    n: int
    measures: dict[str, Point]


@dataclass(frozen=True)
class Groups:
    """The groups of one wave: the main measure is drawn with its interval, the others are written.

    `lines` are the groups of each attribute; `pairs` the few worst groups of two attributes at once.
    """

    wave: str
    main: str
    names: tuple[tuple[str, str, Unit], ...]
    lines: tuple[GroupLine, ...]
    gaps: tuple[tuple[str, Point], ...]
    before: tuple[tuple[str, Point], ...] = ()
    pairs: tuple[GroupLine, ...] = ()


@dataclass(frozen=True)
class Reliability:
    """On the latest wave: what was predicted against what happened, in ten bins."""

    wave: str
    bins: tuple[tuple[float, Point], ...]
    facts: tuple[tuple[str, Point], ...]


@dataclass(frozen=True)
class ListedLine:
    """One newest value. `subject` is the group or input it is of; empty for all records."""

    label: str
    subject: str
    unit: Unit
    point: Point


@dataclass(frozen=True)
class Listed:
    """What an evaluator measured that is drawn nowhere else, and the question it answers."""

    evaluator: str
    question: str
    lines: tuple[ListedLine, ...]


@dataclass(frozen=True)
class AttackLine:
    """One attack: its AUC, and the shares found at 1 % and at 0.1 % false alarms."""

    attack: str
    points: tuple[Point | None, ...]


@dataclass(frozen=True)
class Attacks:
    """Who was in the training, as far as attackers can tell; `most` is what epsilon allows anybody, likewise."""

    wave: str
    units: int
    lines: tuple[AttackLine, ...]
    most: tuple[Point | None, ...]


@dataclass(frozen=True)
class FindingLine:
    wave: str
    day: date
    level: str
    verdict: Verdict
    rule: str
    subject: str
    sentence: str
    value: float | None
    limit: float | None
    state: FindingState
    found_at: datetime


@dataclass(frozen=True)
class DecisionLine:
    at: datetime
    person: str
    action: str
    reason: str


@dataclass(frozen=True)
class FailureLine:
    """An evaluator that did not finish on a wave; `code` is all that may be said."""

    wave: str
    evaluator: str
    code: str


@dataclass(frozen=True)
class Alarm:
    """What is open on a model: findings beyond tolerance that no later finding has replaced.

    `decided` is the decision taken after all of them were found, if there is one: then somebody has
    answered, and the model no longer needs a decision.
    """

    findings: tuple[FindingLine, ...] = ()
    decided: DecisionLine | None = None

    @property
    def needs_decision(self) -> bool:
        return bool(self.findings) and self.decided is None


@dataclass(frozen=True)
class ModelName:
    """Which model version, in the words its developer chose for it."""

    id: str
    title: str
    version: int
    standing: Standing
    question: str


@dataclass(frozen=True)
class ModelLine:
    """One model version in the overview. `guarantee` is its training's own epsilon, as wording.certified says it."""

    name: ModelName
    dataset: str
    latest: Point | None
    headline: Trend
    alarm: Alarm
    failures: int
    epsilon: float | None
    guarantee: str = ""


@dataclass(frozen=True)
class BudgetLine:
    """How full one pool's privacy budget is. `epsilon` at `delta` is the promise, and `spent` its used part by
    Rényi cost: no epsilon of what was released so far (see sandbox.privacy.wording)."""

    title: str
    what: str
    spent: float
    epsilon: float
    delta: float
    charges: int
    adjacency: str = "add/remove"
    unit: str = "unit"

    @property
    def share(self) -> float:
        return min(max(self.spent / self.epsilon, 0.0), 1.0)


@dataclass(frozen=True)
class WaveLine:
    dataset: str
    name: str
    day: date
    rows: int
    state: WaveState
    problems: tuple[str, ...]
    arrived_at: datetime


@dataclass(frozen=True)
class Happening:
    """One line of the audit log."""

    at: datetime
    by: str
    what: str
    subject: str
    reason: str


@dataclass(frozen=True)
class WorkLine:
    """One job that runs, waits or failed. `share` of it is done, where that is known while it runs."""

    what: str
    subject: str
    state: JobState
    words: str
    share: float | None
    since: datetime
    note: str = ""


@dataclass(frozen=True)
class WorkPanel:
    """What is being done now. `lines` are the first of each state; the counts are of all."""

    lines: tuple[WorkLine, ...]
    running: int
    waiting: int
    failed: int
    workers: int


@dataclass(frozen=True)
class GraphLayer:
    """Neighbouring steps of one module. `module` and `kind` are the developer's words; `shape` is of one record."""

    module: str
    kind: str
    operators: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class GraphPanel:
    """The record graph that was trained. Made from a `recipe`, or by a developer's code behind a `wall`."""

    digest: str
    recipe: str
    wall: str
    wall_layers: tuple[str, ...]
    parameters: int
    fixed: int
    reads: tuple[str, ...]
    ignores: tuple[str, ...]
    flops: int
    nodes: int
    layers: tuple[GraphLayer, ...]


@dataclass(frozen=True)
class IncidentLine:
    """An open incident: a training that did not pass the release gate."""

    id: str
    model: str
    sentence: str
    at: datetime


@dataclass(frozen=True)
class OverviewPanel:
    models: tuple[ModelLine, ...]
    budgets: tuple[BudgetLine, ...]
    waves: tuple[WaveLine, ...]
    happenings: tuple[Happening, ...]
    incidents: tuple[IncidentLine, ...] = ()
    alarm_budget: str = ""


@dataclass(frozen=True)
class ModelPanel:
    """Everything the model screen shows of one version."""

    name: ModelName
    model: str
    developer: str
    dataset: str
    unit_means: str
    registered_at: datetime
    waves: tuple[WaveLine, ...]
    sizes: Trend
    headline: Trend
    bias: Trend
    gap: Trend
    gap_of: str
    inputs: HeatMap
    groups: Groups
    reliability: Reliability
    changes: dict[str, Trend]
    alarm: Alarm
    findings: tuple[FindingLine, ...]
    failures: tuple[FailureLine, ...]
    missing: tuple[str, ...]
    decisions: tuple[DecisionLine, ...]
    certificate: tuple[tuple[str, str], ...]
    budget: BudgetLine | None
    graph: GraphPanel | None = None
    tests: tuple[str, ...] = ()
    listed: tuple[Listed, ...] = ()
    attacks: Attacks | None = None
