"""Where do the files of one run lie while it lasts? In a folder of their own, gone with it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "ndl-run-"
_SURELY_LOCKED_BY_NOW_SECONDS = 600


@contextmanager
def run_folder(contents: Mapping[str, bytes]) -> Iterator[Path]:
    """A new folder that only we can enter, with these files below it; removed at the end.

    As root in /run, where nobody else can write; else where temporary files go. It is locked while it
    lasts: one that nobody holds was left by a service that was killed, and the next run removes it.
    """
    where = Path(tempfile.gettempdir() if os.geteuid() else "/run")
    _sweep(where)
    top = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
    lock = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        for name, data in contents.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
        yield top
    finally:
        shutil.rmtree(top, ignore_errors=True)
        os.close(lock)


def _sweep(where: Path) -> None:
    for left in where.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or gone already
            held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                found = os.fstat(held)
                old = time.time() - found.st_mtime > _SURELY_LOCKED_BY_NOW_SECONDS
                if old and found.st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(held)
