"""A job has one holder, ends once, and is asked for once, however often it is asked for."""

from contextvars import Context
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.errors import Refused
from sandbox.jobs import claims
from sandbox.jobs.claims import DONE, Outcome
from sandbox.jobs.kinds import Kind, Later
from sandbox.jobs.presence import Presence, Stopped
from sandbox.lifecycle import JobState
from sandbox.records import Job
from sandbox.roles import Person, Role
from sandbox.storage import Store

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPERATOR = Person("otto", frozenset({Role.OPERATOR}))
KIND = Kind("k", "evaluations", "evaluate", lambda a: "1", lambda _box: [], lambda *_: None, most_deaths=2)


class Clock:
    now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, clock):
    sqlite = request.param == "sqlite"
    url = request.getfixturevalue("ready_url") if sqlite else request.getfixturevalue("postgres").ready()
    store = Store(url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def worker(store):
    with Presence(store) as presence:
        yield presence


def job(store, key="k|1"):
    return store.get(Job, key)


def ask(store, *keys):
    return claims.ask(store, [(key, "k", {"n": key}) for key in keys], "ada")


def test_asking_twice_asks_once(store):
    assert (ask(store, "k|1", "k|2", "k|1"), ask(store, "k|1", "k|2")) == (2, 0)
    assert [(j.key, j.state, j.attempt) for j in store.all(Job)] == [
        ("k|1", JobState.WAITING, 1), ("k|2", JobState.WAITING, 1)
    ]  # fmt: skip


def test_only_one_takes_a_job_and_only_its_newest_attempt(store, worker):
    ask(store, "k|1")
    assert claims.take(worker, "k|1", 2) is None
    assert claims.take(worker, "k|1", 1) is not None
    assert claims.take(worker, "k|1", 1) is None
    assert claims.take(worker, "gone|1", 1) is None


def test_a_job_that_is_done_is_asked_for_anew_only_when_it_is_due_again(store, worker):
    ask(store, "k|1")
    claims.end(worker, claims.take(worker, "k|1", 1), DONE)
    assert job(store).state is JobState.DONE
    assert claims.take(worker, "k|1", 1) is None
    assert ask(store, "k|1") == 1
    assert (job(store).state, job(store).attempt) == (JobState.WAITING, 2)


def test_what_failed_or_was_cancelled_waits_for_a_person(store, worker):
    ask(store, "k|1", "k|2")
    claims.end(worker, claims.take(worker, "k|1", 1), Outcome(JobState.FAILED, "no"))
    claims.cancel(store, "k|2", OPERATOR, "not now")
    assert ask(store, "k|1", "k|2") == 0
    assert claims.waiting(store, 9) == []
    for key in ("k|1", "k|2"):
        claims.retry(store, key, OPERATOR)
    assert [(j.key, j.attempt, j.note) for j in claims.waiting(store, 9)] == [("k|1", 2, ""), ("k|2", 2, "")]
    assert [(line.action, line.by, line.reason) for line in store.audit_lines()] == [
        ("job.cancel", "otto", "not now"), ("job.retry", "otto", ""), ("job.retry", "otto", "")
    ]  # fmt: skip


def test_trouble_with_the_machine_is_tried_again_later_and_later(store, worker, clock):
    ask(store, "k|1")
    waits = []
    for attempt in range(1, 12):
        hand = claims.take(worker, "k|1", attempt)
        claims.end(worker, hand, claims.outcome_of(Later("the disk is full")))
        assert claims.waiting(store, 9) == []
        waits.append((job(store).again_at - clock.now).total_seconds())
        clock.now = job(store).again_at
        assert [j.note for j in claims.waiting(store, 9)] == ["the disk is full"]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, *[3600] * 4]


def test_a_clock_that_was_wrong_holds_nothing_up(store, worker, clock):
    ask(store, "k|1")
    clock.now = NOON + timedelta(days=400)
    claims.end(worker, claims.take(worker, "k|1", 1), claims.outcome_of(Later("x")))
    clock.now = NOON
    assert [j.key for j in claims.waiting(store, 9)] == ["k|1"]


