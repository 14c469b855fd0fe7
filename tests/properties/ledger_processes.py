"""Runs the ledger's verbs in processes of their own, several at once, and kills them with -9 where it is told to.

A helper of test_ledger.py. One process imports everything once; for each job it is sent it forks a child, which opens
the database anew, as another machine would. A line of JSON comes in with the URL and the jobs, which are begun
together; a line goes out with what each child said: an id, a refusal, or nothing from one that was killed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys


class Processes:
    """The process that forks, and who speaks to it."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, url, *jobs):
        """Begins these jobs together and returns what each said; None of one that was killed."""
        self._process.stdin.write(json.dumps({"url": url, "jobs": jobs}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _do(store, job):
    from sandbox.privacy import ledger
    from sandbox.roles import Person, Role

    match job["verb"]:
        case "reserve":
            return ledger.reserve(store, "training:p", job["event"], "pupil", "test", "wanda").id
        case "reserve all":
            return list(_until_exhausted(store, job["event"]))
        case "touch":
            return ledger.touch(store, job["id"], "wanda").id
        case "settle":
            return ledger.settle(store, job["id"], job["event"], "wanda").id
        case "release":
            olga = Person("olga", frozenset({Role.OPERATOR}))
            return ledger.release(store, job["id"], "the machine was lost", olga).id


def _until_exhausted(store, event):
    from sandbox.errors import BudgetExhausted
    from sandbox.privacy import ledger

    try:
        while True:
            yield ledger.reserve(store, "training:p", event, "pupil", "race", "wanda").id
    except BudgetExhausted:
        return


def _child(url, job, gate, answers):
    """`dies` is "before" the commit, with everything written, or "after" it, before anybody is told."""
    import sqlalchemy as sa

    from sandbox.errors import Refused
    from sandbox.storage import Store

    store = Store(url)
    if job.get("dies") == "before":

        @sa.event.listens_for(store.engine, "commit")
        def _(connection):
            if connection.get_execution_options().get("ndl_write"):
                _die()

    os.read(gate, 1)  # until the gate is closed at its other end: all begin together
    try:
        said = {"id": _do(store, job)}
    except Refused as error:
        said = {"refused": type(error).__name__}
    if job.get("dies"):
        _die()
    with os.fdopen(answers, "w") as pipe:
        json.dump(said, pipe)
    store.close()


def _begin(url, job, gate):
    """The pipe on which the child will answer, and its id."""
    heard, answers = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.close(gate[1])
            os.close(heard)
            _child(url, job, gate[0], answers)
            code = 0
        finally:
            os._exit(code)
    os.close(answers)
    return heard, child


def _work_out(url, jobs):
    """What each event costs, before the forks, which then remember it."""
    from sandbox.errors import Refused
    from sandbox.privacy import ledger
    from sandbox.storage import Store

    store = Store(url)
    for job in jobs:
        if "event" in job:
            with store.reading() as view, contextlib.suppress(Refused):
                ledger.budget_of(view, "training:p").place(job["event"], ledger.held(view, "training:p"))
    store.close()


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        _work_out(asked["url"], asked["jobs"])
        gate = os.pipe()
        begun = [_begin(asked["url"], job, gate) for job in asked["jobs"]]
        os.close(gate[0])
        os.close(gate[1])
        said = []
        for heard, child in begun:
            with os.fdopen(heard) as pipe:
                text = pipe.read()
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status)
            assert killed or os.WEXITSTATUS(status) == 0
            said.append(None if killed else json.loads(text))
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
