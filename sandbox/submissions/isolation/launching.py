"""How does the service start a run, follow it and hear how it ended? Through `launcher`, over five pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from sandbox.errors import Unfit
from sandbox.submissions.isolation import limits as per_process
from sandbox.submissions.isolation import pipes, staging, start
from sandbox.submissions.isolation.backend import End, Limits, Outcome
from sandbox.submissions.isolation.escaping import escaped
from sandbox.submissions.isolation.launcher import Report, Request

_LAUNCHER = Path(__file__).with_name("launcher.py")
_GRACE_SECONDS = 15.0
_REPORT_BYTES = 16_000
_NEARLY = 0.95
_KILLED = 128 + signal.SIGKILL
_TIME_IS_UP = 128 + signal.SIGXCPU
_NO_MORE_THREADS = "can't start new thread"
_NO_MEMORY = ("std::bad_alloc", "can't allocate memory", "MemoryError")
_BY_CODE = {
    start.OUT_OF_MEMORY: End.MEMORY,
    start.OUT_OF_SCRATCH: End.SCRATCH,
    start.OUT_OF_DESCRIPTORS: End.DESCRIPTORS,
}


@dataclass(frozen=True)
class Ended:
    """What came through the pipes from a run whose wall was up, and the launcher's report."""

    collected: pipes.Collected
    report: Report


def launch(request: Request, limits: Limits, lock: int | None = None) -> Ended:
    """Starts the run and waits for its end; the launcher and what it started are gone afterwards.

    The launcher holds `lock` open too, so that it stays held until all is tidied if this process dies.
    Raises Unfit when a layer could not be put up, which the first bytes on the artifact's pipe tell (see
    `start.UP`); then nothing of the submission has run.
    """
    asked = staging.in_memory(json.dumps(request).encode())
    held, lifeline = os.pipe()
    (report, report_in), (artifact, artifact_in), (log, log_in) = (os.pipe() for _ in range(3))
    given = (asked, held, report_in, artifact_in, log_in)
    try:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_LAUNCHER), *map(str, given)],
            env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(*given, *request["keep"], *([] if lock is None else [lock])), start_new_session=True,
        )  # fmt: skip
    finally:
        for descriptor in given:
            os.close(descriptor)
    with _Lifeline(lifeline) as line:
        collected = pipes.collect(
            artifact, log, report,
            artifact_bytes=len(start.UP) + limits.artifact_bytes, log_bytes=limits.log_bytes,
            report_bytes=_REPORT_BYTES,
            deadline=time.monotonic() + limits.wall_seconds + _GRACE_SECONDS, stop=line.cut,
        )  # fmt: skip
    _reap(launcher)
    if not collected.report:
        raise Unfit("The process that starts runs ended without a word; see the system's log for why.")
    said = cast(Report, json.loads(collected.report))
    if said["trouble"]:
        raise Unfit(f"A wall could not be put up, so nothing was run: {said['trouble']}.")
    if not collected.artifact.startswith(start.UP):
        raise Unfit(f"A wall could not be put up, so nothing was run. {_why(collected, said, limits)}")
    return Ended(replace(collected, artifact=collected.artifact.removeprefix(start.UP)), said)


def outcome(ended: Ended, limits: Limits) -> Outcome:
    """How the run ended, with a log that is safe to show."""
    log = escaped(ended.collected.log)
    end = _end(ended, log, limits)
    return Outcome(
        end=end,
        artifact=b"" if end is End.ARTIFACT else ended.collected.artifact,
        log=log,
        log_cut=ended.collected.log_cut,
        words=per_process.words(end, limits, ended.report["code"]),
        wall_seconds=ended.report["wall_seconds"],
        cpu_seconds=ended.report["cpu_seconds"],
    )


def _end(ended: Ended, log: str, limits: Limits) -> End:
    """The log only decides between words for a failure; whoever wrote it misleads nobody but himself.

    A kill counts as the limit of processor time when nearly all of that was used.
    """
    code, by = ended.report["code"], ended.report["ended_by"]
    if ended.collected.too_large:
        return End.ARTIFACT
    if ended.report["counted"]["oom"]:  # first: whoever waits for a killed child takes too long as well
        return End.MEMORY
    if by in ("cpu", "wall"):
        return End[by.upper()]
    if not code:
        return End.FINISHED if not by else End.FAILED
    used_up = ended.report["cpu_seconds"] >= _NEARLY * limits.cpu_seconds
    if code == _TIME_IS_UP or (code == _KILLED and used_up):
        return End.CPU
    if code in _BY_CODE:
        return _BY_CODE[code]
    if any(words in log for words in _NO_MEMORY):
        return End.MEMORY
    refused = ended.report["counted"]["forks"] or _NO_MORE_THREADS in log
    return End.PROCESSES if refused else End.FAILED


def _why(collected: pipes.Collected, said: Report, limits: Limits) -> str:
    """How the attempt ended and the last line of its log, which only our own programs have written."""
    log = escaped(collected.log)
    last = (log.strip().splitlines() or ["It said nothing."])[-1]
    return f"{per_process.words(_end(Ended(collected, said), log, limits), limits, said['code'])} {last}"


def _reap(launcher: subprocess.Popen[bytes]) -> None:
    try:
        launcher.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()


class _Lifeline:
    """The run ends when this is cut, by us or by the end of this process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> _Lifeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        if self.descriptor >= 0:
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1
