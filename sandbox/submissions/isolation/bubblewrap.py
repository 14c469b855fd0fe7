"""The full wall: a run in namespaces of its own, under a user of its own, in a control group of its own.

From the outside in: control group (memory, processes, processor), a user without a name, bubblewrap's
namespaces (user, processes, network, IPC, host name, mounts) with a read-only root, no `/proc`, no `/sys`,
no network and no capability, limits for each process, two seccomp allowlists, Landlock.
What each one stops is said in the module that puts it up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import cgroups, complete, launching, seccomp, staging
from sandbox.submissions.isolation import limits as per_process
from sandbox.submissions.isolation.backend import Job, Layer, Limits, Outcome
from sandbox.submissions.isolation.landlock import a_user, system_calls
from sandbox.submissions.isolation.landlock_rules import abi
from sandbox.submissions.isolation.launcher import Request

HELD = {
    "files": "only Python, our package and the submission can be read; written is only memory of its own",
    "network": "no socket of any family",
    "processes": "no program, no process, no signal",
    "user": "root cannot be had",
    "limits": "memory, processor time, descriptors and core dumps are limited",
    "descriptors": "nothing of the service is handed down",
}
_OLDEST = (0, 8)
_SHM_BYTES = 16 << 20
_STAGE = Path("/tmp")
"""As root: what the run's user may not reach by itself is bound here, in mounts of the run's own."""
_INSTALL = "apt-get install bubblewrap (0.8 or newer). Recipes do without."
_DELEGATE = (
    "Run as root, or in a group that is delegated to you (systemd-run --user --scope -p Delegate=yes; under "
    "version 1 an administrator makes the folders and gives them to you with chown), "
    f"with the controllers {', '.join(cgroups.CONTROLLERS)}; isolation.cgroup names it."
)
_POWERS = {"CAP_SYS_ADMIN": 21, "CAP_SETUID": 7, "CAP_SETGID": 6, "CAP_KILL": 5}
# All, and never "-try": without a user namespace of its own bubblewrap would silently go on.
_NAMESPACES = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-cgroup-try", "--disable-userns", "--assert-userns-disabled"),
    *("--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
)


class Bubblewrap:
    name = "bubblewrap"

    def __init__(self, settings: Isolation) -> None:
        self.settings = settings
        self._complete: tuple[Layer, ...] = ()

    def layers(self) -> Sequence[Layer]:
        """What a look decides, then what a trial run could not do; no trial without the former.

        A wall found complete is not looked at again; one that lacks something is.
        """
        if self._complete:
            return self._complete
        found: tuple[Layer, ...] = (
            program(),
            namespaces(),
            control_group(self.settings),
            powers(),
            a_user(self.settings),
            system_calls(),
            kernel_rules(),
        )
        if not all(layer.works for layer in found):
            return found
        found += complete.tried(self._carry, HELD, must_hold)
        if all(layer.works for layer in found):
            self._complete = found
        return found

    def run(self, job: Job, limits: Limits) -> Outcome:
        complete.refuse(self)
        return self._carry(job, limits)

    def _carry(self, job: Job, limits: Limits) -> Outcome:
        contents = {str(staging.STAGE / name): data for name, data in staging.files(job).items()}
        contents[str(staging.FILTER)] = seccomp.inner()
        with ExitStack() as held:
            group = held.enter_context(closing(self._group(limits)))
            stage = None if os.geteuid() else _STAGE
            files = held.enter_context(_descriptors(contents))
            outer = held.enter_context(_descriptors({"outer": seccomp.outer()}))["outer"]
            python = staging.python()
            places = {bound.inside: bound.source for bound in python.bound}
            names = {inside: f"bound{number}" for number, inside in enumerate(places)} if stage else {}
            seen = {inside: stage / names[inside] if stage else source for inside, source in places.items()}
            command = [*_bubblewrap(limits, seen, files, outer), *python.command(job, limits)]
            request = Request(
                command=command,
                environment={},
                keep=[*files.values(), outer],
                groups=[str(folder) for folder in group.folders],
                processor_file=group.processor_file,
                stage=str(stage or ""),
                binds=[[str(places[inside]), name] for inside, name in names.items()],
                user=group.number if stage else None,
                limits=per_process.before(limits),
                cpu_seconds=limits.cpu_seconds,
                wall_seconds=limits.wall_seconds,
                service=os.getpid(),
            )
            return launching.outcome(launching.launch(request, limits, group.lock), limits)

    def _group(self, limits: Limits) -> cgroups.Group:
        """A control group of the run's own; its number is also the run's user."""
        first = self.settings.uid_first
        try:
            tree = cgroups.tree(self.settings.cgroup)
            tree.sweep()
            return tree.claim(limits, range(first, first + self.settings.uid_count))
        except BlockingIOError as error:
            raise Unfit(f"{error.strerror}; wait, or raise it.") from None
        except OSError as error:
            raise Unfit(f"No control group could be made for a run: {error}. {_DELEGATE}") from None


def program() -> Layer:
    path = shutil.which("bwrap")
    if path is None:
        return Layer("program", False, "bubblewrap is not installed", _INSTALL)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    version = tuple(map(int, re.findall(r"\d+", said)[:2]))
    return Layer("program", version >= _OLDEST, said.strip() or "does not start", _INSTALL)


def namespaces() -> Layer:
    """Whether a user namespace can be made here; with one come all the others."""
    command = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "true"]
    try:
        works = subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        works = False
    mend = "Allow them: sysctl -w user.max_user_namespaces=10000 (or kernel.unprivileged_userns_clone=1)."
    return Layer("user namespaces", works, "can be made" if works else "cannot be made", mend)


def control_group(settings: Isolation) -> Layer:
    name = "control group"
    try:
        tree = cgroups.tree(settings.cgroup)
    except OSError as error:
        return Layer(name, False, str(error), _DELEGATE)
    return Layer(name, True, ", ".join(sorted({str(parent) for parent in tree.parents.values()})))


def powers() -> Layer:
    """What root needs to give each run mounts and a user of its own; root in a container may lack it."""
    name = "mounts and users"
    if os.geteuid():
        return Layer(name, True, "not root: bubblewrap makes them in a user namespace")
    status = Path("/proc/self/status").read_text()
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    lacking = [power for power, bit in _POWERS.items() if not held >> bit & 1]
    mend = f"Start the container with {', '.join(_POWERS)}, or start as an ordinary user."
    return Layer(name, not lacking, f"root without {', '.join(lacking)}" if lacking else "may be made", mend)


def kernel_rules() -> Layer:
    """Behind namespaces any version will do: it is the second fence around files."""
    found = abi()
    words = f"ABI {found}" if found else "not in this kernel, or switched off"
    return Layer("Landlock", found > 0, words, "Use Linux 5.13 or newer, started with lsm=landlock.")


def must_hold(limits: Limits) -> dict[str, int]:
    everything = per_process.before(limits) | per_process.within(limits)
    return {name: value for name, value in everything.items() if name != "MSGQUEUE"}


def _bubblewrap(limits: Limits, seen: Mapping[Path, Path], files: Mapping[str, int], outer: int) -> list[str]:
    """The command line up to `--`: what is seen inside, from where, and nothing else; `outer` comes last."""
    command = [shutil.which("bwrap") or "bwrap", *_NAMESPACES]
    for variable, value in staging.ENVIRONMENT.items():
        command += ["--setenv", variable, value]
    for path in staging.system():
        command += ["--ro-bind", str(path), str(path)]
    for path, target in staging.system_links().items():
        command += ["--symlink", target, str(path)]
    command += ["--dev", "/dev", "--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    command += ["--size", str(limits.scratch_mb * per_process.MB), "--tmpfs", "/tmp"]
    for inside, source in seen.items():
        command += ["--ro-bind", str(source), str(inside)]
    for inside_file, descriptor in files.items():
        command += ["--ro-bind-data", str(descriptor), inside_file]
    return [*command, "--chdir", "/tmp", "--remount-ro", "/", "--seccomp", str(outer), "--"]


@contextmanager
def _descriptors(contents: Mapping[str, bytes]) -> Iterator[dict[str, int]]:
    opened = staging.descriptors(contents)
    try:
        yield opened
    finally:
        for descriptor in opened.values():
            os.close(descriptor)
