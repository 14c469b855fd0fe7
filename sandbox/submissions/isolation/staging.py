"""What can a run see? Python, the installed packages, our own code, the submission: nothing else.

Stops: reading records, settings, keys, other submissions, `/proc`, `/sys`, `/etc` and everybody's home.
Everything is read-only; only `/tmp` and `/dev/shm` can be written, in memory, and vanish with the run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import sandbox
from sandbox.errors import Invalid, Problem
from sandbox.submissions.isolation import limits as per_process
from sandbox.submissions.isolation.backend import Job, Limits

CODE = Path("/code")
STAGE = Path("/stage")
FILTER = Path("/wall/inner")
START = CODE / "sandbox/submissions/isolation/start.py"
REQUEST = "request.json"
WRITABLE = (Path("/tmp"), Path("/dev/shm"), Path("/dev/null"))
_SYSTEM = (Path("/usr/lib"), Path("/usr/lib64"), Path("/lib"), Path("/lib64"))
_LOADER_CACHE = Path("/etc/ld.so.cache")
_PACKAGES = ("torch", "numpy", "safetensors", "typing_extensions")

ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",  # the same submission gives the same graph
    "PYTHONUNBUFFERED": "1",  # what was printed before a kill is in the log
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
}


@dataclass(frozen=True)
class Bound:
    """A folder or file of this machine and where it is seen inside."""

    source: Path
    inside: Path


@dataclass(frozen=True)
class Python:
    """An interpreter with its packages: what to bind, and what a run's `sys.path` gets."""

    executable: Path
    bound: tuple[Bound, ...]
    path: tuple[Path, ...]

    def command(self, job: Job, limits: Limits) -> list[str]:
        """The command line that runs the job inside, through `start`."""
        read = [*(b.inside for b in self.bound), *system(), STAGE, Path("/dev/urandom"), Path("/dev/zero")]
        setup = {
            "path": [str(CODE), *map(str, self.path)],
            "limits": per_process.within(limits),
            "filter": str(FILTER),
            "read": [str(path) for path in read],
            "write": [str(path) for path in WRITABLE],
            "program": job.program,
            "stage": str(STAGE),
        }
        return [str(self.executable), "-P", "-s", "-S", "-B", str(START), json.dumps(setup)]


@cache
def python() -> Python:
    """This process's interpreter and packages, at their own paths; our package alone moves to `/code`.

    The folder our package lies in is never bound: it may be a checkout with records beside it.
    """
    executable = Path(sys.executable).resolve()
    packages = tuple(dict.fromkeys(_package_folders()))
    folders = [executable, Path(sys.base_prefix) / "lib", Path(sysconfig.get_path("stdlib")), *packages]
    wanted = [folder for folder in dict.fromkeys(folders) if not _within(folder, system())]
    outermost = [f for f in wanted if not _within(f, [other for other in wanted if other != f])]
    bound = [Bound(folder, folder) for folder in outermost]
    bound.append(Bound(Path(sandbox.__file__).parent, CODE / "sandbox"))
    return Python(executable, tuple(bound), packages)


def system() -> list[Path]:
    """Libraries of the system, and the index by which they are found; links are not followed."""
    return [p for p in (*_SYSTEM, _LOADER_CACHE) if p.exists() and not p.is_symlink()]


def system_links() -> dict[Path, str]:
    """`/lib` and the like where they are links, and what they say."""
    return {path: os.readlink(path) for path in _SYSTEM if path.is_symlink()}


def files(job: Job) -> dict[str, bytes]:
    """The staged files by their path below the stage, the request among them.

    Raises Invalid for a path that leaves the stage or takes the request's place.
    """
    problems = [
        Problem(repr(name), "is not a path inside a submission", "Use plain relative paths.")
        for name in job.files
        if not _plain(name)
    ]
    if problems:
        raise Invalid("the files of this submission", problems)
    return {**job.files, REQUEST: json.dumps(job.request).encode()}


def _plain(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and not name.startswith("/")
        and str(PurePosixPath(name)) == name
        and ".." not in parts
        and "\0" not in name
        and name != REQUEST
        and len(name) < 200
    )


def _package_folders() -> list[Path]:
    """Where pip puts packages, and where the ones a run needs really are."""
    found = [Path(sysconfig.get_path(key)) for key in ("purelib", "platlib")]
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            place = Path(spec.origin).parent
            found.append(place.parent if spec.submodule_search_locations else place)
    return found


def _within(folder: Path, others: list[Path]) -> bool:
    return any(folder.is_relative_to(other) for other in others)


def descriptors(contents: Mapping[str, bytes]) -> dict[str, int]:
    """Each content as an open memory file, at its beginning, numbered well above the pipes.

    The caller closes them.
    """
    return {name: in_memory(content) for name, content in contents.items()}


def in_memory(content: bytes) -> int:
    """An open memory file with this content. No name, no folder: gone when the last holder is."""
    import fcntl

    low = os.memfd_create("staged", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(low), "wb") as file:
            file.write(content)
        os.lseek(low, 0, os.SEEK_SET)
        return fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _ABOVE_THE_PIPES)
    finally:
        os.close(low)


_ABOVE_THE_PIPES = 16
