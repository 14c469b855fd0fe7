"""Behind bubblewrap: what holds, which limit is named, what is left, and every refusal."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import bubblewrap, cgroups, complete
from sandbox.submissions.isolation.backend import End, Job, Layer, Limits, Outcome
from sandbox.submissions.isolation.bubblewrap import Bubblewrap

LIMITS = Limits(cpu_seconds=20, wall_seconds=60, memory_mb=400, artifact_bytes=100_000)


@pytest.fixture(scope="module")
def wall():
    made = Bubblewrap(Isolation())
    missing = complete.missing(made)
    if missing:
        pytest.skip(complete.words("bubblewrap", missing))
    return made


def run(wall, body, limits=LIMITS):
    program = "def main(argv):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    return wall.run(Job({"program.py": program.encode()}, {"asked": 1}, "program"), limits)


def test_bytes_come_out_and_the_request_goes_in(wall):
    outcome = run(wall, "import os, pathlib; os.write(3, pathlib.Path(argv[1], 'request.json').read_bytes())")
    assert (outcome.end, outcome.artifact) == (End.FINISHED, b'{"asked": 1}')


@pytest.mark.parametrize(
    ("body", "end", "setting"),
    [
        ("while True: pass", End.CPU, "isolation.cpu_seconds"),
        ("import time; time.sleep(60)", End.WALL, "isolation.wall_seconds"),
        ("b = []\nwhile True: b.append(bytearray(10**8))", End.MEMORY, "isolation.memory_mb"),
        ("import os\nwhile os.fork() >= 0: pass", End.PROCESSES, "isolation.processes"),
        ("import os\nwhile True: os.write(3, b'x' * 10**6)", End.ARTIFACT, "isolation.artifact_mb"),
        ("raise SystemExit(9)", End.FAILED, "exit code 9"),
    ],
)
def test_the_limit_that_was_hit_is_named_with_its_setting(wall, body, end, setting):
    lower = {End.CPU: {"cpu_seconds": 2}, End.WALL: {"wall_seconds": 2}}.get(end, {})
    outcome = run(wall, body, replace(LIMITS, **lower))
    assert outcome.end is end
    assert setting in outcome.words


def test_processor_time_is_counted_over_all_processes_of_a_run(wall):
    body = (
        "import os, time\nfor _ in range(3):\n    if not os.fork():\n        while True: pass\ntime.sleep(50)"
    )
    outcome = run(wall, body, replace(LIMITS, cpu_seconds=2))
    assert outcome.end is End.CPU
    assert outcome.cpu_seconds < 5


def test_it_sees_no_file_of_this_machine_not_even_that_it_is_there(wall):
    asked = ["/etc/passwd", "/home", "/var", "/proc/self", "/sys", "/run", "/mnt", "/usr/bin"]
    assert run(wall, f"import os; print([p for p in {asked} if os.path.lexists(p)])").log == "[]\n"


def test_nothing_is_left_however_a_run_ends(wall, run_folders, monkeypatch):
    groups, claim = [], cgroups.Tree.claim
    monkeypatch.setattr(
        cgroups.Tree, "claim", lambda *a: groups.extend((group := claim(*a)).folders) or group
    )
    for body in ("pass", "raise SystemExit(3)", "import os\nif not os.fork(): __import__('time').sleep(50)"):
        run(wall, body)
    assert groups
    assert not any(folder.exists() for folder in run_folders)
    left = [process for group in groups for process in _processes(group)]
    assert not left


def _processes(group):
    """Who is in it; another run may have been given the same number since."""
    try:
        ours = (group / "cgroup.procs").read_text().split()
        return [p for p in ours if b"program" in Path(f"/proc/{p}/cmdline").read_bytes()]
    except FileNotFoundError:
        return []


def refusal(wall):
    with pytest.raises(Unfit) as refused:
        wall.run(Job({}, {}), LIMITS)
    return str(refused.value)


def test_without_the_program_it_refuses_and_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install bubblewrap" in refusal(Bubblewrap(Isolation()))


def test_a_program_too_old_to_forbid_further_user_namespaces_is_refused(monkeypatch, tmp_path):
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.7.0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "program: bubblewrap 0.7.0" in refusal(Bubblewrap(Isolation()))


def test_without_a_control_group_it_refuses_and_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "tree", partial(cgroups.tree, root=tmp_path))
    said = refusal(Bubblewrap(Isolation()))
    assert f"memory: {tmp_path}/memory is no control group" in said
    assert "Delegate=yes" in said


@pytest.mark.parametrize(
    ("look", "name"),
    [("namespaces", "user namespaces"), ("kernel_rules", "Landlock"), ("system_calls", "seccomp")],
)
def test_a_layer_that_this_machine_lacks_is_a_refusal(look, name, monkeypatch):
    monkeypatch.setattr(bubblewrap, look, lambda: Layer(name, False, "not here", "mend it"))
    assert f"{name}: not here. mend it" in refusal(Bubblewrap(Isolation()))


@pytest.fixture
def open_folder():
    """One that a run's user can reach; /tmp is not seen once its mounts are made."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_bubblewrap_that_may_make_no_namespace_is_refused_in_its_own_words(wall, monkeypatch, open_folder):
    hindered = open_folder / "bwrap"
    hindered.write_text(
        "#!/bin/sh\ncase $1 in --version) echo bubblewrap 0.8.0;;\n"
        "*) echo 'bwrap: No permissions to create new namespace' >&2; exit 1;; esac\n"
    )
    hindered.chmod(0o755)
    monkeypatch.setenv("PATH", f"{open_folder}:{os.environ['PATH']}")
    said = refusal(Bubblewrap(Isolation()))
    assert "trial run" in said
    assert "No permissions to create new namespace" in said


