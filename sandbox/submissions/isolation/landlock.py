"""The wall for machines without user namespaces: Landlock, two seccomp allowlists, limits, one process.

Without namespaces nobody counts or hides processes, so there is only one: it may start no program and no
process (see `alone`), which makes one limit of memory and one of processor time hold for the whole run and
one kill end it. It sees no file but Python's, our package's and the submission's, writes nowhere, has no
socket, and may signal nobody. As root each run gets a user of its own, and private mounts through which
that user reaches Python; where root may not mount (most containers) it runs in place, if every user may
read Python there. As an ordinary user it runs in place, as that user. No control group is needed.

Weaker than bubblewrap: the run shares the host's process numbers and can learn whether a path exists, and
its size (Landlock does not hide metadata). Landlock's ABI 6 (Linux 6.12) is the least that is taken: only
from there on does the kernel itself keep signals inside, which here no process namespace does.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sandbox
from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import (
    complete,
    landlock_rules,
    launching,
    seccomp,
    staging,
)
from sandbox.submissions.isolation import (
    limits as per_process,
)
from sandbox.submissions.isolation.backend import Job, Layer, Limits, Outcome
from sandbox.submissions.isolation.folders import run_folder
from sandbox.submissions.isolation.launcher import Request

LEAST_ABI = 6
_ALONE = Path(__file__).with_name("alone.py")
_PR_GET_SECCOMP = 21
_DEVICES = (Path("/dev/urandom"), Path("/dev/zero"))
HELD = {
    "files": "only Python, our package and the submission can be read, and nothing be written",
    "network": "no socket of any family",
    "processes": "no program, no process, no signal",
    "user": "root cannot be had",
    "limits": "memory, processor time, descriptors and core dumps are limited",
    "descriptors": "nothing of the service is handed down",
}
_CAP_SYS_ADMIN = 21
_SHARED_AND_NO_FILE = 0x1 | 0x20  # MAP_SHARED, MAP_ANONYMOUS


@dataclass(frozen=True)
class Places:
    """Where a run finds things: in place for an ordinary user, below a private mount for root."""

    executable: Path
    home: Path | None
    path: tuple[Path, ...]
    read: tuple[Path, ...]
    alone: Path
    submission: Path
    wall: Path
    binds: tuple[tuple[Path, str], ...] = ()


class Landlock:
    name = "landlock"

    def __init__(self, settings: Isolation) -> None:
        self.settings = settings
        self._tried: tuple[Layer, ...] = ()

    def layers(self) -> Sequence[Layer]:
        """What a look decides, then what a trial run could not do; no trial without the former."""
        found = (kernel_rules(), system_calls(), a_user(self.settings), python_in_reach())
        if not all(layer.works for layer in found):
            return found
        if not self._tried or not all(layer.works for layer in self._tried):
            self._tried = complete.tried(self._carry, HELD, must_hold)
        return (*found, *self._tried)

    def run(self, job: Job, limits: Limits) -> Outcome:
        complete.refuse(self)
        return self._carry(job, limits)

    def _carry(self, job: Job, limits: Limits) -> Outcome:
        with run_folder(_contents(job)) as folder, _own_user(self.settings) as user:
            if user is None:
                places = _in_place(folder)
            elif may_mount():
                _open_to_the_run(folder)
                places = _staged(folder)
            else:
                _give_to(user, folder)
                places = _in_place(folder)
            ended = launching.launch(_request(job, limits, places, user, folder), limits)
            return launching.outcome(ended, limits)


def kernel_rules() -> Layer:
    abi = landlock_rules.abi()
    found = f"ABI {abi}" if abi else "not in this kernel, or switched off"
    mend = (
        f"Use Linux 6.12 or newer (ABI {LEAST_ABI}, which keeps signals inside), started with lsm=landlock."
    )
    return Layer("Landlock", abi >= LEAST_ABI, found, mend)


def system_calls() -> Layer:
    """Whether both filters can be written and this kernel takes filters."""
    mend = "Install libseccomp (apt-get install libseccomp2) and use a kernel with CONFIG_SECCOMP_FILTER."
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0 and ctypes.get_errno() == errno.EINVAL:
        return Layer("seccomp", False, "not in this kernel", mend)
    try:
        size = len(seccomp.inner()) // 8 + len(_only_itself()) // 8
    except (OSError, ImportError, RuntimeError) as error:
        return Layer("seccomp", False, f"no filter could be written ({type(error).__name__})", mend)
    return Layer("seccomp", True, f"allowlist of {size} steps", mend)


def a_user(settings: Isolation) -> Layer:
    """As root: users that belong to nobody, one for each run. Else the run keeps the user we are."""
    name = "user of its own"
    if os.geteuid():
        return Layer(name, True, f"not root: runs as uid {os.geteuid()}, which Landlock keeps to itself")
    first, last = settings.uid_first, settings.uid_first + settings.uid_count - 1
    taken = [entry.pw_name for entry in pwd.getpwall() if first <= entry.pw_uid <= last]
    found = f"uids {first} to {last}, " + (f"which belong to {', '.join(taken)}" if taken else "nobody's")
    return Layer(name, not taken, found, "Set isolation.uid_first to a range that no account uses.")


def python_in_reach() -> Layer:
    """Whether the run's user can read Python, the packages and our code, by mounts or where they lie."""
    name = "Python in reach"
    if os.geteuid() or may_mount():
        return Layer(name, True, "by private mounts" if not os.geteuid() else "as this user")
    closed = sorted({str(place) for bound in staging.python().bound if (place := _closed(bound.source))})
    found = f"not for every user: {', '.join(closed)}" if closed else "where it lies, for every user"
    mend = "Allow mounts (CAP_SYS_ADMIN), or let every user read these folders, or do not run as root."
    return Layer(name, not closed, found, mend)


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN; root in a container often has not."""
    status = Path("/proc/self/status").read_text()
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return bool(held & 1 << _CAP_SYS_ADMIN)


def _closed(place: Path) -> Path | None:
    """The first folder on the way that not every user may enter."""
    return next((p for p in (*reversed(place.parents), place) if not p.stat().st_mode & stat.S_IXOTH), None)


@contextmanager
def _own_user(settings: Isolation) -> Iterator[int | None]:
    """As root, a uid nobody else holds until the end; taken from the top, bubblewrap's from the bottom.

    Held as an abstract socket, which the kernel frees when this process dies. Raises Unfit when every
    one is taken.
    """
    if os.geteuid():
        yield None
        return
    for uid in reversed(range(settings.uid_first, settings.uid_first + settings.uid_count)):
        with socket.socket(socket.AF_UNIX) as held:
            try:
                held.bind(f"\0ndl-sandbox-uid-{uid}")
            except OSError:
                continue
            yield uid
            return
    raise Unfit(f"All {settings.uid_count} users of isolation.uid_count are in use; wait, or raise it.")


def _contents(job: Job) -> dict[str, bytes]:
    filters = {"held/wall/inner": seccomp.inner(), "held/wall/itself": _only_itself()}
    return filters | {f"held/submission/{name}": data for name, data in staging.files(job).items()}


def _open_to_the_run(top: Path) -> None:
    """The stage can be reached by any user, what is held only through the run's private mounts."""
    (top / "stage").mkdir()
    top.chmod(0o711)
    (top / "stage").chmod(0o755)
    for place in (top / "held").rglob("*"):
        place.chmod(0o755 if place.is_dir() else 0o644)
    (top / "held").chmod(0o700)


