"""Whoever is killed in the middle of a run, and whoever started it: nothing stays, and it works."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.settings import Isolation
from sandbox.submissions.isolation import bubblewrap, cgroups, complete, staging

FIRST_UID, COUNT = 62_300, 4
NAMED = "import ctypes, time\nctypes.CDLL(None).prctl(15, b'python is up', 0, 0, 0)\n"
"""Set by the program itself: before that, the wall was not up and nothing of the submission ran."""
PROGRAM = NAMED + "def main(argv):\n    time.sleep(50)\n"
SERVICE = """
import sys
from sandbox.settings import Isolation
from sandbox.submissions.isolation.backend import Job, Limits
from sandbox.submissions.isolation.bubblewrap import Bubblewrap
wall = Bubblewrap(Isolation(cgroup=sys.argv[1], uid_first=int(sys.argv[2]), uid_count=4))
program = sys.argv[3]
outcome = wall.run(Job({"program.py": program.encode()}, {}, "program"), Limits(wall_seconds=60, memory_mb=400))
print(outcome.end.name, outcome.words, outcome.log)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="looks at, and prepares, what only root may")


@pytest.fixture
def group():
    """The name of control groups of this test's own; whatever is left below fails the test."""
    lacking = complete.missing(bubblewrap.Bubblewrap(Isolation()))
    if lacking:
        pytest.skip(complete.words("bubblewrap", lacking))
    name = f"ndl-test-{os.getpid()}"
    parents = set(cgroups.tree(name).parents.values())
    yield name
    for parent in parents:
        cgroups.remove([*parent.glob("run-*"), parent])


def start(group, program=PROGRAM):
    command = [sys.executable, "-c", SERVICE, group, str(FIRST_UID), program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def runs(group):
    """The processes inside the group's runs, by their numbers, but not the trial run's."""
    found = {}
    for folder in cgroups.tree(group).parents["pids"].glob("run-*"):
        with suppress(OSError):
            for process in (folder / "cgroup.procs").read_text().split():
                if '"program": "program"' in Path(f"/proc/{process}/cmdline").read_text():
                    found[int(process)] = Path(f"/proc/{process}/comm").read_text().strip()
    return found


def left(group):
    """Groups, and processes of the runs' users; a moment is allowed for the kernel to let go."""
    groups = [str(f) for parent in cgroups.tree(group).parents.values() for f in parent.glob("run-*")]
    uids = range(FIRST_UID, FIRST_UID + COUNT)
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid in uids:
                processes.append((process / "status").read_text().splitlines()[:3])
    return groups + processes


def until(found, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def inner_most(group):
    """The run's Python, once it is up."""
    return next((p for p, name in runs(group).items() if name == "python is up"), None)


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_service_killed_in_the_middle_of_a_run_leaves_nothing(group):
    service = start(group)
    assert until(lambda: inner_most(group))
    service.kill()
    service.wait()
    assert until(lambda: not left(group)), left(group)


def test_a_launcher_killed_in_the_middle_of_a_run_leaves_nothing_and_is_a_refusal(group):
    service = start(group)
    process = until(lambda: inner_most(group))
    assert process
    ancestors = [process]
    while ancestors[-1] != service.pid:
        ancestors.append(parent_of(ancestors[-1]))
    os.kill(ancestors[-2], signal.SIGKILL)
    service.communicate(timeout=30)
    assert service.returncode
    assert until(lambda: not left(group)), left(group)


def test_a_run_killed_from_outside_is_a_failure_that_names_the_signal(group):
    service = start(group)
    process = until(lambda: inner_most(group))
    assert process
    os.kill(process, signal.SIGKILL)
    said = service.communicate(timeout=30)[0]
    assert said.startswith("FAILED The run was killed")
    assert not left(group)


def test_two_runs_at_once_never_share_a_user(group):
    services = [start(group) for _ in range(2)]
    found = until(lambda: len(users := _users(group)) == 2 and users)
    for service in services:
        service.kill()
        service.wait()
    assert found
    assert until(lambda: not left(group)), left(group)


def _users(group):
    users = set()
    for process, name in runs(group).items():
        with suppress(OSError):
            if name.startswith("python"):
                users.add(Path(f"/proc/{process}").stat().st_uid)
    return users


AS_USER = """
import ctypes, json, os, sys
user, binds, command = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def do(result):
    if result: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
do(libc.unshare(0x20000))
do(libc.mount(None, b"/", None, ctypes.c_ulong(0x44000), None))
for closed, wanted in binds:
    held = os.open(wanted, os.O_PATH)
    do(libc.mount(b"tmpfs", closed.encode(), b"tmpfs", ctypes.c_ulong(0), b"mode=0755"))
    os.makedirs(wanted)
    do(libc.mount(f"/proc/self/fd/{held}".encode(), wanted.encode(), None, ctypes.c_ulong(0x5000), None))
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
os.execve(command[0], command, {"PATH": os.environ["PATH"], "HOME": "/tmp"})
"""


def test_an_ordinary_user_with_groups_of_their_own_has_the_same_wall(group):
    """In mounts where Python can be reached; the groups are handed over as an administrator would."""
    tree = cgroups.tree(group)
    if "cpuacct" not in tree.parents:
        pytest.skip("under version 2 the service itself must be inside the delegated group")
    for parent in tree.parents.values():
        for path in (parent, parent / "cgroup.procs"):
            os.chown(path, FIRST_UID, FIRST_UID)
    program = "import os\ndef main(argv):\n    print(os.getuid(), os.path.exists('/etc/passwd'))\n"
    command = [sys.executable, "-c", SERVICE, group, str(FIRST_UID), program]
    asked = json.dumps([FIRST_UID, list(_closed()), command])
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, asked],
        capture_output=True, text=True, timeout=90, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout == "FINISHED The run finished. 1000 False\n\n", done.stderr
    assert until(lambda: not left(group)), left(group)


def test_an_ordinary_user_without_groups_of_their_own_is_told_how_to_get_them(group):
    command = [sys.executable, "-c", SERVICE, group, str(FIRST_UID), PROGRAM]
    asked = json.dumps([FIRST_UID, list(_closed()), command])
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, asked],
        capture_output=True, text=True, timeout=90, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode
    assert "Delegate=yes" in done.stderr


def _closed():
    """Folders above Python that others may not enter, and what to show through them."""
    wanted = {str(staging.python().executable.parents[1])}
    for path in wanted:
        for above in reversed(Path(path).parents):
            if not above.stat().st_mode & 0o001:
                yield str(above), path
                break
