"""The process between the service and a wall: puts up what only the outside can, waits, kills, tidies.

Nothing that changes a process for good (groups, mounts, user) ever touches the service: it starts this
script, which forks, prepares the child and executes the wall's own program there. It ends the run when
the time is over, when the processor time of all its processes is used up, when the kernel killed one of
them for the memory of all, when the service asks (by closing the lifeline) or when the service is dead;
it collects every orphan, removes the control group and reports in one line of JSON. If this process
itself is killed, the kernel ends the run with it.

Run as `python -I -S -B launcher.py REQUEST LIFELINE REPORT ARTIFACT LOG`: five descriptors. The request is
JSON with the fields of `Request`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypedDict

sys.path.append(str(Path(__file__).parents[3]))

from sandbox.submissions.isolation import cgroups, limits, processor

ARTIFACT = 3
"""The descriptor at which the program inside finds its artifact pipe."""
_TICK_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0
_NEW_MOUNTS, _BIND_ALL, _PRIVATE = 0x20000, 0x1000 | 0x4000, 0x40000 | 0x4000
_NO_DEVICES_NO_SETUID = 0x2 | 0x4
_PDEATHSIG, _SUBREAPER = 1, 36


class Request(TypedDict):
    """`binds` are [source, name below stage]; `user` is None for an ordinary user, who has no stage."""

    command: list[str]
    environment: dict[str, str]
    keep: list[int]
    groups: list[str]
    processor_file: str
    stage: str
    binds: list[list[str]]
    user: int | None
    limits: dict[str, int]
    cpu_seconds: int
    wall_seconds: float
    service: int


class Report(TypedDict):
    """`ended_by` is "" when the run ended by itself; `code` is a shell's exit code."""

    ended_by: str
    code: int
    wall_seconds: float
    cpu_seconds: float
    counted: dict[str, int]
    trouble: str


def main() -> None:
    asked, lifeline, report, artifact, log = map(int, sys.argv[1:])
    for name in os.listdir("/proc/self/fd"):  # the child says itself what it hands on
        with suppress(OSError):
            os.set_inheritable(int(name), int(name) <= 2)
    with os.fdopen(asked) as file:
        request: Request = json.load(file)
    signal.signal(signal.SIGTERM, lambda *_: None)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    _prctl(_PDEATHSIG, signal.SIGTERM)
    _prctl(_SUBREAPER, 1)
    began = time.monotonic()
    trouble_read, trouble_write = os.pipe()
    child = os.fork()
    if not child:
        _become(request, artifact, log, trouble_write)
    for descriptor in (artifact, log, trouble_write, *request["keep"]):
        os.close(descriptor)
    ended_by = _watch(request, child, began, lifeline, wake)
    said = _tidy(request, child, began, ended_by)
    said["trouble"] = os.read(trouble_read, 4_000).decode(errors="replace")
    os.write(report, json.dumps(said).encode())


def _watch(request: Request, child: int, began: float, lifeline: int, wake: int) -> str:
    """Waits for the end of the child, or for a reason to end it: "cpu", "wall", "memory" or "asked"."""
    if os.getppid() != request["service"]:
        return "asked"
    folders = [Path(folder) for folder in request["groups"]]
    waiting = select.poll()
    ending = os.pidfd_open(child)
    for descriptor in (ending, lifeline, wake):
        waiting.register(descriptor, select.POLLIN)
    while True:
        left = request["wall_seconds"] - (time.monotonic() - began)
        if left <= 0:
            return "wall"
        ready = [descriptor for descriptor, _ in waiting.poll(1_000 * min(left, _TICK_SECONDS))]
        if ending in ready:
            return ""
        if ready:
            return "asked"
        if _processor_seconds(request) > request["cpu_seconds"]:
            return "cpu"
        if cgroups.counters(folders)["oom"]:  # version 1 kills one process and lets the others go on
            return "memory"


def _processor_seconds(request: Request) -> float:
    """Of all processes of the run, by its group where it has one."""
    if request["processor_file"]:
        return cgroups.processor_seconds(request["processor_file"])
    return processor.of_descendants(os.getpid())


