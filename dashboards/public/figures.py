"""Which figures a public page shows: from one record, ready to be written into the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboards.public import chart, measures, writing
from sandbox.disclosure.content import Change, Content, Finding, Group, Measure, Wave
from sandbox.lifecycle import Standing, Verdict

_STANDINGS = {
    Standing.CANDIDATE: ("On trial", "blue", "AI model on trial"),
    Standing.CHALLENGER: ("On trial beside the one in use", "blue", "AI model on trial"),
    Standing.CHAMPION: ("In use", "green", "AI model in use"),
    Standing.SUSPENDED: ("Suspended", "red", "AI model, suspended"),
    Standing.RETIRED: ("Retired", "grey", "AI model, retired"),
}
_VERDICTS = {
    Verdict.BEYOND: ("Outside agreed limits", "orange"),
    Verdict.WITHIN: ("Within agreed limits", "green"),
    Verdict.UNKNOWN: ("Too little data to tell", "grey"),
}
_NOT_MEASURED = Measure(value=None, low=None, high=None, status="not measured")
_HIDDEN = {"suppressed": "Not shown, to protect a smaller group"}
_IN_NOTICE = 3
_MOVED, _INPUTS = "input_distance", "input drift"


@dataclass(frozen=True)
class Tag:
    text: str
    colour: str


@dataclass(frozen=True)
class Figure:
    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Row:
    """One line of a table: a label and its cells; `hidden` says why there are none."""

    label: str
    cells: tuple[str, ...] = ()
    hidden: str = ""


@dataclass(frozen=True)
class Table:
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Check:
    sentence: str
    tag: Tag


@dataclass(frozen=True)
class Page:
    """Everything the template of a model's page writes that is not simply a word of the record."""

    units: str
    standing: Tag
    kind: str
    verdict: Tag | None
    notice: tuple[str, ...]
    more_to_notice: bool
    figures: tuple[Figure, ...]
    quality: measures.Meaning
    latest: Wave | None
    chart: chart.Chart | None
    chart_words: str
    waves: Table
    measures: Table
    checks: tuple[Check, ...]
    groups: tuple[Table, ...]
    group_rates: tuple[Table, ...]
    inputs: Table | None
    inputs_limit: str
    history: tuple[Change, ...]


def page(record: Content) -> Page:
    units = writing.units(record.dataset.unit_means)
    waves = sorted(record.waves, key=lambda wave: (wave.day, wave.name))
    latest = waves[-1] if waves else None
    name = measures.headline(record.task.kind)
    points = [(wave.day, wave.measures.get(name, _NOT_MEASURED)) for wave in waves]
    findings = _of_latest_wave(record.findings, latest)
    beyond = [f.sentence for f in findings if Verdict(f.verdict) is Verdict.BEYOND]
    text, colour, kind = _STANDINGS[Standing(record.standing)]
    drawn = chart.draw(points, _lowest(record, name), measures.meaning(name))
    return Page(
        units=units,
        standing=Tag(text, colour),
        kind=kind,
        verdict=_verdict(findings),
        notice=tuple(beyond[:_IN_NOTICE]),
        more_to_notice=len(beyond) > _IN_NOTICE,
        figures=_figures(record, latest, name, units, findings),
        quality=measures.meaning(name),
        latest=latest,
        chart=drawn,
        chart_words=_in_words(drawn),
        waves=_waves_table(waves, name, units),
        measures=_measures_table(latest, name),
        checks=tuple(Check(f.sentence, Tag(*_VERDICTS[Verdict(f.verdict)])) for f in findings),
        groups=tuple(_groups(latest, [name], units, with_range=True)),
        group_rates=tuple(_groups(latest, _other_names(latest, name), units, with_range=False)),
        inputs=_inputs(latest),
        inputs_limit=writing.share(record.limits[_INPUTS]) if _INPUTS in record.limits else "",
        history=tuple(sorted(record.history, key=lambda change: change.day, reverse=True)),
    )


def _figures(
    record: Content, latest: Wave | None, name: str, units: str, findings: Sequence[Finding]
) -> tuple[Figure, ...]:
    quality = latest.measures.get(name) if latest else None
    gap_name, gap = _widest_gap(latest, name, findings)
    return (
        Figure("Quality now", measures.written(name, quality), _beside_quality(record, name, quality)),
        Figure(
            "Privacy budget spent", writing.share(record.privacy.budget.share), "when spent, training stops"
        ),
        Figure(
            "Widest gap between groups", measures.written(gap_name, gap), _beside_gap(record, gap_name, gap)
        ),
        Figure(
            f"{units.capitalize()} in the latest test",
            _tested(latest) if latest else "None yet",
            f"rounded to the nearest {record.publication.round_to}"
            if latest and latest.n is not None
            else "",
        ),
    )


def _beside_quality(record: Content, name: str, quality: Measure | None) -> str:
    if quality is None or not measures.is_shown(quality):
        return ""
    if agreed := _agreed_fall(record, name):
        return f"limit: {writing.points(agreed[1])} below {measures.meaning(name).write(agreed[0])}"
    reach = measures.likely_range(name, quality)
    return f"likely range {reach}" if reach else ""


def _lowest(record: Content, name: str) -> chart.Limit | None:
    """Where quality passes the agreed limit: a fall that policy allows from the first wave."""
    agreed = _agreed_fall(record, name)
    if agreed is None:
        return None
    first, fall = agreed
    return chart.Limit(first - fall, f"Limit, {writing.points(fall)} below the first test")


