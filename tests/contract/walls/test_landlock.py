"""Behind the Landlock wall: what holds, which limit is named, what is left, and every refusal."""

import json
import os
import pwd
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import complete, landlock, landlock_rules, seccomp, staging
from sandbox.submissions.isolation.backend import End, Job, Layer, Limits, Outcome
from sandbox.submissions.isolation.folders import run_folder
from sandbox.submissions.isolation.landlock import Landlock

LIMITS = Limits(cpu_seconds=4, wall_seconds=60, memory_mb=600, log_bytes=4_000, artifact_bytes=1_000_000)


@pytest.fixture(scope="module")
def wall():
    made = Landlock(Isolation())
    missing = complete.missing(made)
    if missing:
        pytest.skip(complete.words("landlock", missing))
    return made


def run(wall, body, limits=LIMITS, **files):
    program = "def main(argv):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    staged = {name.replace("__", "."): text.encode() for name, text in files.items()}
    return wall.run(Job({"program.py": program.encode(), **staged}, {"asked": 1}, "program"), limits)


def test_bytes_come_out_and_the_files_and_the_request_go_in(wall):
    outcome = run(wall, """
        import os, pathlib
        stage = pathlib.Path(argv[1])
        os.write(3, (stage / "note.txt").read_bytes() + (stage / "request.json").read_bytes())
    """, note__txt="note")  # fmt: skip
    assert (outcome.end, outcome.artifact) == (End.FINISHED, b'note{"asked": 1}')


@pytest.mark.parametrize(
    ("body", "end", "setting"),
    [
        ("while True: pass", End.CPU, "4 seconds of processor time (isolation.cpu_seconds)"),
        ("import time; time.sleep(60)", End.WALL, "2 seconds (isolation.wall_seconds)"),
        (
            "b = []\nwhile True: b.append(bytearray(10**8))",
            End.MEMORY,
            "600 MB of memory (isolation.memory_mb)",
        ),
        (
            "import threading, time\n"
            "for i in range(200): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            End.PROCESSES,
            "64 processes and threads (isolation.processes)",
        ),
        (
            "import os\nwhile True: os.write(3, b'x' * 10**6)",
            End.ARTIFACT,
            "1,000,000 bytes (isolation.artifact_mb)",
        ),
        ("raise SystemExit(9)", End.FAILED, "exit code 9"),
    ],
)
def test_the_limit_that_was_hit_is_named_with_its_setting(wall, body, end, setting):
    limits = replace(LIMITS, wall_seconds=2) if end is End.WALL else LIMITS
    outcome = run(wall, body, limits)
    assert outcome.end is end
    assert setting in outcome.words


def test_memory_that_belongs_to_no_process_is_refused(wall):
    assert "Operation not permitted" in run(wall, "import mmap; mmap.mmap(-1, 10**9)").log


def test_a_flood_of_words_is_cut_and_what_acts_is_escaped(wall):
    outcome = run(wall, r"print('\x1b[2J' + 'x' * 10**6)")
    assert outcome.log_cut
    assert len(outcome.log) < 5_000
    assert "\x1b" not in outcome.log


def test_the_environment_of_the_service_does_not_go_in(wall, monkeypatch):
    monkeypatch.setenv("NDL_SECRET", "s3cret")
    assert "s3cret" not in run(wall, "import os; print(dict(os.environ))").log


