"""Where do the files of one run lie while it lasts? In a folder of their own, gone with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def run_folder(contents: Mapping[str, bytes]) -> Iterator[Path]:
    """A new folder that only we can enter, with these files below it; removed at the end.

    As root in /run, where nobody else can write; else where temporary files go.
    """
    top = Path(tempfile.mkdtemp(prefix="ndl-run-", dir=None if os.geteuid() else "/run"))
    try:
        for name, data in contents.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
        yield top
    finally:
        shutil.rmtree(top, ignore_errors=True)
