"""How are findings, groups, certificates, decisions and the rest of a model's panel written as tables?"""

from __future__ import annotations

from collections.abc import Sequence

from dashboards import numbers
from dashboards.live.markup import (
    Html,
    Number,
    Sentence,
    Tone,
    details,
    facts,
    interval_bar,
    join,
    part,
    pill,
    quiet,
    table,
    tag,
)
from dashboards.panels import (
    Attacks,
    BudgetLine,
    FindingLine,
    GroupLine,
    Groups,
    Listed,
    ListedLine,
    ModelPanel,
    Point,
    Trend,
    Unit,
)
from sandbox.lifecycle import Standing, Verdict
from sandbox.privacy import wording

TONES: dict[Verdict, Tone] = {Verdict.BEYOND: "bad", Verdict.UNKNOWN: "warn", Verdict.WITHIN: "good"}
_LEVELS: dict[str, Tone] = {"High": "bad", "Medium": "warn"}
_STANDINGS: dict[Standing, Tone] = {
    Standing.CHAMPION: "good",
    Standing.CHALLENGER: "blue",
    Standing.SUSPENDED: "bad",
}
_HEADS = (
    "Wave",
    "Verdict",
    "Level",
    "Rule",
    "Subject",
    "What it means",
    Number("Value"),
    Number("Limit"),
    "State",
)


def standing(of: Standing) -> Html:
    return pill(str(of), _STANDINGS.get(of, "plain"))


def findings(panel: ModelPanel) -> Html:
    """The latest wave whole, what is within tolerance folded away; then what was beyond on earlier waves."""
    latest = panel.waves[-1].name if panel.waves else ""
    now = [f for f in panel.findings if f.wave == latest]
    loud = [f for f in now if f.verdict is not Verdict.WITHIN]
    calm = [f for f in now if f.verdict is Verdict.WITHIN]
    earlier = [f for f in panel.findings if f.wave != latest and f.verdict is Verdict.BEYOND]
    if not panel.findings:
        return tag(
            "p", "No findings yet: judging begins with the second wave that is evaluated.", css="quiet"
        )
    parts = [_findings(loud, "Findings on the latest wave")] if loud else []
    if not loud:
        parts.append(tag("p", f"Nothing is beyond tolerance on wave {latest}.", css="quiet"))
    if calm:
        summary = f"{numbers.count(len(calm), 'finding')} within tolerance on wave {latest}"
        parts.append(details(summary, _findings(calm, "Findings within tolerance on the latest wave")))
    if earlier:
        summary = f"{numbers.count(len(earlier), 'finding')} beyond tolerance on earlier waves"
        parts.append(details(summary, _findings(earlier, "Findings beyond tolerance on earlier waves")))
    return join(parts)


def groups(panel: Groups) -> Html:
    """Each group on the latest wave; the main measure drawn with its interval."""
    if not panel.lines:
        return tag("p", "No groups were measured.", css="quiet")
    parts = [_groups(panel, panel.lines, "Groups on the latest wave")]
    if "calibration_bias" in {name for name, _, _ in panel.names}:
        parts.append(tag("p", quiet("Bias: the mean prediction less the mean outcome."), css="sub"))
    if panel.pairs:
        widest = dict(panel.gaps)
        first = sorted(panel.pairs, key=lambda line: -_gap_of(widest, line.attribute))
        summary = f"Two attributes at once: the groups with the worst {panel.names[0][1]}"
        parts.append(details(summary, _groups(panel, first, summary)))
    return join(parts)


def _groups(panel: Groups, lines: Sequence[GroupLine], caption: str) -> Html:
    (main, word, unit), *others = panel.names
    low, high = _span(lines, main)
    heads = [
        "Group",
        Number("Records"),
        Number(word),
        "95 % interval",
        "",
        *(Number(label) for _, label, _ in others),
    ]
    rows: list[Sequence[object]] = []
    for attribute in dict.fromkeys(line.attribute for line in lines):
        rows.append(part(_gap_words(panel, attribute), len(heads)))
        for line in (line for line in lines if line.attribute == attribute):
            rows.append(_group(line, main, unit, panel, low, high))
    return table(heads, rows, caption)


def _gap_of(gaps: dict[str, Point], attribute: str) -> float:
    return (gaps[attribute].value or 0.0) if attribute in gaps else 0.0