def _agreed_fall(record: Content, name: str) -> tuple[float, float] | None:
    """The measure in the first wave, which later ones are held against, and how far it may fall since."""
    first = min(record.waves, key=lambda wave: (wave.day, wave.name), default=None)
    measure = first.measures.get(name) if first else None
    fall = record.limits.get("quality")
    if measure is None or measure.value is None or fall is None or len(record.waves) == 1:
        return None
    return (measure.value, fall) if measures.may_fall(name) else None


def _beside_gap(record: Content, name: str, gap: Measure | None) -> str:
    limit = record.limits.get("fairness")
    if gap is None or not measures.is_shown(gap):
        return ""
    if limit is not None:
        return f"limit is {writing.points(limit)}"
    return f"in {measures.meaning(name.removesuffix('_gap')).title.lower()}"


def _tested(wave: Wave) -> str:
    return writing.count(wave.n) if wave.n is not None else "Not shown"


def _widest_gap(latest: Wave | None, name: str, findings: Sequence[Finding]) -> tuple[str, Measure | None]:
    """The published gap of the headline measure, else the widest that a check of fairness judged."""
    gap = f"{name}_gap"
    measured = latest.measures.get(gap) if latest else None
    judged = [f.value for f in findings if f.rule == "fairness" and f.value is not None]
    if measured is None and judged:
        return gap, Measure(value=max(judged), low=None, high=None, status="ok")
    return gap, measured


def _of_latest_wave(findings: Sequence[Finding], latest: Wave | None) -> list[Finding]:
    """Worst first; otherwise in the order of the record."""
    order = [Verdict.BEYOND, Verdict.UNKNOWN, Verdict.WITHIN]
    of_it = [f for f in findings if latest and f.wave == latest.name]
    return sorted(of_it, key=lambda finding: order.index(Verdict(finding.verdict)))


def _verdict(findings: Sequence[Finding]) -> Tag | None:
    """Beyond if any check is; within only if every check could tell."""
    return Tag(*_VERDICTS[Verdict(findings[0].verdict)]) if findings else None


def _in_words(drawn: chart.Chart | None) -> str:
    """What somebody who cannot see the chart is told."""
    if drawn is None:
        return ""
    first, last = drawn.marks[0], drawn.marks[-1]
    if len(drawn.marks) == 1:
        words = f"Chart: {last.value} on {last.day}."
    else:
        words = f"Chart: {first.value} on {first.day}, {last.value} on {last.day}."
    return f"{words} {drawn.limit.text}." if drawn.limit else words


def _waves_table(waves: Sequence[Wave], name: str, units: str) -> Table:
    rows = []
    for wave in reversed(waves):
        measure = wave.measures.get(name)
        rows.append(
            Row(
                writing.day(wave.day),
                (measures.written(name, measure), measures.likely_range(name, measure), _tested(wave)),
            )
        )
    return Table(
        "Every test", ("Day", measures.meaning(name).title, "Likely range", units.capitalize()), tuple(rows)
    )


def _measures_table(latest: Wave | None, name: str) -> Table:
    rows = []
    for other in latest.measures if latest else ():
        if other != name:
            measure = latest.measures[other] if latest else None
            cells = (measures.written(other, measure), measures.likely_range(other, measure))
            meaning = measures.meaning(other)
            rows.append(
                Row(
                    f"{meaning.title}. {meaning.explanation}" if meaning.explanation else meaning.title, cells
                )
            )
    return Table("Other measures of the latest test", ("Measure", "Value", "Likely range"), tuple(rows))


def _other_names(latest: Wave | None, name: str) -> list[str]:
    seen = dict.fromkeys(m for group in (latest.groups if latest else ()) for m in group.measures)
    return [m for m in seen if m != name]


def _groups(latest: Wave | None, names: Sequence[str], units: str, *, with_range: bool) -> Iterable[Table]:
    """One table for each attribute, in the order of the record."""
    by_attribute: dict[str, list[Group]] = {}
    for group in latest.groups if latest else ():
        by_attribute.setdefault(group.attribute, []).append(group)
    if not names:
        return
    titles = tuple(measures.meaning(name).title for name in names)
    for attribute, groups in by_attribute.items():
        title = groups[0].attribute_title or attribute.replace("_", " ").capitalize()
        columns = ("Group", *titles, *(("Likely range", units.capitalize()) if with_range else ()))
        yield Table(title, columns, tuple(_group_row(g, names, units, with_range=with_range) for g in groups))


def _inputs(latest: Wave | None) -> Table | None:
    """How far what the model reads is from the first test, the furthest first; None where that is not published."""
    if latest is None or not latest.inputs:
        return None
    seen = [(one.title, one.measures.get(_MOVED)) for one in latest.inputs]
    seen.sort(key=lambda one: -(one[1].value or 0.0) if one[1] else 0.0)
    rows = [Row(title, (measures.written(_MOVED, m), measures.likely_range(_MOVED, m))) for title, m in seen]
    return Table(
        "What the model reads", ("Recorded", measures.meaning(_MOVED).title, "Likely range"), tuple(rows)
    )


def _group_row(group: Group, names: Sequence[str], units: str, *, with_range: bool) -> Row:
    if group.status != "ok":
        return Row(
            group.label, hidden=_HIDDEN.get(group.status, f"Not shown: too few {units} to publish safely")
        )
    cells = [measures.written(name, group.measures.get(name)) for name in names]
    if with_range:
        cells.append(measures.likely_range(names[0], group.measures.get(names[0])))
        cells.append(writing.count(group.n) if group.n is not None else "Not shown")
    return Row(group.label, tuple(cells))
