"""Which bytes did a developer hand over? Read once, capped, links refused, nothing unpacked or run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import Invalid, NotFound, Problem

MAX_FILES = 32
MAX_BYTES = 1_000_000
_IGNORED = frozenset({"__pycache__"})
SAVED = frozenset(
    {
        ".pt",
        ".pt2",
        ".pth",
        ".ckpt",
        ".pkl",
        ".pickle",
        ".joblib",
        ".dill",
        ".skops",
        ".onnx",
        ".h5",
        ".keras",
    }
)
"""Endings of files in which programs save models. Nothing here opens one, so none is taken in."""
_SAVED_STARTS = (*(b"\x80" + bytes([protocol]) for protocol in range(2, 6)), b"PK\x03\x04", b"PK\x05\x06")
"""How pickles and zip archives begin, which those files are under any name."""
_NOT_SAVED = "Remove it, and hand in model.py with build(inputs), or a recipe: weights are learned here."


def read(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes for every file below `folder`, except hidden ones and Python's caches.

    Raises NotFound for a folder that is not there, Invalid for links, odd files, saved models and too much
    of anything. A saved model is known by its name, unopened, or by its first bytes.
    """
    if not folder.is_dir():
        raise NotFound("submission folder", str(folder))
    problems: list[Problem] = []
    contents: dict[str, bytes] = {}
    left = MAX_BYTES
    for path in _below(folder):
        name = path.relative_to(folder).as_posix()
        if len(contents) == MAX_FILES:
            problems.append(Problem("files", f"more than {MAX_FILES}", "Keep what the model needs."))
            break
        content = _read_one(path, left)
        if isinstance(content, Problem):
            problems.append(Problem(name, content.what, content.todo))
        else:
            contents[name] = content
            left -= len(content)
    if problems:
        raise Invalid(str(folder), problems)
    return contents


def digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Relative path -> sha256, in order of path."""
    return {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)}


def digest(of_files: Mapping[str, str]) -> str:
    """One sha256 for a whole submission, from the digests of its files."""
    lines = "".join(f"{sha}  {name}\n" for name, sha in sorted(of_files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        linked = [f for f in folders if (Path(parent) / f).is_symlink()]
        folders[:] = sorted(f for f in folders if f not in linked and not _ignored(f))
        found += [Path(parent) / name for name in sorted([*names, *linked]) if not _ignored(name)]
        if len(found) > MAX_FILES:
            break
    return found


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _read_one(path: Path, left: int) -> bytes | Problem:
    if path.suffix.lower() in SAVED:
        return Problem("", "a saved model, which is never opened here", _NOT_SAVED)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return Problem("", "a link, or a file that cannot be read", "Put an ordinary file there.")
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Problem("", "not an ordinary file", "Put an ordinary file there.")
        content = file.read(left + 1)
    if len(content) > left:
        return Problem("", f"takes the submission past {MAX_BYTES // 1000} kB", "Weights and data stay out.")
    if content.startswith(_SAVED_STARTS):
        return Problem("", "a pickle or an archive, which is never opened here", _NOT_SAVED)
    return content
