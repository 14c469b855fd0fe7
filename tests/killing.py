"""Kills workers, parents and schedulers at random while they work, and compares what comes out with a quiet run."""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import sqlalchemy as sa

from sandbox import settings
from sandbox.audit import first_broken
from sandbox.engine import Engine
from sandbox.lifecycle import JobState
from sandbox.records import Decision, Evaluation, Job, Worker
from sandbox.storage import Store, tables

_log = logging.getLogger(__name__)
ROOT = Path(__file__).parent.parent
RECOVERED_SECONDS = 15.0
ROLES = ("worker", "worker", "worker", "parent", "parent", "scheduler", "anybody")
"""Whom to kill: whoever does a job, whoever runs a parent of shards, the scheduler, or any worker (it may only
just have begun)."""


@dataclass
class Outcome:
    """What a bout of killing left. `busy` counts the kills that hit whoever was doing a job."""

    kills: dict[str, int] = field(default_factory=dict)
    busy: int = 0
    recoveries: list[float] = field(default_factory=list)
    expected: int = 0
    lost: int = 0
    duplicated: int = 0
    different: int = 0
    broken_chain: bool = False
    left: int = 0
    slowness: float = 1.0

    @property
    def slowest(self):
        return max(self.recoveries, default=0.0)


class Nursery:
    """The process that forks workers and schedulers, and those of them that live."""

    def __init__(self, config, **environment):
        self.living, self.config = {}, Path(config)
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/nursery.py"), str(config)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment,
                 "PYTHONPATH": ":".join(filter(None, [str(ROOT), environment.get("WATCH")]))},
        )  # fmt: skip

    def start(self, what):
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.living[pid] = what
        return pid

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        return self.living.pop(pid)

    def end(self):
        """Ends all as a person would, and waits until they are gone."""
        for pid in self.living:
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in self.living) and time.monotonic() < until:
            time.sleep(0.05)
        left = [pid for pid in self.living if Path(f"/proc/{pid}").exists()]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait(10)
        return left


def write_config(folder, database="", train=False):
    """Settings under which everything that is due is asked for at once, trainings too if wanted."""
    path = Path(folder) / "ndl.toml"
    path.write_text(
        f'[storage]\nfolder = "{folder}"\ndatabase = "{database}"\n[schedule]\nevaluate = "* * * * *"\n'
        f'train = "{"* * * * *" if train else ""}"\n'
    )
    return path


def bout(store, nursery, *, kills, seed, sums, evaluations, pause=(0.3, 1.5), elsewhere=True, patience=90.0):
    """Two workers and a scheduler work; one of them is killed again and again, and started anew."""
    chance, outcome = random.Random(seed), Outcome(expected=sums + evaluations)
    for what in ("worker", "worker elsewhere" if elsewhere else "worker", "scheduler"):
        nursery.start(what)
    open_recoveries, done, left = {}, False, kills
    engine, slowness = Engine(settings.load(nursery.config)), [1.0]
    until, next_kill, wanted = time.monotonic() + patience, time.monotonic() + 2.0, chance.choice(ROLES)
    while time.monotonic() < until and not (done and not open_recoveries and left == 0):
        time.sleep(0.05)
        now = time.monotonic()
        _watch(store, open_recoveries, outcome, now)
        done = _count(store) >= outcome.expected
        if done:  # nothing is left to interrupt
            left = 0
        if not left or now < next_kill:
            continue
        pid = _victim(store, nursery, chance, wanted)
        if pid is None and now < next_kill + 4.0:
            continue  # until there is one of this role
        role = wanted if pid else "anybody"
        pid = pid or _victim(store, nursery, chance, "anybody")
        slowness.append(_slowness())
        fetched = _fetched_by(store, engine, pid, open_recoveries)
        what = nursery.kill(pid)
        _log.info("killed %s %d", role, pid)
        held = _held(store, pid) if role != "scheduler" else []
        nursery.start(what)
        outcome.busy += bool(held)
        outcome.kills[role] = outcome.kills.get(role, 0) + 1
        now = time.monotonic()
        open_recoveries |= {key: (now, worker) for key, worker in held}
        open_recoveries |= {key: (now, open_recoveries[key][1]) for key in fetched}
        left, next_kill, wanted = left - 1, now + chance.uniform(*pause), chance.choice(ROLES)
    engine.close()
    outcome.slowness = sum(slowness) / len(slowness)
    outcome.recoveries += [time.monotonic() - since for since, _ in open_recoveries.values()]
    return outcome


def verdict(store, outcome, reference):
    """Fills in what was lost, done twice or came out otherwise than in the quiet run."""
    found = results(store)
    outcome.lost = len(set(reference) - set(found)) + max(0, outcome.expected - len(found))
    outcome.different = sum(found[key] != reference[key] for key in set(found) & set(reference))
    said = [line.subject for line in store.audit_lines() if line.action in ("evaluation.finish", "test.sum")]
    outcome.duplicated = len(said) - len(set(said))
    outcome.broken_chain = first_broken(store.audit_lines()) is not None
    return outcome


