"""Which bytes become an admitted graph? Those that a process of their own parsed, verified and tried.

That process has no data, a fixed share of the machine, no way to start another or to open a connection,
and as root's child no rights of root's; what it says is read to a limit and strictly. If it crashes,
hangs or says anything odd, the graph is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, BinaryIO

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, Problem, Unfit
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.reading import SUBJECT, strict_json
from sandbox.submissions.graph.summary import MAX_BYTES, Summary
from sandbox.submissions.isolation import inside, pipes, seccomp
from sandbox.submissions.isolation import limits as kernel
from sandbox.submissions.isolation.backend import Limits
from sandbox.submissions.isolation.escaping import escaped

_READY = b"ready"
_NOBODY = 65_534
_MAX_PROBLEMS, _MAX_WORDS = 20, 800
_TORCH_MB = 2_000  # torch maps well over a gigabyte that it never touches
_KEPT = 64
_DEFAULTS = Limits()
_accepted: OrderedDict[tuple[str, str], Checked] = OrderedDict()


@dataclass(frozen=True)
class Checked:
    """A graph that may meet records: the sha256 of its bytes, and what is in it."""

    digest: str
    summary: Summary


def check(data: bytes, expected: Inputs, limits: Limits = _DEFAULTS) -> Checked:
    """Has the graph in these bytes checked for records of `expected`; about 5 s, kept for this process.

    Of `limits`, processor time, wall time and memory hold here. Raises Invalid with every problem for a
    graph that is refused, Unfit when the checking process cannot be started on this machine.
    """
    digest = hashlib.sha256(data).hexdigest()
    request = json.dumps(expected.to_json(), sort_keys=True)
    key = (digest, request)
    if key not in _accepted:
        _accepted[key] = Checked(digest, _ask(data, request, limits))
        while len(_accepted) > _KEPT:
            _accepted.popitem(last=False)
    return _accepted[key]


def _ask(data: bytes, request: str, limits: Limits) -> Summary:
    """The other process's verdict. Its input is a file without a name, so it cannot keep us waiting."""
    with tempfile.TemporaryFile() as file:
        file.write(request.encode() + b"\n" + data)
        file.seek(0)
        answer = _run(file, limits)
    ended = f"the process that checks it was ended ({_how(answer.code, limits, answer.timed_out)})"
    if answer.ready != _READY:
        raise Unfit(
            f"The process that checks record graphs does not start here ({ended}).\n"
            "Install NDL Sandbox into the Python that runs it; isolation.memory_mb must allow for torch."
        )
    if answer.timed_out or answer.code != 0:
        raise Invalid(SUBJECT, [Problem("graph", ended, "Make the model smaller, or report this.")])
    return _verdict(answer.said)


@dataclass(frozen=True)
class _Answer:
    code: int
    timed_out: bool
    ready: bytes
    said: bytes


def _run(request: BinaryIO, limits: Limits) -> _Answer:
    (said, say), (log, complain), (ready, report) = os.pipe(), os.pipe(), os.pipe()
    deadline = time.monotonic() + limits.wall_seconds
    process = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-B",
            "-m",
            __name__,
            *map(str, (limits.cpu_seconds, limits.memory_mb, report)),
        ],
        stdin=request,
        stdout=say,
        stderr=complain,
        pass_fds=[report],
        cwd="/",
        env={"OMP_NUM_THREADS": "1", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        for descriptor in (say, complain, report):
            os.close(descriptor)
        collected = pipes.collect(
            said, log, ready, artifact_bytes=MAX_BYTES, log_bytes=0, report_bytes=len(_READY),
            deadline=deadline, stop=process.kill,
        )  # fmt: skip
        process.wait(max(1.0, deadline - time.monotonic()))
        timed_out = False
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        process.kill()
        process.wait()
    return _Answer(process.returncode, timed_out or collected.timed_out, collected.report, collected.artifact)


def _how(code: int, limits: Limits, timed_out: bool) -> str:
    if timed_out:
        return f"it took longer than {limits.wall_seconds} seconds, isolation.wall_seconds"
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return (
            f"it used up its {limits.cpu_seconds} seconds of processor time, isolation.cpu_seconds, or memory"
        )
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _verdict(said: bytes) -> Summary:
    """The summary in what the process said; raises Invalid with its problems, or for anything odd."""
    answer = strict_json(said, SUBJECT)
    match answer:
        case {"summary": dict() as summary} if len(answer) == 1:
            return Summary.from_json(summary)
        case {"problems": list() as problems} if len(answer) == 1 and 0 < len(problems) <= _MAX_PROBLEMS:
            raise Invalid(SUBJECT, [Problem(*map(_words, _parts(p))) for p in problems])
    raise _odd()


def _parts(problem: Any) -> list[Any]:
    if not isinstance(problem, list) or len(problem) != 3:
        raise _odd()
    return problem


def _words(text: Any) -> str:
    if not isinstance(text, str) or len(text) > _MAX_WORDS:
        raise _odd()
    return escaped(text)


def _odd() -> Invalid:
    return Invalid(
        SUBJECT, [Problem("graph", "the process that checks it gave no clear answer", "Report this.")]
    )


def _main(cpu_seconds: int, memory_mb: int, report: int) -> None:
    """The checking process: limits first, then our own imports, then no rights, and only then the graph."""
    kernel.put_up(
        {"CORE": 0, "NOFILE": 128, "MEMLOCK": 0, "MSGQUEUE": 0, "CPU": cpu_seconds}
        | {"AS": (memory_mb + _TORCH_MB) * kernel.MB}
    )
    from sandbox.submissions.graph import dry_run, verify, warm_up

    warm_up.warm_up()
    _give_up_rights()
    os.write(report, _READY)
    os.close(report)
    request, _, data = sys.stdin.buffer.read().partition(b"\n")
    answer: dict[str, Any]
    try:
        graph = RecordGraph.from_bytes(data)
        summary = verify.verify(graph, Inputs.from_json(json.loads(request)))
        dry_run.dry_run(graph)
        answer = {"summary": summary.to_json()}
    except Invalid as error:
        problems = error.problems[:_MAX_PROBLEMS]
        answer = {
            "problems": [[p.where[:_MAX_WORDS], p.what[:_MAX_WORDS], p.todo[:_MAX_WORDS]] for p in problems]
        }
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def _give_up_rights() -> None:
    """No file written, no rights of root's, no exec, no process, no socket: from here on and for ever."""
    rules = seccomp.inner()
    kernel.put_up({"FSIZE": 0})
    if os.getuid() == 0 and _nobody_exists():
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    inside.load(rules)


def _nobody_exists() -> bool:
    """Whether there is another user to become: the root of a small user namespace (a container's) has none."""
    with open("/proc/self/uid_map") as ranges:
        spans = [tuple(map(int, line.split())) for line in ranges]
    return any(first <= _NOBODY < first + count for first, _, count in spans)


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
