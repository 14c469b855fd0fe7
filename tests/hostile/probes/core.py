"""What is a probe? One attempt to get past the wall, made from inside, and an honest word on how it went.

A probe returns when it got through (`open`). It is `closed` only by an error number that it expects, or by
raising `Closed`; any other error is `broken`, so a typing error never passes for a wall. Only the standard
library is used: these files are handed in as a developer's `model.py` (see `bundle.py`).
"""

import ctypes
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS})
"""How a wall says no: a filter, a rule, a call that is not there, a place that is not written to."""

PLACE: dict[str, Any] = {}
"""What lies outside, to aim at: paths, ports and process ids that the test made; filled in by the bundle."""

GOT_THROUGH = 77
"""A program that a probe manages to execute ends with this code."""

_SECONDS = 10.0


class Closed(Exception):
    """The wall held, in a way that no error number tells."""


@dataclass(frozen=True)
class Probe:
    name: str
    family: str
    attempt: Callable[[], object]
    refusals: frozenset[int]
    alone: bool
    dies_of: tuple[int, ...]


PROBES: dict[str, Probe] = {}


def probe(*also: int, alone: bool = False, dies_of: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Registers the function. `also`: error numbers besides `REFUSED` that mean closed, here; `alone`: it
    may end the program, so it gets a run of its own; `dies_of`: signals that mean closed."""

    def register(attempt: Callable[[], object]) -> Callable[[], object]:
        family = attempt.__module__.rpartition(".")[2]
        add(attempt.__name__, family, attempt, *also, alone=alone, dies_of=dies_of)
        return attempt

    return register


def add(
    name: str,
    family: str,
    attempt: Callable[[], object],
    *also: int,
    alone: bool = False,
    dies_of: tuple[int, ...] = (),
) -> None:
    """Registers one line of a table of probes."""
    if name in PROBES:
        raise ValueError(f"two probes are called {name}")
    PROBES[name] = Probe(name, family, attempt, REFUSED | set(also), alone, dies_of)


libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: Any) -> int:
    """A raw system call; raises OSError. Whole numbers go as 64 bit, bytes and buffers by address."""
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def reach(number: int, *arguments: Any) -> None:
    """Hands the kernel a call with arguments it would refuse as nonsense: got through if it looked at them."""
    try:
        call(number, *arguments)
    except OSError as error:
        if error.errno in REFUSED:
            raise


def scratch(name: str) -> str:
    """A path in the folder that developers' code may write to."""
    return os.path.join(os.environ.get("TMPDIR") or "/tmp", f"probe-{os.getpid()}-{name}")


def machine_code(code: bytes) -> int:
    """Runs x86-64 machine code and returns what it leaves in rax. Raises OSError where memory may not be both
    written and executed."""
    import mmap

    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    return int(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())


def run(names: list[str]) -> None:
    """Makes every attempt and writes a line for each: `probe NAME VERDICT NOTE`.

    Where processes can be started, each attempt gets its own; behind a wall all share one.
    """
    for name in names:
        _in_a_child(PROBES[name]) or _say(PROBES[name], *_attempt(PROBES[name]))


def _attempt(probe: Probe) -> tuple[str, str]:
    try:
        found = probe.attempt()
    except Closed as reason:
        return "closed", str(reason)
    except OSError as error:
        if error.errno in probe.refusals:
            return "closed", errno.errorcode[error.errno]
        return "broken", f"{errno.errorcode.get(error.errno or 0)}: {error}"
    except BaseException:
        return "broken", traceback.format_exc(limit=-2)
    return "open", "" if found is None else str(found)


def _in_a_child(probe: Probe) -> bool:
    if probe.alone:
        return False
    try:
        child = os.fork()
    except OSError:
        return False
    if not child:
        _say(probe, *_attempt(probe))
        os._exit(0)
    until = time.monotonic() + _SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            _say(probe, "broken", "it took too long")
            return True
        time.sleep(0.002)
    if os.WIFEXITED(ended[1]) and os.WEXITSTATUS(ended[1]) == GOT_THROUGH:
        _say(probe, "open", "the program ran")
    elif os.WIFEXITED(ended[1]) and os.WEXITSTATUS(ended[1]):
        _say(probe, "broken", f"it ended with {os.WEXITSTATUS(ended[1])}")
    elif os.WIFSIGNALED(ended[1]):
        number = os.WTERMSIG(ended[1])
        _say(probe, "closed" if number in probe.dies_of else "broken", f"killed by signal {number}")
    return True


def _say(probe: Probe, verdict: str, note: str) -> None:
    plain = " ".join("".join(c if c.isascii() and c.isprintable() else " " for c in note).split())
    sys.stdout.flush()
    os.write(1, f"probe {probe.name} {verdict} {plain[-160:]}\n".encode())
