"""All models: who needs a decision, how each one does, what is left of the budgets, what happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from dashboards import numbers
from dashboards.live import tables
from dashboards.live.markup import (
    Html,
    Number,
    banner,
    block,
    details,
    join,
    line,
    pill,
    quiet,
    table,
    tag,
)
from dashboards.panels import BudgetLine, Happening, IncidentLine, ModelLine, OverviewPanel, WaveLine
from sandbox.lifecycle import WaveState
from sandbox.privacy import wording

_BARS_SHOWN, _WAVES_SHOWN = 8, 10


def render(panel: OverviewPanel, now: datetime, jobs: Callable[[], None] = lambda: None) -> None:
    """Draws the overview; `jobs` draws the jobs, which move while all else stands still."""
    import streamlit as st

    st.html(block(tag("h1", "All models"), tag("p", _summary(panel), css="sub")))
    st.html(block(_banners(panel)))
    st.html(block(_models(panel)))
    left, right = st.columns([1.15, 1], gap="large")
    with left:
        st.html(block(tag("h2", "Waves, newest arrival first")))
        st.html(block(_waves(panel.waves, now)))
        st.html(block(tag("h2", "Privacy budget, by dataset")))
        st.html(block(_budgets(panel.budgets)))
        if panel.alarm_budget:
            st.html(block(tag("h2", "Budget of false alarms"), tag("p", panel.alarm_budget)))
    with right:
        jobs()
        st.html(block(tag("h2", "What happened lately")))
        st.html(block(_log(panel.happenings)))


def model_link(model_version: str, words: object) -> Html:
    """A link to the screen of one model version."""
    return tag("a", words, href=f"model?model={quote(model_version, safe='')}", target="_self")


def _summary(panel: OverviewPanel) -> str:
    waiting = sum(m.alarm.needs_decision for m in panel.models) + len(panel.incidents)
    arrived = sum(w.state is WaveState.ACCEPTED for w in panel.waves)
    aside = len(panel.waves) - arrived
    words = [numbers.count(len(panel.models), "model version"), f"{numbers.count(arrived, 'wave')} arrived"]
    if aside:
        words.append(f"{numbers.count(aside, 'wave')} in quarantine")
    words.append(
        f"{waiting} {'needs' if waiting == 1 else 'need'} a decision"
        if waiting
        else "nothing needs a decision"
    )
    return " · ".join(words)


def _banners(panel: OverviewPanel) -> Html:
    incidents = join(_incident(i) for i in panel.incidents)
    return join([incidents, _model_banners(panel)])


def _incident(incident: IncidentLine) -> Html:
    return banner(
        "bad",
        "!",
        tag("strong", "Needs a decision."),
        f" A training of {incident.model} did not pass the release gate, on {numbers.short_day(incident.at)}: ",
        incident.sentence,
        " ",
        quiet(
            "No model came of it, and its charge stands. ", tag("code", f"ndl incident show {incident.id}")
        ),
    )


def _model_banners(panel: OverviewPanel) -> Html:
    if not panel.models and panel.incidents:
        return Html("")
    if not panel.models:
        todo = "Bring in a dataset (ndl dataset add), submit a model (ndl submit) and train it (ndl train)."
        return banner("plain", "i", tag("strong", "No models yet."), f" {todo}")
    waiting = [m for m in panel.models if m.alarm.needs_decision]
    if not waiting and panel.incidents:
        return Html("")
    if not waiting:
        return banner(
            "good",
            "✓",
            tag("strong", "All well."),
            " No model has an open finding that waits for a decision.",
        )
    return join(_banner(m) for m in waiting)


def _banner(model: ModelLine) -> Html:
    subjects = list(dict.fromkeys(f.subject for f in model.alarm.findings))
    listed = join((tag("em", s) for s in subjects), ", ")
    count = numbers.count(len(model.alarm.findings), "finding")
    verb = "is" if len(model.alarm.findings) == 1 else "are"
    link = model_link(model.name.id, f"{model.name.title} {model.name.version}")
    return banner(
        "bad",
        "!",
        tag("strong", "Needs a decision."),
        " ",
        link,
        f": {count} {verb} beyond tolerance (",
        listed,
        ").",
    )


def _models(panel: OverviewPanel) -> Html:
    if not panel.models:
        return Html("")
    heads = [
        "Model",
        "Standing",
        "Latest wave",
        Number("Quality"),
        "95 % interval",
        "Over its waves",
        "Findings open",
        wording.alone("training"),
    ]
    return table(heads, [_model(m) for m in panel.models], "Models")


def _model(m: ModelLine) -> list[object]:
    latest, unit = m.headline.latest, m.headline.unit
    named = join(
        [
            model_link(m.name.id, f"{m.name.title} {m.name.version}"),
            Html("<br>"),
            quiet(m.name.question or m.dataset),
        ]
    )
    wave: object = quiet("none yet")
    if m.latest:
        rows = numbers.count(int(m.latest.value or 0), "record")
        wave = join(
            [tag("span", m.latest.wave, css="nowrap"), Html("<br>"), quiet(tag("span", rows, css="nowrap"))]
        )
    quality = (
        join([numbers.stated(latest, unit), Html("<br>"), quiet(m.headline.label)]) if latest else quiet("–")
    )
    span = tag("span", numbers.interval(latest, unit), css="nowrap") if latest else ""
    tone = "bad" if any(f.rule == "quality" for f in m.alarm.findings) else "blue"
    epsilon, _, near = m.guarantee.partition(" at ")
    alone = join([tag("span", epsilon, css="nowrap"), Html("<br>"), quiet(f"at {near}")]) if near else "–"
    return [
        named, tables.standing(m.name.standing), wave, _Right(quality), span,
        line(m.headline, "bad" if tone == "bad" else "blue"), _open(m), alone,
    ]  # fmt: skip


class _Right(Html, Number):
    """Markup that is set right."""

    __slots__ = ()


def _open(m: ModelLine) -> Html:
    parts: list[object] = []
    if m.alarm.findings:
        parts.append(
            pill(f"{len(m.alarm.findings)} beyond tolerance", "bad" if m.alarm.needs_decision else "plain")
        )
        if m.alarm.decided:
            parts.append(quiet(f"decided by {m.alarm.decided.person}"))
    elif m.latest:
        parts.append(pill("none", "good"))
    if m.failures:
        parts.append(pill(numbers.count(m.failures, "failed evaluation"), "warn"))
    return join(parts, "<br>") if parts else quiet("–")


def _waves(waves: tuple[WaveLine, ...], now: datetime) -> Html:
    if not waves:
        return tag("p", "No wave has arrived yet.", css="quiet")
    heads = ["Dataset", "Wave", Number("Records"), "Arrived", "State"]
    shown = table(heads, [_wave(w, now) for w in waves[:_WAVES_SHOWN]], "Waves")
    if len(waves) <= _WAVES_SHOWN:
        return shown
    rest = waves[_WAVES_SHOWN:]
    words = numbers.count(len(rest), "earlier wave")
    return join([shown, details(words, table(heads, [_wave(w, now) for w in rest], "Earlier waves"))])


def _wave(w: WaveLine, now: datetime) -> list[object]:
    bad = w.state is WaveState.QUARANTINED
    state: list[object] = [pill(str(w.state), "bad" if bad else "good")]
    state += [quiet(problem) for problem in w.problems]
    return [
        w.dataset,
        tag("span", w.name, css="nowrap"),
        Number(f"{w.rows:,}"),
        numbers.ago(w.arrived_at, now),
        join(state, "<br>"),
    ]


def _budgets(budgets: tuple[BudgetLine, ...]) -> Html:
    if not budgets:
        return tag("p", "No budget has been opened yet.", css="quiet")
    order = sorted(budgets, key=lambda b: (b.what != "training", -b.share, b.title, b.what))
    used = [b for b in order if b.charges or b.what == "training"]
    untouched = [b for b in order if b not in used]
    parts = [tables.budgets(used[:_BARS_SHOWN])]
    if more := used[_BARS_SHOWN:]:
        parts.append(details(numbers.count(len(more), "more budget"), tables.budgets(more)))
    if untouched:
        words = f"{numbers.count(len(untouched), 'budget')} not touched yet"
        parts.append(details(words, tables.budgets(untouched)))
    return join(parts)


def _log(happenings: tuple[Happening, ...]) -> Html:
    if not happenings:
        return tag("p", "Nothing yet.", css="quiet")
    return tag("ul", *(_happening(h) for h in happenings), css="log")


def _happening(h: Happening) -> Html:
    told = [
        tag("strong", h.by),
        f" {h.what} ",
        h.subject,
        *([" ", quiet("· ", h.reason)] if h.reason else []),
    ]
    return tag("li", quiet(numbers.time(h.at)), tag("div", *told))