def test_a_wall_that_could_be_put_up_yesterday_and_not_today_blames_no_submission(
    wall, monkeypatch, open_folder
):
    """Found complete, and then the kernel refuses a namespace (an administrator's sysctl, or too many)."""
    (open_folder / "bwrap").write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed' >&2; exit 1\n")
    (open_folder / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{open_folder}:{os.environ['PATH']}")
    said = refusal(wall)
    assert "nothing was run" in said
    assert "Creating new namespace failed" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has them to lose")
@pytest.mark.parametrize("power", ["sys_admin", "setuid", "setgid"])
def test_root_without_the_power_to_make_mounts_and_users_is_refused(power):
    asks = (
        "from sandbox.settings import Isolation; from sandbox.submissions.isolation import bubblewrap as b;"
    )
    asks += "from sandbox.submissions.isolation.backend import *; b.Bubblewrap(Isolation()).run(Job({}, {}), Limits())"
    without = ["setpriv", "--inh-caps", f"-{power}", "--bounding-set", f"-{power}"]
    done = subprocess.run(
        [*without, sys.executable, "-c", asks],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert f"mounts and users: root without CAP_{power.upper()}" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives each run a user")
def test_users_that_belong_to_somebody_are_refused(monkeypatch):
    monkeypatch.setattr(
        bubblewrap, "a_user", lambda _: Layer("user of its own", False, "mary's", "uid_first")
    )
    assert "mary's. uid_first" in refusal(Bubblewrap(Isolation()))


@pytest.mark.parametrize("layer", list(bubblewrap.HELD))
def test_a_layer_that_does_not_hold_when_tried_is_a_refusal(layer, monkeypatch):
    for look in ("program", "namespaces", "powers", "system_calls", "kernel_rules"):
        monkeypatch.setattr(bubblewrap, look, lambda: Layer("made up", True, "made up"))
    for look in ("control_group", "a_user"):
        monkeypatch.setattr(bubblewrap, look, lambda _: Layer("made up", True, "made up"))
    found = json.dumps(dict.fromkeys(bubblewrap.HELD, "") | {layer: "something was possible"}).encode()
    wall = Bubblewrap(Isolation())
    monkeypatch.setattr(wall, "_carry", lambda *_: Outcome(End.FINISHED, found, "", False, "", 0.1, 0.1))
    assert f"{layer}: something was possible" in refusal(wall)