def test_a_dead_workers_job_waits_again_and_not_for_ever(store, worker):
    ask(store, "k|1")
    for deaths in (1, 2):
        hand = claims.take(worker, "k|1", 1)
        with store.transaction() as tx:
            claims.bury(tx, worker.id, {"k": KIND})
        assert job(store).deaths == deaths
        claims.end(worker, hand, DONE)  # it was not dead after all: too late
    assert job(store).state is JobState.FAILED
    assert "2 workers died" in job(store).note


def test_a_worker_that_leaves_counts_no_death(store, worker):
    ask(store, "k|1")
    claims.take(worker, "k|1", 1)
    with store.transaction() as tx:
        claims.bury(tx, worker.id, {"k": KIND}, died=False)
    assert (job(store).state, job(store).deaths) == (JobState.WAITING, 0)


def test_a_cancelled_job_is_stopped_and_stays_cancelled(store, worker):
    ask(store, "k|1")
    hand = claims.take(worker, "k|1", 1)
    claims.cancel(store, "k|1", OPERATOR)
    worker.beat()
    with pytest.raises(Stopped):
        hand.progress(1, 2)
    claims.end(worker, hand, claims.outcome_of(Stopped()))
    assert job(store).state is JobState.CANCELLED


def test_progress_is_seen_while_it_runs(store, worker):
    ask(store, "k|1")
    hand = claims.take(worker, "k|1", 1)
    hand.progress(3, 8, "counting")
    worker.beat()
    assert (job(store).done, job(store).total, job(store).doing) == (3, 8, "counting")


def test_while_one_process_does_it_by_itself_nobody_else_can(store, worker):
    def elsewhere(presence):
        with claims.holding(presence, "k|1", "k", {}, "bo"):
            pass

    with Presence(store) as other:
        with claims.holding(worker, "k|1", "k", {}, "ada"):
            with pytest.raises(Refused, match="Another process is doing k|1"):
                Context().run(elsewhere, other)
            assert claims.take(other, "k|1", 1) is None
            with claims.alone(store, "k|1", "k", {}, "ada") as inner:  # the same work, deeper down
                assert inner.worker == worker.id
        Context().run(elsewhere, other)
    assert job(store).state is JobState.DONE


def test_what_somebody_did_by_themselves_and_did_not_end_was_never_asked_for(store, worker):
    with pytest.raises(Stopped), claims.holding(worker, "k|1", "k", {}, "ada"):
        raise Stopped
    assert store.all(Job) == []
    with pytest.raises(KeyError), claims.holding(worker, "k|1", "k", {}, "ada"):
        raise KeyError("age 42")
    assert (job(store).state, job(store).note) == (JobState.FAILED, "it crashed (KeyError)")


def test_a_dead_process_s_job_is_free_for_the_next_one_at_once(store, worker):
    ended = Presence(store)
    with ended:
        claims.ask(store, [("k|1", "k", {})], "ada")
        claims.take(ended, "k|1", 1)
    assert job(store).worker == ended.id
    with claims.holding(worker, "k|1", "k", {}, "ada"):
        assert job(store).worker == worker.id


def test_people_may_only_do_what_their_roles_allow(store, worker):
    ask(store, "k|1")
    developer = Person("ada", frozenset({Role.DEVELOPER}))
    for verb in (claims.retry, claims.cancel):
        with pytest.raises(Refused, match="Only an operator or overseer"):
            verb(store, "k|1", developer)
    claims.end(worker, claims.take(worker, "k|1", 1), DONE)
    with pytest.raises(Refused, match="nothing to cancel"):
        claims.cancel(store, "k|1", OPERATOR)
    with pytest.raises(Refused, match="nothing to try again"):
        claims.retry(store, "k|1", OPERATOR)


def test_what_was_done_a_month_ago_is_forgotten_and_what_failed_is_not(store, worker, clock):
    ask(store, "k|1", "k|2")
    claims.end(worker, claims.take(worker, "k|1", 1), DONE)
    claims.end(worker, claims.take(worker, "k|2", 1), Outcome(JobState.FAILED))
    clock.now = NOON + timedelta(days=31)
    claims.forget(store)
    assert [j.key for j in store.all(Job)] == ["k|2"]
