"""A dead worker is noticed, a living one is left alone, and no clock is believed."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jobs import presence
from sandbox.jobs.presence import (
    SILENT_SECONDS,
    Presence,
    Watch,
    is_alive,
    is_gone,
    process_mark,
    this_machine,
)
from sandbox.records import Worker
from sandbox.storage import Store

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def worker(beat=0, name="w", machine="another", process="1:1", ended=False):
    return Worker(name, name, machine, process, beat, ended, NOON, NOON)


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/ndl.db")
    yield store
    store.close()


def test_a_worker_of_another_machine_is_dead_when_its_beat_has_stood_still_for_long_enough():
    watch = Watch()
    assert [bool(watch.dead([worker()], now=now)) for now in (0, 2, 4, 6, 7.9)] == [False] * 5
    assert watch.dead([worker()], now=8) == [worker()]


def test_a_worker_that_beats_is_never_dead():
    watch = Watch()
    assert not any(watch.dead([worker(beat=now // 4)], now=now) for now in range(0, 100, 2))


def test_while_nobody_could_look_nobody_dies():
    watch = Watch()
    watch.dead([worker()], now=0)
    assert watch.dead([worker()], now=60) == []  # the database was away for a minute
    assert watch.dead([worker()], now=63) == []
    assert [w.id for now in (65, 67, 69) for w in watch.dead([worker()], now=now)] == ["w"]


@given(st.lists(st.tuples(st.floats(0.1, 12), st.booleans()), max_size=40))
def test_whoever_beat_within_the_time_that_others_looked_is_not_dead(looks):
    """Whatever the rhythm of the looks: dead only after SILENT_SECONDS of looking at a beat that stood still."""
    watch, now, beat, still, looking = Watch(), 0.0, 0, 0.0, True
    watch.dead([worker()], now=now)
    for pause, moved in looks:
        now += pause
        if pause > SILENT_SECONDS / 2:
            still = -pause
        still = 0.0 if moved else max(still + pause, 0.0)
        beat += moved
        assert (
            bool(watch.dead([worker(beat=beat)], now=now)) == (still >= SILENT_SECONDS)
            or abs(still - SILENT_SECONDS) < 1e-6
        )
    assert looking


def test_a_process_of_this_machine_that_is_gone_is_dead_at_once():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = worker(machine=this_machine(), process=process_mark(child.pid))
    assert not is_gone(here)
    child.kill()
    while not is_gone(here):  # a zombie is dead, before anybody asks how it ended
        pass
    child.communicate()
    assert is_gone(here)


def test_another_process_with_the_same_number_is_not_taken_for_it():
    assert is_gone(worker(machine=this_machine(), process=f"{os.getpid()}:1"))
    assert not is_gone(worker(machine="another", process=f"{os.getpid()}:1"))
    assert is_gone(worker(machine="another", ended=True))


def test_a_presence_beats_and_leaves_nothing(store, monkeypatch):
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.02)
    with Presence(store) as mine:
        first = store.all(Worker)[0]
        while store.all(Worker)[0].beat < first.beat + 2:
            pass
        assert is_alive(store, mine.id)
    assert store.all(Worker) == []
    assert not is_alive(store, mine.id)


def test_a_worker_of_another_machine_that_is_silent_is_waited_for_and_then_dead(store, monkeypatch):
    import sqlalchemy as sa

    from sandbox.storage import tables

    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(presence, "SILENT_SECONDS", 0.2)
    with store.transaction() as tx:
        tx.connection.execute(sa.insert(tables.OF_RECORD[Worker]).values(**vars(worker())))
    assert not is_alive(store, "w")


def test_whoever_was_taken_for_dead_is_told_to_stop(store, monkeypatch):
    import sqlalchemy as sa

    from sandbox.jobs import claims
    from sandbox.jobs.presence import Stopped
    from sandbox.storage import tables

    with Presence(store) as mine:
        claims.ask(store, [("k|1", "k", {})], "ada")
        hand = claims.take(mine, "k|1", 1)
        mine.beat()
        hand.progress(1, 2)
        with store.transaction() as tx:
            claims.bury(tx, mine.id, {})
        mine.beat()
        assert mine.lost.is_set()
        with pytest.raises(Stopped):
            hand.progress(2, 2)
        with store.transaction() as tx:
            assert tx.connection.scalar(sa.select(tables.OF_RECORD[Worker].c.id)) is None
