"""Is every model still what it was? The watch for ever over its figures, and the alarm budget of the estate.

Everything is made again from stored measurements; nothing is counted up. A wave is judged once all waves
before it have been evaluated, so that the answer does not depend on which worker was first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from sqlalchemy.exc import IntegrityError

from evaluators.change import Check, mean_evidence, onset, pooled, share_evidence
from evaluators.intervals import LEVEL, Estimate, told_by, z_of
from evaluators.judgement import Judgement, estimate_of
from evaluators.policy import Monitoring, above, off_centre
from evaluators.schedule import reference_of
from sandbox.lifecycle import FindingState, Standing, Verdict, WaveState
from sandbox.records import Dataset, Evaluation, Event, Finding, Measurement, ModelVersion, Wave
from sandbox.storage import Store, Transaction

RULE = "change"
RECENT = 4
"""How many waves together say whether a change beyond the limit is ruled out."""


@dataclass(frozen=True)
class Figure:
    """What is watched. `worse` is the direction of harm: -1 a fall, 1 a rise, 0 either. `share_of` makes it a
    share of records that the detector can count: 1 - accuracy, half the absolute error; else it is an
    estimate that is about normal. Of weighted records, or people with several, it counts as many as the
    figure's interval tells of."""

    name: str
    words: str
    worse: int
    share_of: Callable[[float], float] | None = None


FIGURES: dict[str, tuple[Figure, ...]] = {
    "binary": (
        Figure("accuracy", "Accuracy", -1, lambda value: 1 - value),
        Figure("auc", "AUC", -1),
        Figure("calibration_bias", "Calibration bias", 0),
    ),
    "multiclass": (
        Figure("accuracy", "Accuracy", -1, lambda value: 1 - value),
        Figure("calibration_bias", "Calibration bias", 0),
    ),
    "regression": (
        Figure("mae", "Mean absolute error", 1, lambda value: value / 2),
        Figure("calibration_bias", "Calibration bias", 0),
    ),
}


@dataclass(frozen=True)
class AlarmBudget:
    """False alarms that the policy declares for a year, and the part that the last year of waves, which ended
    `until`, has used up: each check may be a false alarm once in `threshold` times. `alarms` counts those there
    were, true or false."""

    declared: float
    spent: float
    streams: int
    checks: int
    threshold: float
    alarms: int
    until: date | None = None

    @property
    def left(self) -> float:
        return self.declared - self.spent

    @property
    def words(self) -> str:
        several = "alarm" if self.declared == 1 else "alarms"
        left = f"{self.left:.2f} left" if self.left >= 0 else "more checks than the policy plans for"
        when = f"the year up to the wave of {self.until:%d %B %Y}" if self.until else "a year without waves"
        return (
            f"{self.declared:g} false {several} a year for the whole estate ({self.streams} figures watched);"
            f" {self.checks} checks in {when} used {self.spent:.2f}, {left}. An alarm needs evidence of"
            f" {self.threshold:,.0f}; there were {self.alarms}."
        )


def budget(store: Store, policy: Monitoring) -> AlarmBudget:
    """How much of the year's alarm budget the last year has used: the one that ends with the newest wave judged."""
    with store.reading() as view:
        streams = streams_of(view)
        waves = {wave.id: wave.day for wave in view.all(Wave)}
        found = view.all(Finding, rule=RULE)
    until = max((waves[f.wave] for f in found), default=None)
    found = [f for f in found if until and until - waves[f.wave] < timedelta(days=365)]
    threshold = policy.threshold(streams)
    alarmed = {(f.model_version, f.subject) for f in found if f.verdict is Verdict.BEYOND}
    return AlarmBudget(
        policy.alarms_a_year, len(found) / threshold, streams, len(found), threshold, len(alarmed), until
    )


def streams_of(view: Transaction) -> int:
    """How many figures are watched: those of every version that is not retired."""
    kinds = {d.name: d.card.get("ndl:dataset", d.card)["tasks"] for d in view.all(Dataset)}
    hosted = [v for v in view.all(ModelVersion) if v.standing is not Standing.RETIRED]
    return sum(len(FIGURES[kinds[v.dataset][v.task]["kind"]]) for v in hosted)


def keep_watch(store: Store, policy: Monitoring, version: ModelVersion, kind: str, by: str) -> list[Finding]:
    """Judges the waves of a version that can be judged and have not been, and stores the findings."""
    made: list[Finding] = []
    with store.reading() as view:
        threshold, waves = policy.threshold(streams_of(view)), _evaluated(view, version)
        known = {f.id for f in view.all(Finding, model_version=version.id, rule=RULE)}
        for figure in FIGURES[kind]:
            checks = _checks(view, version, figure)
            made += [
                _finding(version, wave, judgement, store)
                for wave, judgement in judged(policy, figure, waves, checks, threshold, known, version.id)
            ]
    for finding in made:
        event = Event(by, "finding.judge", finding.id, "watched", {"verdict": str(finding.verdict)})
        with suppress(IntegrityError), store.transaction() as tx:  # another worker was first
            tx.add(finding, event)
    return made


def judged(
    policy: Monitoring, figure: Figure, waves: Sequence[Wave], checks: dict[str, Check], threshold: float,
    known: set[str], version: str,
) -> Iterator[tuple[Wave, Judgement]]:  # fmt: skip
    """The judgements of each wave after the reference that has a figure and no finding under this key."""
    if not waves or waves[0].id not in checks:
        return
    before = checks[waves[0].id]
    later = [wave for wave in waves[1:] if wave.id in checks]
    new = [at for at, wave in enumerate(later) if finding_id(version, wave, figure) not in known]
    if not new:
        return
    seen = [checks[wave.id] for wave in later]
    evidence = evidence_of(figure, seen, before)
    for at in new:
        yield (
            later[at],
            answer(policy, figure, later[: at + 1], seen[: at + 1], before, evidence[at], threshold),
        )