def _give_to(user: int, folder: Path) -> None:
    """Folder and files are the run's; that it does not change them is Landlock's doing."""
    for place in (folder, *folder.rglob("*")):
        os.chown(place, user, user)


def _in_place(folder: Path) -> Places:
    python = staging.python()
    package = Path(sandbox.__file__).parent
    return Places(
        executable=python.executable,
        home=None,
        path=(package.parent, *python.path),
        read=(*_readable(python, staging.CODE), package),
        alone=_ALONE,
        submission=folder / "held/submission",
        wall=folder / "held/wall",
    )


def _staged(folder: Path) -> Places:
    """Everything below the stage, since Python may lie in a home that only root can enter."""
    python, stage = staging.python(), folder / "stage"
    package = Path(sandbox.__file__).parent
    home = Path(sys.base_prefix)
    moved = {path: f"packages{number}" for number, path in enumerate(python.path)}
    moved |= {package: "sandbox", folder / "held/submission": "submission", folder / "held/wall": "wall"}
    if not _of_the_system(home):
        moved[home] = "python"
    inside = {source: stage / name for source, name in moved.items()}
    return Places(
        executable=inside[home] / python.executable.relative_to(home)
        if home in inside
        else python.executable,
        home=inside.get(home),
        path=(stage, *(inside[path] for path in python.path)),
        read=(*(path / "lib" if path == inside.get(home) else path for path in inside.values()), *_system()),
        alone=inside[package] / _ALONE.relative_to(package),
        submission=inside[folder / "held/submission"],
        wall=inside[folder / "held/wall"],
        binds=tuple(moved.items()),
    )


