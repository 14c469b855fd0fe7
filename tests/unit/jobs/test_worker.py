"""A worker does what it is given once, says how it went, and quotes nothing."""

import threading
from dataclasses import replace

import pytest

from sandbox.api import Sandbox
from sandbox.jobs import claims, worker
from sandbox.jobs.kinds import Kind, Later
from sandbox.jobs.presence import Presence
from sandbox.lifecycle import JobState
from sandbox.records import Job
from sandbox.settings import load


class Steps:
    """Steps as the engine keeps them: one that has ended is not done again."""

    def __init__(self):
        self.kept, self.shared = {}, []

    def once(self, name, step):
        if name not in self.kept:
            self.kept[name] = step()
        return self.kept[name]

    def shards(self, key, shards):
        self.shared += shards


@pytest.fixture
def box(tmp_path):
    box = Sandbox(load(environ={"NDL_STORAGE__FOLDER": str(tmp_path)}), "otto")
    yield box
    box.store.close()


@pytest.fixture
def ran():
    return []


@pytest.fixture
def at_work(box, ran):
    """A worker of one kind, and a way to have it perform a job of that kind."""
    kind = Kind(
        "k", "evaluations", "evaluate", lambda a: "1", lambda _box: [], lambda _b, a, _h: ran.append(a)
    )
    with Presence(box.store) as presence:

        def perform(steps=None, attempt=1, **changes):
            made = worker.WorkerAtWork(box, None, presence, {"k": replace(kind, **changes)})
            return made.perform("k|1", attempt, steps or Steps())

        claims.ask(box.store, [("k|1", "k", {"n": 7})], "ada")
        yield perform


def job(box):
    return box.store.get(Job, "k|1")


def test_a_job_is_done_with_its_arguments_and_not_again(box, at_work, ran):
    assert (at_work(), at_work()) == ("done", "elsewhere")
    assert ran == [{"n": 7}]
    assert job(box).state is JobState.DONE


def test_a_step_that_had_ended_before_a_death_is_not_done_again(box, at_work, ran):
    steps = Steps()
    at_work(steps)
    claims.ask(box.store, [("k|1", "k", {"n": 7})], "ada")
    assert at_work(steps, attempt=2) == "done"
    assert ran == [{"n": 7}]


def test_a_crash_fails_the_job_and_quotes_nothing(box, at_work):
    def crash(*_):
        raise ValueError("record 17 has age 42")

    assert at_work(run=crash) == "failed"
    assert job(box).note == "it crashed (ValueError)"


def test_trouble_with_the_machine_is_tried_again(box, at_work):
    def trouble(*_):
        raise Later("the disk is full")

    assert at_work(run=trouble) == "waiting"
    assert (job(box).state, job(box).attempt, job(box).note) == (JobState.WAITING, 2, "the disk is full")


def test_shards_are_done_first_where_there_are_several_and_a_failed_plan_is_no_plan(box, at_work, ran):
    def crash(*_):
        raise OSError

    few, many, none = Steps(), Steps(), Steps()
    at_work(few, plan=lambda *_: [{"shard": 1}])
    assert few.shared == []
    for steps, attempt, plan in ((many, 2, lambda *_: [{"shard": 1}, {"shard": 2}]), (none, 3, crash)):
        claims.ask(box.store, [("k|1", "k", {"n": 7})], "ada")
        at_work(steps, attempt=attempt, plan=plan)
    assert (len(many.shared), none.shared, len(ran)) == (2, [], 3)


def test_a_job_that_was_handed_back_before_its_dead_holder_was_buried_is_waited_for(
    box, at_work, ran, monkeypatch
):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.02)
    with Presence(box.store) as dead:
        claims.take(dead, "k|1", 1)
    said = []
    thread = threading.Thread(target=lambda: said.append(at_work()))
    thread.start()
    thread.join(0.3)
    assert (said, ran) == ([], [])
    with box.store.transaction() as tx:
        claims.bury(tx, dead.id, {})
    thread.join(20)
    assert (said, ran) == (["done"], [{"n": 7}])


def test_a_job_that_a_living_process_has_is_not_waited_for(box, at_work, ran):
    with Presence(box.store) as other:
        claims.take(other, "k|1", 1)
        assert at_work() == "elsewhere"
    assert ran == []


def test_what_nobody_here_can_do_is_left_to_others(box, at_work):
    with Presence(box.store) as presence:
        assert worker.WorkerAtWork(box, None, presence, {}).perform("k|1", 1, Steps()) == "unknown here"
    assert job(box).state is JobState.WAITING
