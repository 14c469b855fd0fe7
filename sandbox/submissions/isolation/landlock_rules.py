"""What may this thread still touch? Landlock, asked of the kernel itself: files, TCP, signals, sockets.

PyPI's `landlock` knows the rules about files only. Sources: linux/landlock.h and
https://docs.kernel.org/userspace-api/landlock.html up to ABI 7, which added nothing but logging.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path

# These three system calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_RUN, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FOLDER, _REMOVE_FILE, _MAKE_FOLDER, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_MEANT_FOR_FILES = _RUN | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_READ = _READ_FILE | _READ_FOLDER
_WRITE = _READ | _WRITE_FILE | _REMOVE_FOLDER | _REMOVE_FILE | _MAKE_FOLDER | _MAKE_FILE | _TRUNCATE
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> int:
    """Landlock's version in this kernel; 0 where it is missing or switched off."""
    return max(0, _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)))


def restrict(read: Sequence[Path], write: Sequence[Path] = (), run: Sequence[Path] = ()) -> None:
    """From now on, and for ever: files at or below these paths and nothing else.

    `read` may be read and listed; in `write` plain files and folders may also be made, changed and
    removed; `run` may be read and executed (a program's loader belongs here too, its libraries are
    read). Nowhere a special file or a link, no TCP (ABI 4), no ioctl on devices (ABI 5), no signal and
    no abstract unix socket to anybody outside (ABI 6). What an older kernel does not know it does not
    hold: ask `abi()` first. Sets no_new_privs, and is never loosened again.

    Holds for the calling thread and what it starts: call it while there is one thread. Descriptors
    that are open stay open. Raises OSError when a path is missing or the kernel refuses.
    """
    version = abi()
    rules = _Ruleset(
        files=_rights_about_files(version),
        net=_BIND_TCP | _CONNECT_TCP if version >= 4 else 0,
        scoped=_ABSTRACT_SOCKETS | _SIGNALS if version >= 6 else 0,
    )
    size = ctypes.c_size_t(ctypes.sizeof(rules))
    ruleset = _done("Landlock rules", _call(_CREATE_RULESET, ctypes.byref(rules), size, ctypes.c_uint32(0)))
    try:
        for paths, allowed in ((read, _READ), (write, _WRITE), (run, _RUN | _READ_FILE)):
            for path in paths:
                _allow(ruleset, path, allowed & rules.files)
        _done("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _done("Landlock", _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)


def _rights_about_files(version: int) -> int:
    """Every right this kernel knows: 2 added moving between folders, 3 truncating, 5 ioctl on devices."""
    return (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1


def _allow(ruleset: int, path: Path, allowed: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            allowed &= _MEANT_FOR_FILES
        rule = ctypes.byref(_Beneath(allowed, opened))
        kind = ctypes.c_int(_RULE_PATH_BENEATH)
        _done(str(path), _call(_ADD_RULE, ctypes.c_int(ruleset), kind, rule, ctypes.c_uint32(0)))
    finally:
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def _done(what: str, result: int) -> int:
    """The result, or OSError naming what the kernel would not do."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