def _readable(python: staging.Python, but: Path) -> tuple[Path, ...]:
    return (*(b.source for b in python.bound if not b.inside.is_relative_to(but)), *_system())


def _system() -> tuple[Path, ...]:
    return (*staging.system(), *(path for path in _DEVICES if path.exists()))


def _of_the_system(home: Path) -> bool:
    return home in (Path("/usr"), Path("/"))


def _request(job: Job, limits: Limits, places: Places, user: int | None, folder: Path) -> Request:
    asked = {
        "path": [str(path) for path in places.path],
        "limits": must_hold(limits) | _processes(limits, user),
        "filter": str(places.wall / "inner"),
        "filters": [str(places.wall / "itself")],
        "read": [str(path) for path in (*places.read, places.submission, places.wall)],
        "write": [],
        "program": job.program,
        "stage": str(places.submission),
        "landlock": True,
        "artifact_is_stdout": False,
    }
    environment = staging.ENVIRONMENT | {"TORCHINDUCTOR_CACHE_DIR": str(places.submission)}
    if places.home:
        environment |= {"PYTHONHOME": str(places.home), "LD_LIBRARY_PATH": str(places.home / "lib")}
    return Request(
        command=[str(places.executable), "-P", "-s", "-S", "-B", str(places.alone), json.dumps(asked)],
        environment=environment,
        keep=[],
        groups=[],
        processor_file="",
        stage=str(folder / "stage") if places.binds else "",
        binds=[[str(source), name] for source, name in places.binds],
        user=user,
        limits=per_process.before(limits) | {"FSIZE": 0},
        cpu_seconds=limits.cpu_seconds,
        wall_seconds=limits.wall_seconds,
        service=os.getpid(),
    )


def must_hold(limits: Limits) -> dict[str, int]:
    """For the one process, so exactly for the run: DATA counts all memory that is its own."""
    memory = {"DATA": limits.memory_mb * per_process.MB, "CPU": limits.cpu_seconds, "CORE": 0, "FSIZE": 0}
    return {name: value for name, value in per_process.within(limits).items() if name != "NPROC"} | memory


def _processes(limits: Limits, user: int | None) -> dict[str, int]:
    """Threads of the run; the kernel counts by user, so those that we have already are added."""
    ours = 0 if user is not None else sum(1 for task in Path("/proc").glob("[0-9]*/task/*") if _mine(task))
    return {"NPROC": limits.processes + ours}


def _mine(task: Path) -> bool:
    try:
        return task.stat().st_uid == os.geteuid()
    except OSError:
        return False


@cache
def _only_itself() -> bytes:
    """Refuses what the allowlists let through because a namespace would make it harmless.

    Pinning another's processor, changing file times, and memory that is shared and so in nobody's count.
    """
    import pyseccomp
    from pyseccomp import MASKED_EQ, NE, Arg

    refuse = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.add_rule(refuse, "sched_setaffinity", Arg(0, NE, 0))
    rules.add_rule(refuse, "utimensat")
    rules.add_rule(refuse, "mmap", Arg(3, MASKED_EQ, _SHARED_AND_NO_FILE, _SHARED_AND_NO_FILE))
    return seccomp._program(rules)
