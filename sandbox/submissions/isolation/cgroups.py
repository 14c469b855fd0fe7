"""How much of the machine may one whole run use? A control group of its own, version 1 or 2.

Stops: memory bombs spread over processes or a memory file system, fork and thread bombs, a run that
starves everything else of the processor, and processes that outlive their run (all are found and killed
by their group). A run's group is locked while it lasts; a group nobody holds is left over from a crash
and is emptied and removed by whoever comes next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.submissions.isolation.limits import MB

if TYPE_CHECKING:
    from sandbox.submissions.isolation.backend import Limits

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
_WANTED = (*CONTROLLERS, "cpuacct")  # the last is version 1 only, and only counts
_LOCKED = "pids"
_OWN_LEAF = "ndl-service"
_PERIOD_US = 100_000
_PATIENCE_SECONDS = 5.0


class Group:
    """One run's group. `number` is nobody else's while `lock` (a descriptor) is open and its folder there.

    `folders` ends with the locked one, so whoever removes them in order gives the number back last.
    """

    def __init__(self, number: int, lock: int, folders: Mapping[str, Path]) -> None:
        self.number, self.lock = number, lock
        self.folders = _last({*folders.values()}, folders[_LOCKED])
        self._by_controller = folders

    @property
    def processor_file(self) -> str:
        """Where the kernel counts the processor time of the whole group; "" if nowhere."""
        return next(_processor_files(self._by_controller), "")

    def close(self) -> None:
        """Kills whoever is left in it, removes it and gives the number back.

        A group that the launcher removed already is left alone: another run may have made it anew.
        """
        if self.lock >= 0:
            if _is_still(self.lock, self.folders[-1]):
                remove(self.folders)
            os.close(self.lock)
            self.lock = -1


class Tree:
    """Where runs get their groups: for each controller the folder below which we may make them."""

    def __init__(self, parents: Mapping[str, Path]) -> None:
        self.parents = parents

    def claim(self, limits: Limits, numbers: Iterable[int]) -> Group:
        """A new, limited, empty group with the first of `numbers` that is free.

        Raises OSError when the kernel refuses a limit, BlockingIOError when every number is taken.
        """
        for number in numbers:
            name = f"run-{number}"
            lock = _locked(self.parents[_LOCKED] / name)
            if lock is None:
                continue
            folders = {controller: parent / name for controller, parent in self.parents.items()}
            group = Group(number, lock, folders)
            try:
                empty(group.folders)  # what a crash left behind under this number
                for folder in group.folders:
                    folder.mkdir(exist_ok=True)
                _limit(folders, limits)
            except OSError:
                group.close()
                raise
            return group
        raise BlockingIOError(errno.EAGAIN, "as many runs as isolation.uid_count allows are under way")

    def sweep(self) -> None:
        """Removes the groups of runs whose service and launcher are both dead."""
        for left in self.parents[_LOCKED].glob("run-*"):
            lock = _locked(left, make=False)
            if lock is not None:
                remove(_last({parent / left.name for parent in self.parents.values()}, left))
                os.close(lock)


def tree(name: str, root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> Tree:
    """The tree called `name` (isolation.cgroup) for this user, made where that is allowed.

    Under version 2 a user who may not write below `root` gets one inside the group that was delegated to
    this process (`own` says which); the process then moves into a leaf of it, as the kernel demands.
    Raises OSError naming the controller and what is wrong with it.
    """
    if (root / "cgroup.controllers").exists():
        return Tree(dict.fromkeys(CONTROLLERS, _unified(name, root, own)))
    parents = {}
    for controller in _WANTED:
        try:
            parents[controller] = _made(root / controller, name, controller)
        except OSError:
            if controller in CONTROLLERS:
                raise
    return Tree(parents)


def counters(folders: Iterable[Path]) -> dict[str, int]:
    """What the kernel counted for a run: `oom` kills, `full` (memory refused), `forks` refused."""
    found = {"oom": 0, "full": 0, "forks": 0}
    for folder in folders:
        found["oom"] += _counted(folder / "memory.events", "oom_kill")
        found["oom"] += _counted(folder / "memory.oom_control", "oom_kill")
        found["full"] += _counted(folder / "memory.events", "max")
        found["full"] += int(_text(folder / "memory.failcnt") or 0)
        found["forks"] += _counted(folder / "pids.events", "max")
    return found


def processor_seconds(file: str) -> float:
    """Processor time of a whole group, from the file that `Group.processor_file` names; 0 if unknown."""
    text = _text(Path(file)) if file else ""
    if file.endswith("cpuacct.usage"):
        return int(text or 0) / 1e9
    return next((int(v) / 1e6 for k, v in map(str.split, text.splitlines()) if k == "usage_usec"), 0.0)


def remove(folders: Iterable[Path]) -> None:
    """Kills everything in the groups and removes them; a group that is gone already is fine."""
    folders = list(folders)
    empty(folders)
    for folder in folders:
        _until(partial(_removed, folder))


def empty(folders: Iterable[Path]) -> None:
    """Kills every process in the groups, until none is left or five seconds are over."""
    for folder in folders:
        _until(partial(_emptied, folder))


def _limit(folders: Mapping[str, Path], limits: Limits) -> None:
    memory, pids, cpu = (folders[controller] for controller in CONTROLLERS)
    amount = str(limits.memory_mb * MB)
    (pids / "pids.max").write_text(str(limits.processes))
    if (memory / "memory.max").exists():
        (memory / "memory.max").write_text(amount)
        _write_if_there(memory / "memory.swap.max", "0")
        _write_if_there(memory / "memory.oom.group", "1")
        (cpu / "cpu.max").write_text(f"{_PERIOD_US} {_PERIOD_US}")
        return
    (memory / "memory.limit_in_bytes").write_text(amount)
    _write_if_there(memory / "memory.memsw.limit_in_bytes", amount)
    (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
    (cpu / "cpu.cfs_quota_us").write_text(str(_PERIOD_US))


def _unified(name: str, root: Path, own: Path) -> Path:
    wanted = root / name
    if os.access(wanted if wanted.exists() else root, os.W_OK):
        parent, made = root, wanted
    else:
        parent = _delegated(root, own)
        made = parent / Path(name).name
    missing = set(CONTROLLERS) - set(_text(parent / "cgroup.controllers").split())
    if missing:
        raise OSError(errno.ENODEV, f"{', '.join(sorted(missing))} not given to {parent}")
    _hand_down(parent)
    _made(parent, made.relative_to(parent), "version 2")
    for folder in [*reversed(made.relative_to(parent).parents)][1:]:
        _hand_down(parent / folder)
    _hand_down(made)
    return made


def _delegated(root: Path, own: Path) -> Path:
    """The group this process is in, when it is ours to write."""
    path = next((line[3:] for line in _text(own).splitlines() if line.startswith("0::")), "/")
    folder = root / path.strip("/")
    if folder.name == _OWN_LEAF:
        folder = folder.parent
    if folder == root or not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.procs", os.W_OK):
        raise PermissionError(errno.EACCES, f"{folder} may not be written by uid {os.geteuid()}")
    return folder


def _hand_down(folder: Path) -> None:
    """Lets groups below have the controllers; a group must hold no process itself for that."""
    control = folder / "cgroup.subtree_control"
    if set(CONTROLLERS) <= set(_text(control).split()):
        return
    enable = " ".join(f"+{controller}" for controller in CONTROLLERS)
    try:
        control.write_text(enable)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        leaf = folder / _OWN_LEAF
        leaf.mkdir(exist_ok=True)
        for process in _text(folder / "cgroup.procs").split():
            (leaf / "cgroup.procs").write_text(process)
        control.write_text(enable)


def _made(root: Path, name: str | Path, controller: str) -> Path:
    if not (root / "cgroup.procs").exists():
        raise OSError(errno.ENODEV, f"{controller}: {root} is no control group")
    folder = root / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"{controller}: {folder} cannot be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            errno.EACCES, f"{controller}: {folder} may not be written by uid {os.geteuid()}"
        )
    return folder


def _locked(folder: Path, make: bool = True) -> int | None:
    """A descriptor that holds the folder for us alone, or None when somebody else does."""
    try:
        if make:
            folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(descriptor, folder):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _is_still(descriptor: int, folder: Path) -> bool:
    """Whether the folder at this path is the one that was opened: not removed, and not made anew."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _last(folders: Iterable[Path], last: Path) -> list[Path]:
    return sorted(folders, key=lambda folder: (folder == last, folder))


def _emptied(folder: Path) -> bool:
    processes = _text(folder / "cgroup.procs").split()
    if not processes:
        return True
    try:
        (folder / "cgroup.kill").write_text("1") if (folder / "cgroup.kill").exists() else _kill(processes)
    except OSError:
        _kill(processes)
    return False


def _kill(processes: Iterable[str]) -> None:
    for process in processes:
        try:
            os.kill(int(process), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # the kernel lets go of the dead a moment later
    return True


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(0.005)


def _processor_files(folders: Mapping[str, Path]) -> Iterator[str]:
    for controller, name in (("cpuacct", "cpuacct.usage"), ("cpu", "cpuacct.usage"), ("cpu", "cpu.stat")):
        file = folders.get(controller, Path("/nowhere")) / name
        if file.exists():
            yield str(file)


def _write_if_there(file: Path, text: str) -> None:
    if file.exists():
        file.write_text(text)


def _counted(file: Path, key: str) -> int:
    return next((int(v) for k, v in map(str.split, _text(file).splitlines()) if k == key), 0)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