def drift(panel: ModelPanel) -> Html:
    """The four kinds of change since the first wave, which are different things."""
    latest = panel.waves[-1].name if panel.waves else ""
    rows = []
    if latest and len(panel.waves) > 1:
        moved, of = panel.inputs.beyond(latest), len(panel.inputs.features)
        rows.append(["Inputs", _worst(panel, "input drift", latest), f"{moved} of {of} beyond tolerance"])
    for rule, trend in panel.changes.items():
        if len(trend.points) > 1:
            rows.append([trend.label, _worst(panel, rule, latest), _distance(trend)])
    if not rows:
        return tag("p", "There is one wave so far, so nothing to compare it with.", css="quiet")
    return table(["What", "Verdict", "Since the first wave"], rows, "Kinds of change")


def certificate(lines: Sequence[tuple[str, str]]) -> Html:
    if not lines:
        return tag("p", "This training run has no certificate yet.", css="quiet")
    shown = facts(((label, _power(value)) for label, value in lines), "Privacy certificate")
    audited = any(label.lower().startswith(wording.AUDITED) for label, _ in lines)
    return join([shown, tag("p", wording.AUDITED_NOTE, css="quiet")]) if audited else shown


def decisions(panel: ModelPanel) -> Html:
    if not panel.decisions:
        return tag("p", "Nobody has decided anything about this version yet.", css="quiet")
    rows = [
        [tag("span", numbers.time(d.at), css="nowrap"), d.action, d.person, d.reason] for d in panel.decisions
    ]
    return table(["When (UTC)", "Decision", "By", "Reason"], rows, "Decisions")


def unanswered(panel: ModelPanel) -> Html:
    """What could not be evaluated, and what has no value: shown, never left out."""
    parts = []
    if panel.failures:
        rows = [[f.wave, f.evaluator, tag("code", f.code)] for f in panel.failures]
        parts.append(table(["Wave", "Evaluator that failed", "Code"], rows, "Evaluations that failed"))
    if panel.missing:
        items = join(tag("li", words) for words in panel.missing)
        few = "On the latest wave there is no value for:"
        parts += [tag("p", few, css="quiet"), tag("ul", items)]
    return join(parts) or tag("p", "Every evaluation of every wave worked, with enough cases.", css="quiet")


_LISTED_FIRST = 8


def listed(panel: Listed) -> Html:
    """What one evaluator measured; of many lines the largest values first, the others folded away."""
    lines = list(panel.lines)
    if len(lines) > _LISTED_FIRST:
        lines.sort(key=lambda line: (bool(line.subject), -(line.point.value or 0.0)))
    first, rest = lines[:_LISTED_FIRST], lines[_LISTED_FIRST:]
    shown = _listed(first, panel.question)
    if not rest:
        return shown
    return join([shown, details(f"{len(rest)} more", _listed(rest, f"{panel.question} The rest"))])


def _listed(lines: Sequence[ListedLine], label: str) -> Html:
    of, interval = any(line.subject for line in lines), any(line.point.low is not None for line in lines)
    heads = [
        "What",
        "Of" if of else None,
        Number("Value"),
        "95 % interval" if interval else None,
        Number("n"),
    ]
    rows = [
        [
            line.label, (line.subject or "All records") if of else None,
            Number(numbers.stated(line.point, line.unit)),
            tag("span", numbers.interval(line.point, line.unit), css="nowrap") if interval else None,
            Number(f"{line.point.n:,}"),
        ]
        for line in lines
    ]  # fmt: skip
    shown, *body = [[cell for cell in row if cell is not None] for row in [heads, *rows]]
    return table(shown, body, label)


def attacks(panel: Attacks, unit_means: str) -> Html:
    """Each attack's figures, and below them what epsilon allows anybody."""
    words = (
        "Attackers who hold this model, its recipe and many records guess who was in the training. An AUC of 0.5 is "
        "guessing; found is the share of those, at false alarms for 1 % or 0.1 % of the others. For overseers."
    )
    if panel.units:
        words += f" Tried once, on {panel.units:,} units of the training and of wave {panel.wave} (each {unit_means})."
    rows = [[line.attack, *_figures(line.points)] for line in panel.lines]
    if any(panel.most):
        rows.append([tag("strong", "Most by ε"), *_figures(panel.most)])
    heads = ["Attack", Number("AUC"), Number("Found at 1 %"), Number("at 0.1 %")]
    return join([table(heads, rows, "Attacks on the training"), tag("p", words, css="quiet")])


