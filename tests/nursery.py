"""Workers and schedulers to be killed: one process that has imported everything, and forks them when told.

python nursery.py CONFIG.toml    reads lines `worker`, `worker elsewhere`, `scheduler`; answers `PID`
"""

import ctypes
import dataclasses
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

# what a forked child would otherwise import each time
import sandbox.engine
from evaluators import base, harness
from evaluators.harness import evaluate_pair, pairs_due
from evaluators.jobs import KIND as EVALUATION
from evaluators.policy import load_policy
from evaluators.tallies import Tallies
from sandbox.api import Sandbox
from sandbox.jobs import presence
from sandbox.jobs.care import Care
from sandbox.jobs.kinds import Kind
from sandbox.jobs.scheduler import keep_schedule
from sandbox.jobs.worker import work
from sandbox.records import Decision, Event, Measurement
from sandbox.training.jobs import KIND as TRAINING

PACE = float(os.environ.get("NURSERY_PACE", "0.4"))
SHARDS = 3


class SlowScorer:
    """A model by formula, slow enough to be killed in the middle of it."""

    def probabilities(self, features):
        time.sleep(PACE)
        return 1 / (1 + np.exp(-3 * features["numbers"][:, 0])).astype(np.float32)


def positives(context):
    counts = context.tally["scores"].counts
    yield Measurement("positives", float(counts[1].sum()), n=int(counts.sum()))


def middle(context):
    counts = context.tally["scores"].counts.sum(axis=0)
    place = float((counts * np.arange(len(counts))).sum() / counts.sum() + context.rng("jitter").random())
    yield Measurement("middle", place, n=int(counts.sum()))


FAKES = tuple(base.Evaluator(f.__name__, 1, base.KINDS, f) for f in (positives, middle))


def light():
    """Two light evaluators instead of the real ones, and no MLflow."""
    harness.evaluators_for = lambda _kind: FAKES
    harness.mirror = lambda *_: None


def tallies(box):
    return Tallies(box.store, box.settings, load=lambda _settings, _version: SlowScorer())


def evaluate(box, arguments, hand):
    policy, own = load_policy(box.settings.evaluation.policy), tallies(box)
    for pair in pairs_due(box.store, own, only=arguments):
        evaluate_pair(box.store, box.settings, own, policy, pair, "worker", hand.progress)


def due_evaluations(box):
    return [harness.arguments_of(pair) for pair in pairs_due(box.store, tallies(box))]


def part(number, shard):
    return hashlib.sha256(f"{number}/{shard}".encode()).digest()


def add_part(box, arguments):
    time.sleep(PACE)
    with box.store.transaction() as tx:
        tx.put_tally(f"part|{arguments['n']}|{arguments['shard']}", part(arguments["n"], arguments["shard"]))


def sum_parts(box, arguments, hand):
    """A parent's own work: what its shards have left, under a key of its own, once."""
    number = arguments["n"]
    time.sleep(PACE / 2)
    hand.progress(1, 2, "adding")
    with box.store.transaction() as tx:
        parts = [tx.tally(f"part|{number}|{shard}") for shard in range(SHARDS)]
        if None in parts:
            raise RuntimeError("a shard is missing")
        if not tx.all(Decision, id=f"sum-{number}"):
            total = hashlib.sha256(b"".join(parts)).hexdigest()
            made = Decision(f"sum-{number}", "none/1", "sum", "worker", total, tx.clock())
            tx.add(made, Event("worker", "test.sum", made.id))


SUM = Kind(
    name="sum", queue="evaluations", when="evaluate", key=lambda a: str(a["n"]), run=sum_parts, shard=add_part,
    due=lambda box: [{"n": n} for n in range(int(os.environ.get("NURSERY_SUMS", "0")))
                     if not box.store.all(Decision, id=f"sum-{n}")],
    plan=lambda _box, a: [{"n": a["n"], "shard": shard} for shard in range(SHARDS)],
    most_deaths=1000,
)  # fmt: skip
KINDS = {
    "sum": SUM,
    "evaluation": dataclasses.replace(EVALUATION, run=evaluate, due=due_evaluations, most_deaths=1000),
    "training": TRAINING,
}


def slowly(progress):
    """A training's steps, and what is evaluated, last long enough to be killed in the middle."""

    def slow(hand, *how_far):
        time.sleep(0.1)
        progress(hand, *how_far)

    return slow


def main(config):
    if os.environ.get("NURSERY_REAL"):
        import mlflow  # noqa: F401
        import opacus  # noqa: F401

        KINDS["evaluation"] = EVALUATION
        presence.Hand.progress = slowly(presence.Hand.progress)
    else:
        light()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are gone at once
    for line in sys.stdin:
        what = line.split()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            child(config, what)
            os._exit(0)
        print(pid, flush=True)


def child(config, what):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it dies with the nursery
    os.close(0)
    log = os.open(str(Path(config).parent / "nursery.log"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    level = os.environ.get("NURSERY_LOG", "WARNING")
    logging.basicConfig(level=level, format=f"%(asctime)s {os.getpid()} %(message)s", force=True)
    box = Sandbox.open(Path(config), "operator")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if what[0] == "scheduler":
        care = Care(box.store, sandbox.engine.Engine(box.settings), KINDS)
        keep_schedule(box, stop, KINDS, care.look)
        return
    if "elsewhere" in what:
        presence.this_machine = lambda: f"another-{os.getpid()}"
    work(box, stop, kinds=KINDS, left=lambda: os._exit(0))


if __name__ == "__main__":
    main(sys.argv[1])
