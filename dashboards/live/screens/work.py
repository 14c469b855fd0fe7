"""The jobs: what runs and how far it is, what waits, what failed and who can put it right."""

from __future__ import annotations

from datetime import datetime

from dashboards import numbers
from dashboards.live.markup import Html, Tone, banner, block, join, pill, quiet, tag
from dashboards.panels import WorkLine, WorkPanel
from sandbox.lifecycle import JobState

_TONES: dict[JobState, Tone] = {JobState.RUNNING: "blue", JobState.WAITING: "plain", JobState.FAILED: "bad"}


def render(panel: WorkPanel, now: datetime) -> None:
    """Draws the jobs."""
    import streamlit as st

    st.html(block(tag("h2", "Jobs"), tag("p", _summary(panel), css="quiet"), _idle(panel)))
    if panel.lines:
        st.html(block(tag("ul", *(_line(line, now) for line in panel.lines), css="log jobs")))


def _summary(panel: WorkPanel) -> str:
    counts = ((panel.running, "running"), (panel.waiting, "waiting"), (panel.failed, "failed"))
    words = [f"{count:,} {word}" for count, word in counts if count]
    return " · ".join([*(words or ["nothing waits"]), f"{numbers.count(panel.workers, 'worker')} at work"])


def _idle(panel: WorkPanel) -> Html:
    if panel.workers or not panel.waiting:
        return Html("")
    todo = " An operator starts one with ndl up or ndl worker."
    return banner("warn", "!", tag("strong", "Jobs wait and nobody is at work."), todo)


def _line(line: WorkLine, now: datetime) -> Html:
    state = pill(line.words.partition(":")[0], _TONES.get(line.state, "plain"))
    doing = line.words.partition(": ")[2]
    told = [tag("span", line.what.capitalize()), " ", tag("strong", line.subject)]
    told += [" ", quiet("· ", numbers.ago(line.since, now))]
    if doing:
        told += [" ", quiet("· ", doing)]
    if line.share is not None:
        fill = tag("div", style=f"width:{line.share * 100:.1f}%")
        bar = tag("div", fill, css="bar", aria_hidden="true")
        told.append(tag("div", bar, tag("span", f"{line.share:.0%}", css="nowrap"), css="share"))
    if line.note:
        told += [Html("<br>"), quiet(line.note)]
    return tag("li", tag("span", state), tag("div", join(told)))
