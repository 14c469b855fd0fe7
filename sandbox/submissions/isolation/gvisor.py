"""The wall with a kernel of its own: gVisor's `runsc` answers the run's system calls, not the host's kernel.

Optional, and used where `isolation.backend` names it. The run sees a read-only root with Python, our
package and the submission, and no network but an empty one; as in the Landlock wall it is one process that
starts no other and writes nothing (see `alone`), held by gVisor's own limits and, for processor time, by
the host's as well. As root, runsc drops what it does not need; an ordinary user starts it in a user
namespace. Debian's runsc passes no descriptors: the artifact leaves by standard output, the log by the
standard error, and `alone` puts both where programs expect them.

Measured with runsc 20221219 on Linux 6.18 (platform ptrace): 0.5 s to start; torch and
a small export take 8.7 s instead of 4.5 s behind Landlock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.settings import Isolation
from sandbox.submissions.isolation import complete, launching, seccomp, staging
from sandbox.submissions.isolation.backend import Job, Layer, Limits, Outcome
from sandbox.submissions.isolation.folders import run_folder
from sandbox.submissions.isolation.landlock import must_hold as alone_must_hold
from sandbox.submissions.isolation.landlock import system_calls
from sandbox.submissions.isolation.launcher import Request

HELD = {
    "files": "only Python, our package and the submission can be read, and nothing be written",
    "network": "no socket of any family",
    "processes": "no program, no process, no signal",
    "user": "root cannot be had",
    "limits": "memory, processor time, descriptors and core dumps are limited",
    "descriptors": "nothing of the service is handed down",
}
_ALONE = staging.START.with_name("alone.py")
_USER = 1_000  # inside; means nothing outside
_MORE_SECONDS = (
    10  # of processor time for each of runsc's own processes, should whoever counts them all be late
)
_WALL = staging.FILTER.parent
# Standard output becomes the artifact pipe, which the launcher puts at 3; standard error stays the log.
# The mask is for the folders that runsc makes inside to mount on, which the run's user must enter.
_ARTIFACT_AS_OUTPUT = ["/bin/sh", "-c", 'umask 022; exec "$@" >&3 3>&-', "sh"]


class Gvisor:
    name = "gvisor"

    def __init__(self, settings: Isolation) -> None:
        self.settings = settings
        self._tried: tuple[Layer, ...] = ()

    def layers(self) -> Sequence[Layer]:
        """What a look decides, then what a trial run could not do; no trial without the former."""
        found = (program(), namespaces(), system_calls())
        if not all(layer.works for layer in found):
            return found
        if not self._tried or not all(layer.works for layer in self._tried):
            self._tried = complete.tried(self._carry, HELD, must_hold)
        return (*found, *self._tried)

    def run(self, job: Job, limits: Limits) -> Outcome:
        complete.refuse(self)
        return self._carry(job, limits)

    def _carry(self, job: Job, limits: Limits) -> Outcome:
        contents = {f"submission/{name}": data for name, data in staging.files(job).items()}
        with run_folder(contents | {"wall/inner": seccomp.inner()}) as folder:
            lay_out(folder, job, limits)
            ended = launching.launch(_request(folder, limits), limits)
            return launching.outcome(ended, limits)


def program() -> Layer:
    mend = "apt-get install runsc, or see gvisor.dev; only needed where isolation.backend is gvisor."
    path = shutil.which("runsc")
    if not path:
        return Layer("runsc", False, "not installed", mend)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    return Layer("runsc", said.startswith("runsc"), (said.splitlines() or ["does not start"])[0], mend)


def namespaces() -> Layer:
    """Only an ordinary user needs one; runsc makes root's."""
    name = "user namespace"
    if not os.geteuid():
        return Layer(name, True, "root: runsc makes its own")
    command = [*_namespace(), "true"]
    try:
        works = subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        works = False
    mend = "Allow them: sysctl -w user.max_user_namespaces=10000 (or kernel.unprivileged_userns_clone=1)."
    return Layer(name, works, "can be made" if works else "cannot be made", mend)


def must_hold(limits: Limits) -> dict[str, int]:
    """As behind Landlock, but for processor time, which gVisor counts also while it waits for a processor.

    On a busy machine its seconds are short, so they only back up those that the host counts (`launcher`).
    """
    return alone_must_hold(limits) | {"CPU": max(limits.cpu_seconds, limits.wall_seconds)}


def lay_out(folder: Path, job: Job, limits: Limits) -> None:
    """The bundle that `runsc run` is given, in `folder`: its root's links and config.json."""
    root = folder / "root"
    root.mkdir()
    for link, target in staging.system_links().items():
        (root / link.relative_to("/")).symlink_to(target)
    (folder / "state").mkdir()
    (folder / "config.json").write_text(json.dumps(configuration(folder, job, limits)))


def configuration(folder: Path, job: Job, limits: Limits) -> dict[str, Any]:
    """An OCI runtime configuration: nothing writable, no capability, namespaces of its own."""
    python = staging.python()
    seen = {bound.inside: bound.source for bound in python.bound}
    seen |= {path: path for path in staging.system()}
    seen |= {staging.STAGE: folder / "submission", _WALL: folder / "wall"}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": _USER, "gid": _USER},
            "args": [
                str(python.executable),
                "-P",
                "-s",
                "-S",
                "-B",
                str(_ALONE),
                _asked(python, job, limits),
            ],
            "env": [f"{k}={v}" for k, v in _environment().items()],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NPROC", "soft": limits.processes, "hard": limits.processes}],
        },
        "root": {"path": "root", "readonly": True},
        "hostname": "sandbox",
        "mounts": [
            *(_mount(inside, source) for inside, source in seen.items()),
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=1m"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }


def _mount(inside: Path, source: Path) -> dict[str, Any]:
    options = ["ro", "rbind", "nosuid", "nodev"]
    return {"destination": str(inside), "type": "bind", "source": str(source), "options": options}


def _asked(python: staging.Python, job: Job, limits: Limits) -> str:
    return json.dumps(
        {
            "path": [str(staging.CODE), *map(str, python.path)],
            "limits": must_hold(limits),
            "filter": str(staging.FILTER),
            "filters": [],
            "program": job.program,
            "stage": str(staging.STAGE),
            "landlock": False,
            "artifact_is_stdout": True,
        }
    )


def _environment() -> dict[str, str]:
    return staging.ENVIRONMENT | {"TORCHINDUCTOR_CACHE_DIR": str(staging.STAGE)}


def _request(folder: Path, limits: Limits) -> Request:
    rootless = ["--rootless"] if os.geteuid() else []
    runsc = [
        shutil.which("runsc") or "runsc", *rootless, "--root", str(folder / "state"), "--network=none",
        "--platform=ptrace", "--ignore-cgroups", "run", "--bundle", str(folder), folder.name,
    ]  # fmt: skip
    return Request(
        command=[*_ARTIFACT_AS_OUTPUT, *(_namespace() if rootless else []), *runsc],
        environment={"PATH": os.defpath, "HOME": str(folder)},
        keep=[],
        groups=[],
        processor_file="",
        stage="",
        binds=[],
        user=None,
        limits={"CORE": 0, "CPU": limits.cpu_seconds + _MORE_SECONDS},
        cpu_seconds=limits.cpu_seconds,
        wall_seconds=limits.wall_seconds,
        service=os.getpid(),
    )


def _namespace() -> list[str]:
    return [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount"]
