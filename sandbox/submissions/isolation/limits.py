"""How much may one run use, as the kernel's per-process limits, and in words when it is too much?

Stops: core dumps on the host's disk, locked memory, message queues, files beyond the scratch space, and
descriptors, address space, processor time and processes without end. They hold for each process; the
cgroup (`cgroups`) holds the whole run. Both are set, so one missing counter is not an open door.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.submissions.isolation.backend import End, Limits

MB = 1_000_000
SECOND_TO_SAY_WHY = 1
_LEAST_ADDRESS_SPACE = 2_000 * MB  # torch maps well over a gigabyte that it never touches
_DESCRIPTORS = 256
_MESSAGE_QUEUES = 12  # RLIMIT_MSGQUEUE, which `resource` does not name


def before(limits: Limits) -> dict[str, int]:
    """Limits that hold from the first program on, by the names of `resource` without `RLIMIT_`."""
    return {
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "CPU": limits.cpu_seconds,
        "FSIZE": limits.scratch_mb * MB,
    }


def within(limits: Limits) -> dict[str, int]:
    """Limits that are set inside, where descriptors and processes of the outside no longer count."""
    return {
        "NOFILE": _DESCRIPTORS,
        "NPROC": limits.processes,
        "AS": max(3 * limits.memory_mb * MB, limits.memory_mb * MB + _LEAST_ADDRESS_SPACE),
    }


def put_up(limits: Mapping[str, int]) -> None:
    """For this process and what it starts. A lower limit that already holds is kept. Raises OSError.

    Processor time gets a second more before the kill, so that it ends by a signal that says why.
    """
    import resource

    for name, value in limits.items():
        number = _MESSAGE_QUEUES if name == "MSGQUEUE" else getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        most = value + SECOND_TO_SAY_WHY if name == "CPU" else value
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (min(value, most), most))


def words(end: End, limits: Limits, exit_code: int = 0) -> str:
    """One sentence on how a run ended; for a limit, what was allowed and which setting says so.

    `exit_code` as a shell gives it: above 128 it names the signal.
    """
    return {
        "finished": "The run finished.",
        "failed": _failure(exit_code),
        "cpu": f"The run used all of its {limits.cpu_seconds} seconds of processor time "
        "(isolation.cpu_seconds) and was ended.",
        "wall": f"The run took longer than {limits.wall_seconds} seconds (isolation.wall_seconds) "
        "and was ended.",
        "memory": f"The run needed more than its {limits.memory_mb} MB of memory (isolation.memory_mb) "
        "and was ended.",
        "processes": f"The run needed more than its {limits.processes} processes and threads "
        "(isolation.processes) and ended.",
        "scratch": f"The run filled its scratch space, {limits.scratch_mb} MB in /tmp "
        "(isolation.scratch_mb) and less in /dev/shm, and ended.",
        "descriptors": f"The run had more than {_DESCRIPTORS} files, pipes and the like open at once, "
        "which no setting changes, and ended.",
        "artifact": f"The run returned more than {limits.artifact_bytes:,} bytes (isolation.artifact_mb) "
        "and was ended.",
    }[end.name.lower()]


def _failure(exit_code: int) -> str:
    if exit_code <= 128:
        return f"The run ended with an error (exit code {exit_code}); its log says more."
    try:
        name = signal.strsignal(exit_code - 128) or str(exit_code - 128)
    except ValueError:
        name = str(exit_code - 128)
    return f"The run was killed from within or by the system (signal {exit_code - 128}: {name})."
