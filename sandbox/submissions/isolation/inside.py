"""What is done inside the walls, by our own code, before a developer's first line runs?

`start` calls `put_up`; the program that it then runs calls `seal` once its own imports are done.
After `seal` nothing can be loosened: the kernel keeps both filters and the Landlock rules for ever.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from pathlib import Path

_SECCOMP = {"x86_64": 317, "aarch64": 277, "ppc64le": 358, "s390x": 348, "riscv64": 277}
_SET_FILTER, _ALL_THREADS = 1, 1
_NO_NEW_PRIVILEGES = 38
_inner = b""
_sealed = False


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def put_up(inner: bytes, read: Sequence[Path], write: Sequence[Path]) -> None:
    """Landlock now, and the second filter kept for `seal`. Raises OSError where the kernel refuses."""
    from sandbox.submissions.isolation import landlock_rules

    keep(inner)
    landlock_rules.restrict(read=read, write=write)


def keep(inner: bytes) -> None:
    """The filter that `seal` will put up."""
    global _inner
    _inner = inner


def seal() -> None:
    """From here on no exec, no new process and no new privilege, in every thread of this process.

    Call it after everything heavy is imported and before the first line of a developer. Raises OSError
    when the kernel refuses, also when there is no wall around this process: then run nothing. A wall may
    have sealed already.
    """
    if not _inner:
        raise OSError("there is no wall around this process: developer code must not run here")
    global _sealed
    if not _sealed:
        load(_inner)
    _sealed = True


def load(filter_program: bytes) -> None:
    """Puts a seccomp program (from `seccomp`) on every thread of this process. Raises OSError."""
    steps = ctypes.create_string_buffer(filter_program, len(filter_program))
    program = _Program(len(filter_program) // 8, ctypes.cast(steps, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs refused")
    number = _SECCOMP.get(platform.machine())
    if number is None:
        raise OSError(f"no seccomp call known for the processor {platform.machine()}")
    arguments = (ctypes.c_ulong(_SET_FILTER), ctypes.c_ulong(_ALL_THREADS), ctypes.byref(program))
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result:  # positive: the thread that could not take it
        raise OSError(ctypes.get_errno(), f"seccomp filter refused ({os.strerror(ctypes.get_errno())})")
