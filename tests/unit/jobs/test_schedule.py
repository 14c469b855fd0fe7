"""The schedule only asks; when it asks, how often, and by which clock changes nothing."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from sandbox.api import Sandbox
from sandbox.errors import Invalid
from sandbox.jobs import cron, listing, scheduler
from sandbox.jobs.kinds import Kind
from sandbox.lifecycle import JobState
from sandbox.records import Event, Job, Worker
from sandbox.settings import load
from sandbox.storage import tables

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def kind(due, when="evaluate"):
    return Kind("k", "evaluations", when, lambda a: str(a["n"]), due, lambda *_: None)


@pytest.fixture
def box(tmp_path):
    box = Sandbox(load(environ={"NDL_STORAGE__FOLDER": str(tmp_path), "NDL_SCHEDULE__TRAIN": ""}), "otto")
    yield box
    box.store.close()


def test_ticks_that_come_twice_or_not_at_all_ask_for_the_same(box):
    every = kind(lambda _box: [{"n": n} for n in range(3)])
    assert [scheduler.tick(box, [every]) for _ in range(3)] == [3, 0, 0]
    assert [job.key for job in box.store.all(Job)] == ["k|0", "k|1", "k|2"]


def test_a_kind_without_a_schedule_is_never_asked_for_by_itself(box):
    kinds = {"a": kind(lambda _: [{"n": 1}], when="train"), "b": kind(lambda _: [])}
    assert scheduler.scheduled(box, kinds) == [kinds["b"]]


def test_the_scheduler_looks_at_once_then_as_scheduled_and_asks_nothing_when_nothing_changed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0.001)
    clock, looked, stop = [NOON], [], threading.Event()
    box = Sandbox(load(environ={"NDL_STORAGE__FOLDER": str(tmp_path)}), "otto", clock=lambda: clock[0])

    def due(_box):
        looked.append(clock[0])
        return []

    passed = []

    def passes(_seconds):
        passed.append(1)
        clock[0] += timedelta(seconds=20)
        if len(passed) == 9:  # two quiet minutes lie before
            with box.store.transaction() as tx:
                tx.log(Event("dana", "test", "a wave arrived"))
        if len(passed) == 12:
            clock[0] -= timedelta(days=365)
        return len(passed) == 20

    monkeypatch.setattr(stop, "wait", passes)
    scheduler.keep_schedule(box, stop, {"k": kind(due)})
    assert looked == [NOON, NOON + timedelta(minutes=3)]
    box.store.close()


def test_a_tick_that_fails_is_not_the_last(box, monkeypatch):
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0.0)
    tries = []

    def due(_box):
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the disk is away")
        stop.set()
        return [{"n": 1}]

    stop = threading.Event()
    monkeypatch.setattr(scheduler, "falls_in", lambda *_: True)
    scheduler.keep_schedule(box, stop, {"k": kind(due)})
    assert [job.key for job in box.store.all(Job)] == ["k|1"]


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.integers(0, 10_000))
def test_a_moment_is_found_exactly_when_a_full_quarter_of_an_hour_lies_in_between(start, seconds):
    after = start.replace(tzinfo=UTC)
    until = after + timedelta(seconds=seconds)
    quarters = int(until.timestamp() // 900) - int(after.timestamp() // 900)
    assert cron.falls_in("*/15 * * * *", after, until) == (quarters > 0)


@pytest.mark.parametrize("text", ["every day", "* * * *", "61 * * * *", "* * * * * *", "@daily"])
def test_what_is_no_schedule_is_refused_in_one_sentence(text):
    with pytest.raises(Invalid, match=r"schedule.evaluate: not five fields of cron") as refused:
        load(environ={"NDL_SCHEDULE__EVALUATE": text})
    assert len(refused.value.problems) == 1


def row(state, beat_at=NOON, **more):
    job = Job(
        "k|1", "k", {"n": 1}, state, 1, 0, True, "", "w", 1, 4, "counting", "ada", NOON, started_at=NOON
    )
    return Job(**{**vars(job), **more}), Worker("w", "host", "m", "1:1", 9, False, NOON, beat_at)


@pytest.mark.parametrize(
    ("age", "shown"), [(0, "running: counting"), (30, "running: counting"), (31, "waiting")]
)
def test_no_job_is_shown_as_running_without_a_beat_of_the_last_half_minute(age, shown):
    job, worker = row(JobState.RUNNING)
    (line,) = listing.listed([job], [worker], NOON + timedelta(seconds=age)).lines
    assert line.words == shown
    assert (line.share, line.worker) == ((0.25, "host") if shown != "waiting" else (None, ""))


def test_a_worker_whose_clock_goes_before_is_alive():
    job, worker = row(JobState.RUNNING, beat_at=NOON + timedelta(hours=3))
    assert listing.listed([job], [worker], NOON).lines[0].state is JobState.RUNNING


def test_the_list_begins_with_what_runs_and_keeps_only_the_newest_that_are_done(box):
    jobs = [row(JobState.DONE, key=f"d{n}", ended_at=NOON + timedelta(minutes=n))[0] for n in range(30)]
    jobs += [row(state, key=str(state))[0] for state in (JobState.FAILED, JobState.WAITING, JobState.RUNNING)]
    with box.store.transaction() as tx:
        tx.connection.execute(sa.insert(tables.OF_RECORD[Job]), [vars(job) for job in jobs])
    found = listing.jobs_now(box.store)  # nobody beats, so what says that it runs waits
    assert [line.key for line in found.lines[:4]] == ["running", "waiting", "failed", "d29"]
    assert found.counts == {
        JobState.RUNNING: 0, JobState.WAITING: 2, JobState.FAILED: 1, JobState.CANCELLED: 0, JobState.DONE: 30
    }  # fmt: skip
    assert (len(found.lines), found.workers) == (23, 0)
    assert len(listing.jobs_now(box.store, everything=True).lines) == 33
