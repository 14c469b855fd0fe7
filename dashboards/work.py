"""What is being done now, and what went wrong? The jobs, answered as a panel."""

from __future__ import annotations

from dashboards.panels import WorkLine, WorkPanel
from sandbox.jobs.listing import JobLine, jobs_now
from sandbox.lifecycle import JobState
from sandbox.storage import Store

_SHOWN = {JobState.RUNNING: 8, JobState.WAITING: 3, JobState.FAILED: 5}


def work(store: Store) -> WorkPanel:
    """Running, failed and waiting jobs; read anew each time, since progress is no change that is audited."""
    jobs = jobs_now(store)
    lines = [
        _line(job)
        for state, most in _SHOWN.items()
        for job in [line for line in jobs.lines if line.state is state][:most]
    ]
    return WorkPanel(
        tuple(lines), jobs.counts[JobState.RUNNING], jobs.counts[JobState.WAITING],
        jobs.counts[JobState.FAILED], jobs.workers,
    )  # fmt: skip


def _line(job: JobLine) -> WorkLine:
    return WorkLine(job.kind, job.subject, job.state, job.words, job.share, job.since, job.note)
