"""Gives the demo an empty folder, and makes sure that only one demo uses it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.errors import Refused

_MARK = ".made-by-ndl-demo"


@contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """Empties `folder` if an earlier demo made it; holds a lock while the demo and its servers run.

    Raises Refused when another demo is using it, or when it holds something no demo made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                f"Another demo is using {folder}. Stop it (Ctrl-C where it runs) and try again."
            ) from None
        if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
            raise Refused(f"{folder} holds something that no demo made. Choose another storage.folder.")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _MARK).touch()
        yield