def evidence_of(figure: Figure, checks: Sequence[Check], before: Check) -> list[float]:
    """The evidence of a change for the worse after each check."""
    if figure.share_of is None:
        signs = (figure.worse,) if figure.worse else (-1, 1)
        values, variances = (np.array([getattr(c, name) for c in checks]) for name in ("value", "variance"))
        return [float(e) for e in mean_evidence(values, variances, before, signs)]
    n = np.array([c.n for c in checks])
    cases = np.array([figure.share_of(c.value) for c in checks]) * n
    return [float(e) for e in share_evidence(cases, n, figure.share_of(before.value) * before.n, before.n)]


def answer(
    policy: Monitoring, figure: Figure, waves: Sequence[Wave], checks: Sequence[Check], before: Check,
    evidence: float, threshold: float,
) -> Judgement:  # fmt: skip
    """What is to be said of the last of these waves."""
    alarm = evidence >= threshold
    start = onset(checks, before) if alarm else max(len(checks) - RECENT, 0)
    change = _change(pooled(checks[start:]), before)
    worse = change if figure.worse >= 0 else Estimate(-change.value, -change.high, -change.low, change.n)
    verdict = off_centre(worse, policy.fall) if figure.worse == 0 else above(worse, policy.fall)
    if alarm or verdict is Verdict.BEYOND:  # only the detector keeps the promise over all the looks
        verdict = Verdict.BEYOND if alarm else Verdict.UNKNOWN
    since = f"since about wave {waves[start].name}" if alarm else f"over the last {len(checks) - start} waves"
    size = f"{figure.words} {since} differs by {change.value:+.3f} from the reference wave"
    size += f" (95 % interval {change.low:+.3f} to {change.high:+.3f})"
    share = (
        f"{evidence / threshold:.2g} of what an alarm needs" if evidence < 1e6 * threshold else "overwhelming"
    )
    sentence = {
        Verdict.BEYOND: f"{size}; the evidence that it has changed is enough for an alarm, of which chance alone"
        f" raises at most {policy.alarms_a_year:g} a year in the whole estate."
        " Decide whether to keep, recalibrate or suspend it.",
        Verdict.WITHIN: f"{size}: a change for the worse beyond {policy.fall:g} is ruled out."
        f" The evidence of any change is {share}. Nothing to do.",
        Verdict.UNKNOWN: f"{size}: whether it changed by more than {policy.fall:g} cannot be told yet."
        f" The evidence of a change is {share}. Watch the next wave.",
    }[verdict]
    level = policy.level if verdict is Verdict.BEYOND else "Low"
    return Judgement(RULE, figure.name, verdict, level, sentence, worse.value, policy.fall)


def finding_id(version: str, wave: Wave, figure: Figure) -> str:
    return f"{version}|{wave.id}|{RULE}|{figure.name}"


def _evaluated(view: Transaction, version: ModelVersion) -> list[Wave]:
    """The reference and the waves after it by day, up to the first that this version has not met yet."""
    accepted = [w for w in view.all(Wave, dataset=version.dataset) if w.state is WaveState.ACCEPTED]
    if not accepted:
        return []
    reference, done = reference_of(accepted), {e.wave for e in view.all(Evaluation, model_version=version.id)}
    ordered = sorted((w for w in accepted if w.id != reference.id), key=lambda w: (w.day, w.id))
    first_missing = next((at for at, w in enumerate(ordered) if w.id not in done), len(ordered))
    return [reference, *ordered[:first_missing]] if reference.id in done else []


def _checks(view: Transaction, version: ModelVersion, figure: Figure) -> dict[str, Check]:
    """By wave: the figure as the newest version of its evaluator has it, where it has one."""
    newest: dict[str, tuple[int, Measurement]] = {}
    for evaluation, m in view.measurements(version.id, name=figure.name):
        if m.group or m.feature:
            continue
        if evaluation.wave not in newest or evaluation.evaluator_version > newest[evaluation.wave][0]:
            newest[evaluation.wave] = (evaluation.evaluator_version, m)
    estimates = {wave: estimate_of(m) for wave, (_, m) in newest.items()}
    return {wave: check(figure, estimate) for wave, estimate in estimates.items() if estimate}


def check(figure: Figure, estimate: Estimate) -> Check:
    """What the detector is told of a figure on one wave."""
    n, variance = float(estimate.n), ((estimate.high - estimate.low) / (2 * z_of(LEVEL))) ** 2
    if figure.share_of is not None:
        low, value, high = map(figure.share_of, (estimate.low, estimate.value, estimate.high))
        n = told_by(value, abs(high - low), n)
    return Check(estimate.value, n, variance)


def _change(now: Check, before: Check) -> Estimate:
    half = z_of(LEVEL) * math.sqrt(now.variance + before.variance)
    value = now.value - before.value
    return Estimate(value, value - half, value + half, round(now.n))


def _finding(version: ModelVersion, wave: Wave, j: Judgement, store: Store) -> Finding:
    state = FindingState.RESOLVED if j.verdict is Verdict.WITHIN else FindingState.OPEN
    key = f"{version.id}|{wave.id}|{j.rule}|{j.subject}"
    return Finding(
        key, version.id, wave.id, j.rule, j.subject, j.verdict, j.level, j.sentence, j.value, j.limit, state,
        store.clock(),
    )  # fmt: skip
