"""One model version: is it still good, for everyone, and what has moved?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dashboards import charts, numbers
from dashboards.live import graphs, tables
from dashboards.live.markup import Html, Tone, banner, bars, block, join, line, pill, quiet, tag
from dashboards.panels import Listed, ModelPanel, Reliability, Trend
from sandbox.lifecycle import Verdict

_PRIVACY = frozenset({"audit"})
"""Evaluators whose measurements stand below the privacy certificate."""


def heading(panel: ModelPanel, now: datetime, reports: Mapping[str, str] = {}) -> Html:
    """Title, the line about the latest wave, and links to the reports that were made: the address of each wave's."""
    name = panel.name
    title = tag("h1", f"{name.title}, version {name.version} · {name.standing}")
    return block(title, tag("p", _latest_words(panel, now), css="sub"), _report_links(reports))


def _report_links(reports: Mapping[str, str]) -> Html:
    if not reports:
        return Html("")
    links = [
        tag("a", wave, href=address, target="_blank", rel="noreferrer") for wave, address in reports.items()
    ]
    return tag("p", "Looking closer, on a sample (Evidently): ", join(links, ", "), css="quiet small")


def render(panel: ModelPanel) -> None:
    """Draws everything below the heading."""
    import streamlit as st

    st.html(block(_banner(panel)))
    if not panel.waves:
        return _certificate_and_decisions(panel)
    st.html(block(tag("div", *_cards(panel), css="cards")))
    left, right = st.columns([1.35, 1], gap="large")
    with left:
        _chart("Which inputs have moved, and when", charts.heat_map(panel.inputs), bool(panel.inputs.cells))
        st.html(block(tag("h2", "What kind of change is it?")))
        st.html(block(tables.drift(panel)))
    with right:
        _trend(f"{panel.headline.label} over time, with 95 % interval", panel.headline)
        _trend("Calibration: mean prediction minus outcome", panel.bias)
    st.html(block(tag("h2", "Findings")))
    st.html(block(tables.findings(panel)))
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        st.html(block(tag("h2", f"Groups, on wave {panel.groups.wave}" if panel.groups.wave else "Groups")))
        st.html(block(tables.groups(panel.groups)))
    with right:
        _reliability(panel.reliability)
    rest = [each for each in panel.listed if each.evaluator not in _PRIVACY]
    for column, listed in zip(st.columns(2, gap="large"), (rest[::2], rest[1::2]), strict=True):
        with column:
            _listed(listed)
    return _certificate_and_decisions(panel)


def _certificate_and_decisions(panel: ModelPanel) -> None:
    import streamlit as st

    left, right = st.columns([1, 1.35], gap="large")
    with left:
        st.html(block(tag("h2", "Privacy certificate")))
        st.html(block(tables.certificate(panel.certificate)))
        if panel.budget:
            st.html(block(tables.budgets([panel.budget])))
        _listed([each for each in panel.listed if each.evaluator in _PRIVACY])
        if panel.attacks:
            st.html(block(tag("h2", "Can an attacker tell who was in the training?")))
            st.html(block(tables.attacks(panel.attacks, panel.unit_means)))
        st.html(block(tag("h2", "What was trained")))
        st.html(block(graphs.graph_facts(panel.graph)))
    with right:
        st.html(block(tag("h2", "Decisions")))
        st.html(block(tables.decisions(panel)))
        if panel.tests:
            st.html(block(tag("h2", "Tests against other versions")))
            st.html(block(tag("ul", join(tag("li", words) for words in panel.tests))))
        st.html(block(tag("h2", "What could not be said")))
        st.html(block(tables.unanswered(panel)))
        if panel.graph:
            st.html(block(tag("h2", "Layers of what was trained")))
            st.html(block(graphs.graph_layers(panel.graph)))


def _listed(panels: Sequence[Listed]) -> None:
    import streamlit as st

    for each in panels:
        st.html(block(tag("h2", each.question)))
        st.html(block(tables.listed(each)))


def _latest_words(panel: ModelPanel, now: datetime) -> str:
    if not panel.waves:
        return f"{panel.dataset} · no wave has been evaluated yet"
    last = panel.waves[-1]
    words = f"Wave {last.name} of {numbers.day(last.day)} arrived {numbers.ago(last.arrived_at, now)}"
    return f"{words} · {numbers.count(len(panel.waves), 'wave')} evaluated · {panel.dataset}"


def _banner(panel: ModelPanel) -> Html:
    alarm = panel.alarm
    if alarm.needs_decision:
        parts = join((_subject(f.rule, f.subject) for f in alarm.findings), ", ")
        count = numbers.count(len(alarm.findings), "finding")
        verb = "is" if len(alarm.findings) == 1 else "are"
        return banner(
            "bad", "!", tag("strong", "Needs a decision."), f" {count} {verb} beyond tolerance: ", parts, "."
        )
    if alarm.decided:
        d = alarm.decided
        count = numbers.count(len(alarm.findings), "finding")
        said = f" {d.person}: {d.action}. {d.reason} ({count} still beyond tolerance.)"
        return banner("plain", "i", tag("strong", f"Decided on {numbers.short_day(d.at)}."), said)
    if not panel.waves:
        return banner(
            "plain",
            "i",
            tag("strong", "Nothing to judge yet."),
            " Results appear here by themselves when a wave has been evaluated.",
        )
    latest = panel.waves[-1].name
    unsure = sum(f.verdict is Verdict.UNKNOWN and f.wave == latest for f in panel.findings)
    words = f" Nothing is beyond tolerance on wave {latest}."
    failed = sum(f.wave == latest for f in panel.failures)
    if failed:
        lost = f" {numbers.count(failed, 'evaluation')} of wave {latest} failed; see below. {words.strip()}"
        return banner("warn", "!", tag("strong", "Not everything could be judged."), lost)
    if unsure:
        words += f" On {numbers.count(unsure, 'question')} there is too little data to tell."
    return banner("good", "✓", tag("strong", "All well."), words)


