"""What seems to be done by this worker and is done by nobody waits again; what is being done is left alone."""

from datetime import UTC, datetime

import pytest

from sandbox.jobs import care, claims
from sandbox.jobs.presence import Presence
from sandbox.lifecycle import JobState
from sandbox.records import Job
from sandbox.storage import Store


class Engine:
    """An engine that says what this worker has fetched and does not do."""

    def __init__(self):
        self.astray, self.put, self.asked = {}, [], []

    def strays(self, _executor):
        return self.astray

    def put_back(self, workflow, queue):
        self.put.append((workflow, queue))
        self.astray.pop(workflow)

    def known(self, attempts):
        return {}

    def enqueue(self, queue, key, attempt, *, soon=False):
        self.asked.append((key, attempt))


@pytest.fixture
def store(ready_url):
    store = Store(ready_url, clock=lambda: datetime.now(UTC))
    yield store
    store.close()


def test_what_ended_while_the_database_was_away_waits_again_and_what_is_done_is_left_alone(
    store, monkeypatch
):
    monkeypatch.setattr(care, "_MEND_SECONDS", 0.0)
    clock = [100.0]
    monkeypatch.setattr(care.time, "monotonic", lambda: clock[0])
    engine = Engine()
    claims.ask(store, [("k|lost", "k", {}), ("k|held", "k", {})], "ada")
    with Presence(store) as me:
        lost, held = claims.take(me, "k|lost", 1), claims.take(me, "k|held", 1)
        me.let_go(lost)  # it ended, and the database was away
        engine.astray = {"k|lost#1/0": "shards"}
        looking = care.Care(store, engine, {}, me)
        for now in (100.0, 104.9):
            clock[0] = now
            looking.look()
        assert (engine.put, store.get(Job, "k|lost").state) == ([], JobState.RUNNING)
        clock[0] = 105.0
        looking.look()
        assert engine.put == [("k|lost#1/0", "shards")]
        job = store.get(Job, "k|lost")
        assert (job.state, job.attempt, job.worker) == (JobState.WAITING, 1, "")
        assert store.get(Job, "k|held").state is JobState.RUNNING
        claims.end(me, held, claims.DONE)
