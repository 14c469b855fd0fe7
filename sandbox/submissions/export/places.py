"""Where in the developer's own code did it happen? Frames of torch and of Python itself are passed over."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn

_TORCH = str(Path(torch.__file__).parent)
_PYTHON = sysconfig.get_paths()["stdlib"]
_HERE = str(Path(__file__).parent)
_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)

Origins = Mapping[int, str]
"""id of a module -> the developer's line that made it, such as model.py:21."""


@contextmanager
def origins() -> Iterator[Origins]:
    """Notes, while it lasts, which line of the developer's makes each module."""
    made: dict[int, str] = {}
    original = nn.Module.__init__

    def noting(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        made[id(self)] = _of_frame(sys._getframe(1))
        original(self, *args, **kwargs)

    nn.Module.__init__ = noting  # type: ignore[method-assign]
    try:
        yield made
    finally:
        nn.Module.__init__ = original  # type: ignore[method-assign]


def of_traceback(traceback: TracebackType | None) -> str:
    """The innermost line of the developer's in an exception's traceback, or nothing."""
    places = []
    while traceback is not None:
        places.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _innermost(places)


def of_stack(text: str | None) -> str:
    """The innermost line of the developer's in a stack that torch.export noted as text, or nothing."""
    return _innermost((found["file"], int(found["line"])) for found in _FRAME.finditer(text or ""))


def _of_frame(frame: FrameType | None) -> str:
    places = []
    while frame is not None:
        places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return _innermost(reversed(places))


def _innermost(places: Iterable[tuple[str, int]]) -> str:
    own = [f"{Path(file).name}:{line}" for file, line in places if _is_developers(file)]
    return own[-1] if own else ""


def _is_developers(file: str) -> bool:
    known = file.startswith((_TORCH, _HERE, _PYTHON, "<"))
    return not known and "site-packages" not in file
