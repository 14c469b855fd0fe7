"""Does a wall hold? Run inside it instead of a submission: tries what each layer must refuse, and says so.

The artifact is JSON: for each layer "" when it held, else what was possible.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox.submissions.isolation import inside
from sandbox.submissions.isolation.limits import SECOND_TO_SAY_WHY

PROGRAM = "sandbox.submissions.isolation.trial"
Asked = dict[str, dict[str, int]]


def main(argv: list[str]) -> int:
    stage, artifact = Path(argv[1]), int(argv[3])
    asked = json.loads((stage / "request.json").read_text())
    inside.seal()
    said = {name: attempt(asked) for name, attempt in ATTEMPTS.items()}
    with os.fdopen(artifact, "wb") as file:
        file.write(json.dumps(said).encode())
    return 0


def _files(asked: Asked) -> str:
    stage = Path(sys.argv[0]).parent
    return (
        _refused("reading /etc/passwd", lambda: Path("/etc/passwd").read_bytes())
        or _refused("reading another process", _others)
        or _refused("listing a folder", lambda: os.listdir("/home"))
        or _refused("writing beside the program", lambda: (stage / "written").write_bytes(b""))
        or _refused("writing elsewhere", lambda: Path("/var/tmp/ndl-trial").write_bytes(b""))
    )


def _others() -> None:
    """Where this process is number 1 there are no others."""
    if os.getpid() == 1:
        raise ProcessLookupError
    Path("/proc/1/environ").read_bytes()


def _network(asked: Asked) -> str:
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_VSOCK):
        said = _refused(f"a socket of {family.name}", partial(_opened, family))
        if said:
            return said
    return ""


def _opened(family: socket.AddressFamily) -> None:
    socket.socket(family, socket.SOCK_STREAM).close()


def _processes(asked: Asked) -> str:
    return (
        _refused("a new process", _fork)
        or _refused("a new program", lambda: os.execv(sys.executable, [sys.executable, "-c", ""]))
        or _refused("a signal to another process", lambda: os.kill(os.getppid() or 1, 0))
    )


def _fork() -> None:
    if not os.fork():
        os._exit(0)


def _user(asked: Asked) -> str:
    if 0 in (os.getuid(), os.geteuid()):
        return "runs as root"
    return _refused("becoming root", lambda: os.setuid(0))


def _limits(asked: Asked) -> str:
    for name, most in asked["limits"].items():
        found = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        if resource.RLIM_INFINITY in found or found[0] > most or found[1] > most + SECOND_TO_SAY_WHY:
            return f"{name} is not limited"
    return ""


def _nothing_handed_down(asked: Asked) -> str:
    for descriptor in range(4, 256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        return f"descriptor {descriptor} is open"
    return ""


ATTEMPTS: dict[str, Callable[[Asked], str]] = {
    "files": _files,
    "network": _network,
    "processes": _processes,
    "user": _user,
    "limits": _limits,
    "descriptors": _nothing_handed_down,
}


def _refused(what: str, act: Callable[[], object]) -> str:
    try:
        act()
    except OSError:
        return ""
    return f"{what} was possible"