def results(store):
    """Every result there is, with its numbers, under its key."""
    with store.reading() as view:
        found = {e.id: [e.failure] for e in view.all(Evaluation)}
        for version in {e.model_version for e in view.all(Evaluation)}:
            for evaluation, measurement in view.measurements(version):
                found[evaluation.id].append([evaluation.id, *asdict(measurement).values()])
        found |= {d.id: d.reason for d in view.all(Decision)}
    return found


def quiet_run(store, sums):
    """The same results without workers, engine or kills."""
    from tests import nursery

    class Box:
        pass

    class Hand:
        def progress(self, *_):
            pass

    Box.store, Box.settings = store, settings.Settings()
    nursery.PACE, before = 0.0, nursery.PACE
    try:
        for arguments in nursery.due_evaluations(Box):
            nursery.evaluate(Box, arguments, Hand())
        for n in range(sums):
            for shard in range(nursery.SHARDS):
                nursery.add_part(Box, {"n": n, "shard": shard})
            nursery.sum_parts(Box, {"n": n}, Hand())
    finally:
        nursery.PACE = before
    return results(store)


def populate(store, folder, models, waves, rows=60):
    """A dataset with small waves, and models of a formula."""
    from sandbox.catalogue.card import Card
    from sandbox.lifecycle import Standing
    from sandbox.records import Dataset, Event, ModelVersion
    from tests.conftest import CLINIC, NOON

    event = Event("dana", "test", "clinic")
    card = Card.from_json(CLINIC)
    dataset = Dataset("clinic", "Clinic", "clinic_people", CLINIC, card.digest, "", 0, 0, "", NOON, "dana")
    with store.transaction() as tx:
        tx.add(dataset, event)
    for number in range(waves):
        add_wave(store, folder, number, event, rows)
    with store.transaction() as tx:
        for number in range(models):
            tx.add(
                ModelVersion(f"m{number}/1", f"m{number}", 1, "clinic", "fell", "r", "amara",
                             Standing.CANDIDATE, "m", f"d{number}", NOON),
                event,
            )  # fmt: skip


def add_wave(store, folder, number, event, rows=60):
    """One wave of the clinic, by its number."""
    import hashlib

    import pyarrow.parquet as pq

    from sandbox.lifecycle import WaveState
    from sandbox.records import Wave
    from tests.conftest import NOON, patients

    file = Path(folder) / f"w{number}.parquet"
    pq.write_table(patients(rows, seed=number), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    day = date(2026, 1 + number % 12, 1 + number // 12)
    with store.transaction() as tx:
        tx.add(
            Wave(f"clinic/w{number}", "clinic", f"w{number}", day, pq.read_metadata(file).num_rows, rows, digest,
                 str(file), WaveState.ACCEPTED, {}, NOON, "dana"),
            event,
        )  # fmt: skip


def wait_for(question, seconds=100):
    until = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


def _victim(store, nursery, chance, role):
    """The number of a living process of this role; None while there is none."""
    if role == "scheduler":
        return next(pid for pid, what in nursery.living.items() if what == "scheduler")
    living = [pid for pid, what in nursery.living.items() if what.startswith("worker")]
    if role == "anybody":
        return chance.choice(sorted(living))
    ids = {_id_of(store, pid): pid for pid in living}
    running = [(key, ids[holder]) for key, holder in _running(store) if holder in ids]
    some = sorted({pid for key, pid in running if role == "worker" or key.startswith("sum|")})
    return chance.choice(some) if some else None


def _id_of(store, pid):
    return next((w.id for w in store.all(Worker) if w.process.split(":")[0] == str(pid)), "")


def _running(store):
    return [(job.key, job.worker) for job in store.all(Job, state=JobState.RUNNING)]


def _held(store, pid):
    worker = _id_of(store, pid)
    return [(key, holder) for key, holder in _running(store) if worker and holder == worker]


def _fetched_by(store, engine, pid, waited_for):
    """Jobs that somebody had just gone on with, or fetched to do so: this kill hits them again."""
    worker, jobs = _id_of(store, pid), [job for job in store.all(Job) if job.key in waited_for]
    known = engine.known((job.key, job.attempt) for job in jobs)
    return [key for (key, _), found in known.items() if worker and found.executor == worker]


def _slowness():
    """How many times slower than alone this machine runs us at the moment."""
    wall, cpu = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu < 0.02:
        pass
    return (time.perf_counter() - wall) / 0.02


def _watch(store, open_recoveries, outcome, now):
    """A job is recovered when somebody else has it, or it is over."""
    if not open_recoveries:
        return
    jobs = {job.key: job for job in store.all(Job)}
    for key, (since, dead) in list(open_recoveries.items()):
        job = jobs[key]
        if job.state is JobState.DONE or (job.state is JobState.RUNNING and job.worker != dead):
            outcome.recoveries.append(now - since)
            _log.info("%s recovered after %.1f s", key, now - since)
            del open_recoveries[key]


def _count(store):
    with store.reading() as view:
        evaluations = view.connection.scalar(
            sa.select(sa.func.count()).select_from(tables.OF_RECORD[Evaluation])
        )
        decisions = view.connection.scalar(sa.select(sa.func.count()).select_from(tables.OF_RECORD[Decision]))
    return int(evaluations) + int(decisions)


def open_store(url):
    return Store(url, clock=lambda: datetime.now(UTC))