def _tidy(request: Request, child: int, began: float, ended_by: str) -> Report:
    """Kills what is left, waits for every process that was the run's, removes its groups."""
    folders = [Path(folder) for folder in request["groups"]]
    if ended_by:
        os.kill(child, signal.SIGKILL)
    cgroups.empty(folders)
    code = _wait_for_all(child)
    times = os.times()
    cpu_seconds = max(
        cgroups.processor_seconds(request["processor_file"]), times.children_user + times.children_system
    )
    counted = cgroups.counters(folders)
    cgroups.remove(folders)
    wall_seconds = time.monotonic() - began
    return Report(
        ended_by=ended_by, code=code, wall_seconds=wall_seconds, cpu_seconds=cpu_seconds, counted=counted,
        trouble="",
    )  # fmt: skip


def _wait_for_all(child: int) -> int:
    """Orphans come to this process; the exit code is the child's. Gives up on immortals after 5 s."""
    code, deadline = 0, time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            found, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if found == child:
            code = os.waitstatus_to_exitcode(status)
        if not found:
            time.sleep(0.002)
    return code if code >= 0 else 128 - code


def _become(request: Request, artifact: int, log: int, trouble: int) -> NoReturn:
    """In the child: puts up the layers in order, then becomes the wall's program. Never returns."""
    step = "start"
    launcher = os.getppid()
    layers: tuple[tuple[str, Callable[[], None]], ...] = (
        ("control group", lambda: _join(request["groups"])),
        ("mounts", lambda: _stage(request)),
        ("limits", lambda: limits.put_up(request["limits"])),
        ("pipes", lambda: _connect(artifact, log, request["keep"])),
        ("user", lambda: _drop(request["user"])),
        ("end with the launcher", lambda: _end_with(launcher)),
    )
    try:
        for name, put_up in layers:
            step = name
            put_up()
        step = request["command"][0]
        os.execve(step, request["command"], request["environment"])
    except BaseException as error:
        os.write(trouble, f"{step}: {error}".encode())
    os._exit(127)


def _join(groups: list[str]) -> None:
    for group in groups:
        Path(group, "cgroup.procs").write_text("0")


def _stage(request: Request) -> None:
    """A mount namespace of its own with the sources bound below `stage`, reachable for any user."""
    stage = request["stage"]
    if not stage:
        return
    _mounted(_libc.unshare(_NEW_MOUNTS), "unshare")
    _mount(None, "/", _PRIVATE)
    sources = [(os.open(source, os.O_PATH), name) for source, name in request["binds"]]
    _mount("tmpfs", stage, _NO_DEVICES_NO_SETUID, "mode=0755,size=64k")
    for source, name in sources:
        place = Path(stage, name)
        if Path(f"/proc/self/fd/{source}").is_dir():
            place.mkdir()
        else:
            place.touch()
        _mount(f"/proc/self/fd/{source}", str(place), _BIND_ALL)


def _connect(artifact: int, log: int, keep: list[int]) -> None:
    """Nothing to read, log at 1 and 2, artifact at 3. `keep` are above 3 (see `staging`)."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    high = [os.dup(descriptor) for descriptor in (nothing, log, artifact)]
    while min(high) <= ARTIFACT:
        high = [os.dup(descriptor) for descriptor in high]
    for source, place in zip((high[0], high[1], high[1], high[2]), range(4), strict=True):
        os.dup2(source, place, inheritable=True)
    for descriptor in keep:
        os.set_inheritable(descriptor, True)


def _drop(user: int | None) -> None:
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.chdir("/")
    os.umask(0o077)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def _end_with(launcher: int) -> None:
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:
        raise ProcessLookupError("the launcher is dead")


_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str | None, target: str, flags: int, options: str = "") -> None:
    kind = b"tmpfs" if source == "tmpfs" else None
    named = source.encode() if source else None
    done = _libc.mount(named, target.encode(), kind, ctypes.c_ulong(flags), options.encode() or None)
    _mounted(done, f"mount {target}")


def _mounted(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _prctl(option: int, value: int) -> Any:
    return _libc.prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