def _figures(points: Sequence[Point | None]) -> list[Number]:
    units: tuple[Unit, ...] = ("score", "share", "share")
    found = []
    for point, unit in zip(points, units, strict=True):
        within = numbers.interval(point, unit) if point else ""
        found.append(Number(numbers.stated(point, unit) + (f" ({within})" if within else "")))
    return found


def budgets(lines: Sequence[BudgetLine]) -> Html:
    """How full each pool's budget is, as bars, each with its whole promise."""
    cells = []
    for line in lines:
        tone = "bad" if line.share >= 0.9 else "warn" if line.share >= 0.66 else ""
        fill = tag("div", style=f"width:{line.share * 100:.1f}%")
        near = f"at δ = {line.delta:g}, {wording.neighbours(line.adjacency, line.unit)}"
        label = tag("span", line.title, " ", quiet(line.what), Html("<br>"), quiet(near))
        used = tag("span", f"{wording.part(line.share, line.epsilon)} used", css="nowrap")
        cells += [label, tag("div", fill, css=f"bar {tone}".strip(), aria_hidden="true"), used]
    note = quiet(f"{wording.PROMISE_NOTE} {wording.USED_NOTE}")
    return join([tag("div", *cells, css="bars"), tag("p", note)])


def _findings(lines: Sequence[FindingLine], label: str) -> Html:
    rows = [
        [
            tag("span", f.wave, css="nowrap"), pill(str(f.verdict), TONES[f.verdict]),
            pill(f.level, _LEVELS.get(f.level, "plain")), tag("span", f.rule, css="nowrap"), f.subject,
            Sentence(f.sentence), Number(numbers.value(f.value)), Number(numbers.limit(f.limit)),
            str(f.state).capitalize(),
        ]
        for f in lines
    ]  # fmt: skip
    return table(_HEADS, rows, label)


def _group(line: GroupLine, main: str, unit: object, panel: Groups, low: float, high: float) -> list[object]:
    point = line.measures.get(main)
    units = {name: u for name, _, u in panel.names}
    known = point is not None and point.value is not None
    cells: list[object] = [line.label, Number(f"{line.n:,}"), Number(numbers.stated(point, units[main]))]
    cells += [
        tag("span", numbers.interval(point, units[main]), css="nowrap") if point else "",
        interval_bar(point, low, high) if point and known else "",
    ]
    for name, _, u in panel.names[1:]:
        cells.append(Number(numbers.stated(line.measures.get(name), u)))
    return cells


def _gap_words(panel: Groups, attribute: str) -> str:
    unit = panel.names[0][2]
    for name, point in panel.gaps:
        if name == attribute and point.value is not None:
            words = f"{attribute}: widest gap {numbers.change(point.value, unit).lstrip('+')}"
            before = next((p for n, p in panel.before if n == attribute and p.value is not None), None)
            if before is not None and before.value is not None:
                words += f", {numbers.change(before.value, unit).lstrip('+')} on wave {before.wave}"
            return words
    return attribute


def _span(lines: Sequence[GroupLine], main: str) -> tuple[float, float]:
    points = [p for line in lines if (p := line.measures.get(main)) and p.value is not None]
    ends = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _worst(panel: ModelPanel, rule: str, wave: str) -> Html:
    order = [Verdict.BEYOND, Verdict.UNKNOWN, Verdict.WITHIN]
    verdicts = [f.verdict for f in panel.findings if f.rule == rule and f.wave == wave]
    if not verdicts:
        return quiet("not judged")
    worst = min(verdicts, key=order.index)
    return pill(str(worst), TONES[worst])


def _distance(trend: Trend) -> str:
    point = trend.latest
    if point is None or point.value is None:
        return numbers.stated(point)
    return f"distance {numbers.value(point.value)} ({numbers.interval(point)})"


def _power(value: str) -> object:
    base, caret, power = value.partition("^")
    if not caret:
        return value
    return join([base, tag("sup", power.replace("-", numbers.MINUS))])
