"""A dead worker is noticed, a living one is left alone, and no clock is believed."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jobs import presence
from sandbox.jobs.presence import (
    LOOKED_SECONDS,
    PAUSE_SECONDS,
    SILENT_SECONDS,
    Presence,
    Watch,
    is_alive,
    is_gone,
    process_mark,
    this_machine,
)  # fmt: skip
from sandbox.records import Worker
from sandbox.storage import Store

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def worker(beat=0, at=0.0, name="w", machine="another", process="1:1", ended=False):
    return Worker(name, name, machine, process, beat, ended, NOON, NOON + timedelta(seconds=at))


def dead(watch, workers, now, clock=None):
    """Whether the one worker is taken for dead at this second, by the steady clock and the database's."""
    return bool(watch.dead(workers, now, NOON + timedelta(seconds=now if clock is None else clock)))


@pytest.fixture
def store(ready_url):
    store = Store(ready_url)
    yield store
    store.close()


def test_a_worker_of_another_machine_is_dead_when_it_has_been_silent_for_long_enough():
    watch = Watch()
    assert [dead(watch, [worker()], now) for now in (0, 2, 4, 4.9, 5)] == [False] * 4 + [True]


def test_a_worker_of_this_machine_that_is_only_slow_has_longer():
    here = worker(machine=this_machine(), process=process_mark(os.getpid()))
    watch = Watch()
    looks = [dead(watch, [here], now) for now in (0, 4, 8, 12, 16, 19.9, 20)]
    assert looks == [False] * 6 + [True]


def test_an_observer_that_has_just_begun_looks_on_for_a_while_first():
    watch = Watch()
    assert [dead(watch, [worker()], now) for now in (100, 102, 102.9, 103)] == [False] * 3 + [True]


def test_a_worker_that_beats_is_never_dead():
    watch = Watch()
    assert not any(dead(watch, [worker(beat=now // 4, at=now)], now) for now in range(0, 100, 2))


def test_while_nobody_could_look_nobody_dies():
    watch = Watch()
    dead(watch, [worker()], now=0)
    assert [dead(watch, [worker()], now) for now in (60, 62)] == [False, False]  # the database was away
    assert not dead(watch, [worker(beat=1, at=63)], now=64)
    assert dead(Watch(), [worker()], now=60) is False


def test_a_clock_that_is_changed_kills_nobody_who_beats_and_saves_nobody_who_does_not():
    for jump in (86_400, -86_400):
        watch = Watch()
        assert not dead(watch, [worker(beat=1)], now=0)
        assert not dead(watch, [worker(beat=1)], now=2, clock=2 + jump)  # it jumped; the beat is from before
        assert not dead(watch, [worker(beat=2, at=3 + jump)], now=4, clock=4 + jump)
        assert not dead(watch, [worker(beat=2, at=3 + jump)], now=6, clock=6 + jump)
    silent = Watch()
    looks = [dead(silent, [worker(beat=1)], now, clock=now - 86_400) for now in (0, 2, 4)]
    assert looks == [False, False, True]  # put back: its beat is from the future, and does not move


@given(st.lists(st.tuples(st.floats(0.1, 12), st.booleans()), max_size=40))
def test_dead_means_a_beat_that_is_old_and_did_not_move_while_it_was_looked_at(looks):
    watch, now, beat, at, looked = Watch(), 0.0, 0, 0.0, 0.0
    dead(watch, [worker()], now)
    for pause, moved in looks:
        now += pause
        beat, at = (beat + 1, now) if moved else (beat, at)
        looked = 0.0 if moved or pause > PAUSE_SECONDS else looked + pause
        if min(abs(looked - LOOKED_SECONDS), abs(now - at - SILENT_SECONDS)) > 1e-6:
            assert dead(watch, [worker(beat=beat, at=at)], now) == (
                looked >= LOOKED_SECONDS and now - at >= SILENT_SECONDS
            )
        else:
            dead(watch, [worker(beat=beat, at=at)], now)


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


def test_a_beat_that_fails_is_not_the_last(store, monkeypatch, caplog):
    failures = iter([AttributeError("a module half imported"), MemoryError()])

    class Frail(Presence):
        def beat(self):
            for failure in failures:
                raise failure
            super().beat()

    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.02)
    with Frail(store):
        first = store.all(Worker)[0]
        while store.all(Worker)[0].beat < first.beat + 2:
            pass
    assert [record.message for record in caplog.records] == [
        "one beat failed (AttributeError); trying again", "one beat failed (MemoryError); trying again",
    ]  # fmt: skip


def test_a_worker_of_another_machine_that_is_silent_is_waited_for_and_then_dead(store, monkeypatch):
    import sqlalchemy as sa

    from sandbox.storage import tables

    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(presence, "LOOKED_SECONDS", 0.2)
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
