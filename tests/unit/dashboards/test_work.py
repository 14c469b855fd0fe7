"""An overseer sees what runs and how far it is, what waits, and what failed; and that nobody is at work."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from dashboards.panels import WorkLine, WorkPanel
from dashboards.work import work
from sandbox.jobs import claims
from sandbox.jobs.claims import Outcome
from sandbox.jobs.presence import Presence
from sandbox.lifecycle import JobState

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
RUNNING = WorkLine("training", "falls 3", JobState.RUNNING, "running: step", 0.25, NOW - timedelta(minutes=5))
FAILED = WorkLine("evaluation", HOSTILE, JobState.FAILED, "failed", None, NOW, f"it crashed {HOSTILE}")


def drawn(panel):
    script = """
import streamlit as st
from dashboards.live.screens.work import render
render(st.session_state["panel"], st.session_state["now"])
"""
    app = AppTest.from_string(script, default_timeout=20)
    app.session_state["panel"], app.session_state["now"] = panel, NOW
    app.run()
    assert not app.exception
    return "\n".join(e.proto.body for e in app.get("html"))


def test_the_jobs_are_drawn_with_their_progress_and_every_word_escaped():
    html = drawn(WorkPanel((RUNNING, FAILED), 1, 12, 1, 2))
    for words in ("1 running · 12 waiting · 1 failed · 2 workers at work", "Training", "falls 3", "width:25.0%",
                  "25%", "step", "5 minutes ago"):  # fmt: skip
        assert words in html
    assert HOSTILE not in html
    assert "nobody is at work" not in html


@pytest.mark.parametrize(("waiting", "workers", "said"), [(1, 0, True), (0, 0, False), (1, 1, False)])
def test_it_says_when_jobs_wait_and_nobody_is_at_work(waiting, workers, said):
    assert ("nobody is at work" in drawn(WorkPanel((), 0, waiting, 0, workers))) is said


def test_the_panel_holds_what_the_store_knows(empty_store):
    with Presence(empty_store, "host:1") as worker:
        claims.ask(
            empty_store,
            [(f"k|{n}", "evaluation", {"model": f"m{n}/1", "wave": "w"}) for n in range(6)],
            "ada",
        )
        claims.end(worker, claims.take(worker, "k|0", 1), Outcome(JobState.FAILED, "no such file"))
        hand = claims.take(worker, "k|1", 1)
        hand.progress(1, 4, "counting")
        worker.beat()
        panel = work(empty_store)
    assert (panel.running, panel.waiting, panel.failed, panel.workers) == (1, 4, 1, 1)
    shown = [(line.state, line.subject, line.share) for line in panel.lines]
    assert shown[0] == (JobState.RUNNING, "m1/1 on w", 0.25)
    assert shown[-1] == (JobState.FAILED, "m0/1 on w", None)
    assert len(shown) == 5  # three of those that wait
    gone = work(empty_store)
    assert (gone.running, gone.waiting, gone.workers) == (0, 5, 0)
    assert replace(panel, lines=()) != replace(gone, lines=())
