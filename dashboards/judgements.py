"""What have policy and people said about one model version: what is open, and has somebody answered?"""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.panels import Alarm, DecisionLine, FailureLine, FindingLine
from sandbox.lifecycle import FindingState, Standing, Verdict
from sandbox.records import Decision, Evaluation, Finding, Wave


def finding_lines(findings: Sequence[Finding], waves: Sequence[Wave]) -> tuple[FindingLine, ...]:
    """The newest wave first; on a wave what is beyond first, then what nobody can tell yet."""
    of_wave = {wave.id: wave for wave in waves}
    order = [Verdict.BEYOND, Verdict.UNKNOWN, Verdict.WITHIN]
    lines = [
        FindingLine(
            of_wave[f.wave].name, of_wave[f.wave].day, f.level, f.verdict, f.rule, f.subject, f.sentence,
            f.value, f.limit, f.state, f.found_at,
        )
        for f in findings
        if f.wave in of_wave
    ]  # fmt: skip
    levels = {"High": 0, "Medium": 1}
    lines.sort(
        key=lambda line: (order.index(line.verdict), levels.get(line.level, 2), line.rule, line.subject)
    )
    return tuple(sorted(lines, key=lambda line: (line.day, line.wave), reverse=True))


def limit_of(findings: Sequence[FindingLine], rule: str) -> float | None:
    """The limit the newest finding of this rule was held against."""
    return next((line.limit for line in findings if line.rule == rule and line.limit is not None), None)


def alarm(lines: Sequence[FindingLine], decisions: Sequence[DecisionLine], standing: Standing) -> Alarm:
    """The open findings beyond tolerance, each the newest of its rule and subject."""
    newest: dict[tuple[str, str], FindingLine] = {}
    for line in lines:
        newest.setdefault((line.rule, line.subject), line)
    still = tuple(
        line for line in newest.values() if line.verdict is Verdict.BEYOND and line.state is FindingState.OPEN
    )
    if not still or standing is Standing.RETIRED:
        return Alarm()
    last_found = max(line.found_at for line in still)
    return Alarm(still, next((d for d in decisions if d.at >= last_found), None))


def decision_lines(made: Sequence[Decision]) -> tuple[DecisionLine, ...]:
    """The newest first."""
    lines = [DecisionLine(d.decided_at, d.person, d.action, d.reason) for d in made]
    return tuple(sorted(lines, key=lambda line: line.at, reverse=True))


def failures(evaluations: Sequence[Evaluation], waves: Sequence[Wave]) -> tuple[FailureLine, ...]:
    """What did not work on these waves and has no newer version that did."""
    newest: dict[tuple[str, str], Evaluation] = {}
    for e in sorted(evaluations, key=lambda e: e.evaluator_version):
        newest[e.wave, e.evaluator] = e
    names = {wave.id: wave.name for wave in waves}
    failed = [e for e in newest.values() if e.failure and e.wave in names]
    return tuple(
        FailureLine(names[e.wave], e.evaluator.replace("_", " "), e.failure) for e in reversed(failed)
    )
