"""How is a large library imported sooner? Without looking for garbage meanwhile: there is none, and looking for it
takes a quarter of the time that torch and MLflow need."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Inside, nothing is collected by itself; where nothing was before, nothing is afterwards."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