def test_nothing_is_left_however_a_run_ends(wall, run_folders):
    for body in (
        "pass",
        "raise SystemExit(3)",
        "import os, signal; os.kill(os.getpid(), 9)",
        "while True: pass",
    ):
        run(wall, body, replace(LIMITS, cpu_seconds=1))
    assert len(run_folders) == 4
    assert not any(folder.exists() for folder in run_folders)
    commands = [_text(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [c for c in commands if any(str(folder).encode() in c for folder in run_folders)]


def _text(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run each submission as a user of its own")
def test_as_root_two_runs_at_once_are_two_users_and_neither_is_root(wall):
    with landlock._own_user(wall.settings) as first, landlock._own_user(wall.settings) as second:
        assert first != second
    outcome = run(wall, "import os; print(os.getresuid(), os.getresgid(), os.getgroups())")
    assert "(61695, 61695, 61695) (61695, 61695, 61695) []" in outcome.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else to ask")
@pytest.mark.parametrize(
    ("who", "said"),
    [
        (["--reuid", "61183", "--regid", "61183", "--clear-groups"], "runs as uid 61183"),
        (["--bounding-set", "-sys_admin"], "where it lies, for every user"),
    ],
    ids=["an ordinary user", "root who may not mount"],
)
def test_the_wall_is_whole_too_for(who, said, tmp_path):
    """With a Python that everybody can reach: root's own may lie in a home that nobody else can enter."""
    python, code = Path("/usr/bin/python3"), Path(landlock.__file__).parents[3]
    same = f"import sys; raise SystemExit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    if not python.exists() or subprocess.run([str(python), "-c", same], check=False).returncode:
        pytest.skip("no system Python of this version, with which anybody could load our packages")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    ask = (
        f"import sys; sys.path[1:1] = {[str(code), *packages]!r}\n"
        "from sandbox.settings import Isolation\n"
        "from sandbox.submissions.isolation.landlock import Landlock\n"
        "for layer in Landlock(Isolation()).layers(): print(layer.works, layer.name, layer.found)\n"
    )
    command = ["setpriv", *who, str(python), "-c", ask]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={"HOME": "/tmp"}, cwd="/"
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 10, done.stdout + done.stderr
    assert all(line.startswith("True") for line in lines), done.stdout
    assert said in done.stdout


def refusal(wall):
    with pytest.raises(Unfit) as refused:
        wall.run(Job({}, {}), LIMITS)
    return str(refused.value)


def test_without_landlock_it_refuses_and_says_which_kernel_has_it(monkeypatch):
    monkeypatch.setattr(landlock_rules, "abi", lambda: 5)
    said = refusal(Landlock(Isolation()))
    assert "Landlock: ABI 5" in said
    assert "Linux 6.12" in said


def test_without_seccomp_it_refuses_and_says_what_to_install(monkeypatch):
    def broken():
        raise OSError

    monkeypatch.setattr(seccomp, "inner", broken)
    said = refusal(Landlock(Isolation()))
    assert "seccomp: no filter could be written" in said
    assert "apt-get install libseccomp2" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives each run a user")
def test_without_users_that_belong_to_nobody_it_refuses_and_names_the_setting(monkeypatch):
    taken = pwd.struct_passwd(("mary", "x", 61_200, 61_200, "", "/home/mary", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [taken])
    said = refusal(Landlock(Isolation()))
    assert "mary" in said
    assert "isolation.uid_first" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's run is that user")
def test_a_python_that_the_runs_user_cannot_reach_is_a_refusal(monkeypatch, tmp_path):
    hidden = tmp_path / "home" / "python"
    hidden.mkdir(parents=True)
    hidden.parent.chmod(0o700)
    python = staging.Python(hidden, (staging.Bound(hidden, hidden),), ())
    monkeypatch.setattr(landlock, "may_mount", lambda: False)
    monkeypatch.setattr(staging, "python", lambda: python)
    said = refusal(Landlock(Isolation()))
    assert "Python in reach: not for every user" in said
    assert "CAP_SYS_ADMIN" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives each run a user")
def test_when_every_user_is_in_use_it_refuses(wall):
    with pytest.raises(Unfit, match="isolation.uid_count"), landlock._own_user(Isolation(uid_count=1)):  # noqa: SIM117
        with landlock._own_user(Isolation(uid_count=1)):
            pass


@pytest.mark.parametrize("layer", list(landlock.HELD))
def test_a_layer_that_does_not_hold_when_tried_is_a_refusal(layer, monkeypatch):
    wall = Landlock(Isolation())
    monkeypatch.setattr(wall, "_carry", lambda job, limits: _said(layer))
    said = refusal(wall)
    assert f"{layer}: something was possible" in said
    assert said.count("  - ") == 1


def _said(layer):
    found = json.dumps(dict.fromkeys(landlock.HELD, "") | {layer: "something was possible"}).encode()
    return Outcome(End.FINISHED, found, "", False, "", 0.1, 0.1)


def test_mounts_that_are_refused_are_a_refusal_with_the_kernels_words(monkeypatch):
    monkeypatch.setattr(landlock, "kernel_rules", lambda: Layer("Landlock", True, "ABI 7"))

    def refused(*_):
        raise Unfit(
            "A wall could not be put up, so nothing was run: mounts: unshare: Operation not permitted."
        )

    monkeypatch.setattr("sandbox.submissions.isolation.launching.launch", refused)
    assert "unshare: Operation not permitted" in refusal(Landlock(Isolation()))


def test_the_trial_finds_what_is_not_fenced():
    """Run with no wall at all, everything that a layer must refuse is reported as possible."""
    code = (
        "import json, os, sys\n"
        "from sandbox.submissions.isolation import inside, trial\n"
        "inside.seal = lambda: None\n"
        "trial.ATTEMPTS.pop('processes')\n"
        "trial.main(['--stage', sys.argv[1], '--artifact-fd', '1'])\n"
    )
    with run_folder({"request.json": b'{"limits": {"FSIZE": 5}}'}) as stage:
        done = subprocess.run(
            [sys.executable, "-c", code, str(stage)], capture_output=True, text=True, check=True
        )
    said = json.loads(done.stdout)
    assert said["files"]
    assert said["network"]
    assert said["limits"]