def _subject(rule: str, subject: str) -> Html:
    return join([tag("em", subject), f" ({rule})"])


def _cards(panel: ModelPanel) -> list[Html]:
    return [_quality_card(panel), _inputs_card(panel), _gap_card(panel), _size_card(panel)]


def _quality_card(panel: ModelPanel) -> Html:
    trend, tone = panel.headline, _tone(panel, "quality")
    known = trend.known
    moved = pill("first wave", "plain")
    if len(known) > 1:
        change = (known[-1].value or 0.0) - (known[0].value or 0.0)
        arrow = "↓" if change < 0 else "↑"
        moved = pill(f"{arrow} {numbers.change(change, trend.unit)} since {known[0].wave}", tone)
    said = numbers.stated(trend.latest, trend.unit)
    return _card(trend.label, said, moved, line(trend, "bad" if tone == "bad" else "blue"))


def _inputs_card(panel: ModelPanel) -> Html:
    inputs, waves = panel.inputs, [w.name for w in panel.waves]
    counts = [inputs.beyond(wave) for wave in waves]
    now, before = counts[-1], counts[-2] if len(counts) > 1 else 0
    tone: Tone = "bad" if now else "good"
    words = pill("this wave is the reference", "plain")
    if len(counts) > 1:
        change = now - before
        words = pill(
            "no change this wave"
            if not change
            else f"{'↑' if change > 0 else '↓'} {numbers.change(change, 'number')} this wave",
            tone,
        )
    return _card("Features outside tolerance", f"{now} of {len(inputs.features)}", words, bars(counts, tone))


def _gap_card(panel: ModelPanel) -> Html:
    trend, tone = panel.gap, _tone(panel, "fairness")
    label = "Widest gap between groups" + (f" ({trend.label})" if trend.label else "")
    if trend.latest is None or trend.latest.value is None:
        return _card(label, "–", pill("not measured", "plain"), Html(""))
    said = numbers.change(trend.latest.value, trend.unit).lstrip("+")
    words = pill(f"by {panel.gap_of}", tone)
    if len(trend.known) > 1:
        change = trend.latest.value - (trend.known[-2].value or 0.0)
        words = pill(
            f"{'↓' if change < 0 else '↑'} {numbers.change(change, trend.unit)} this wave, by {panel.gap_of}",
            tone,
        )
    return _card(label, said, words, line(trend, tone if tone != "plain" else "blue"))


def _size_card(panel: ModelPanel) -> Html:
    sizes = [p.value or 0.0 for p in panel.sizes.points]
    last = panel.sizes.points[-1]
    units = f"each {panel.unit_means}" if last.n == last.value else f"{last.n:,} units: {panel.unit_means}"
    return _card(
        "Records in this wave", numbers.value(sizes[-1], "number"), pill(units, "plain"), bars(sizes)
    )


def _card(label: str, said: str, moved: Html, drawn: Html) -> Html:
    return tag("div", tag("div", label), tag("div", said, css="number"), moved, drawn, css="card")


def _tone(panel: ModelPanel, rule: str) -> Tone:
    """Of the latest wave's findings under this rule, the worst."""
    verdicts = {f.verdict for f in panel.findings if f.rule == rule and f.wave == panel.waves[-1].name}
    for verdict in (Verdict.BEYOND, Verdict.UNKNOWN, Verdict.WITHIN):
        if verdict in verdicts:
            return tables.TONES[verdict]
    return "plain"


def _trend(title: str, trend: Trend) -> None:
    legend = ""
    if trend.limit_words and trend.limits:
        value = f", {numbers.value(trend.limits[0], trend.unit)}" if len(trend.limits) == 1 else ""
        legend = tag(
            "p", tag("span", css="dashes", aria_hidden="true"), f"{trend.limit_words}{value}", css="limit"
        )
    _chart(title, charts.trend(trend) if trend.known else {}, bool(trend.known), legend)


def _reliability(panel: Reliability) -> None:
    import streamlit as st

    _chart("Predicted and happened", charts.reliability(panel) if panel.bins else {}, bool(panel.bins))
    said = [
        f"{word} {numbers.stated(p)}" + (f" ({numbers.interval(p)})" if numbers.interval(p) else "")
        for word, p in panel.facts
    ]
    if said:
        st.html(block(join((quiet(words) for words in said), "<br>")))


def _chart(title: str, spec: charts.Spec, drawn: bool, legend: str = "") -> None:
    import streamlit as st

    st.html(block(tag("h2", title), legend))
    if drawn:
        st.vega_lite_chart(spec, theme=None, width="stretch")
    else:
        st.html(block(tag("p", "No values yet.", css="quiet")))
