"""Behind gVisor: what its configuration gives, what holds, which limit is named, and every refusal."""

import json
import os
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import complete, gvisor
from sandbox.submissions.isolation.backend import End, Job, Layer, Limits, Outcome
from sandbox.submissions.isolation.gvisor import Gvisor

LIMITS = Limits(cpu_seconds=30, wall_seconds=90, memory_mb=400, artifact_bytes=100_000)


@pytest.fixture(scope="module")
def wall():
    made = Gvisor(Isolation())
    missing = complete.missing(made)
    if missing:
        pytest.skip(complete.words("gvisor", missing))
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
        ("b = []\nwhile True: b.append(bytearray(10**8))", End.MEMORY, "isolation.memory_mb"),
        ("import os\nwhile True: os.write(3, b'x' * 10**6)", End.ARTIFACT, "isolation.artifact_mb"),
        ("raise SystemExit(9)", End.FAILED, "exit code 9"),
    ],
)
def test_the_limit_that_was_hit_is_named_with_its_setting(wall, body, end, setting):
    outcome = run(wall, body, replace(LIMITS, cpu_seconds=3) if end is End.CPU else LIMITS)
    assert outcome.end is end
    assert setting in outcome.words


def test_a_sleeper_is_ended_and_nothing_is_left(wall, run_folders):
    outcome = run(wall, "import time; time.sleep(60)", Limits(wall_seconds=3, memory_mb=600))
    assert outcome.end is End.WALL
    assert not any(folder.exists() for folder in run_folders)


def test_the_kernel_it_sees_is_not_the_hosts(wall):
    assert os.uname().release not in run(wall, "import os; print(os.uname())").log


def test_the_configuration_gives_nothing_to_write_no_network_and_no_capability(tmp_path):
    made = gvisor.configuration(tmp_path, Job({}, {}), LIMITS)
    assert made["root"]["readonly"]
    assert all("ro" in mount["options"] for mount in made["mounts"])
    assert {"type": "network"} in made["linux"]["namespaces"]
    assert made["process"]["capabilities"] == {}
    assert made["process"]["noNewPrivileges"]
    assert made["process"]["user"]["uid"] != 0
    assert not any("NDL" in variable for variable in made["process"]["env"])


def test_its_own_seconds_which_run_on_while_it_waits_for_a_processor_end_no_run_before_its_wall_time(
    tmp_path,
):
    asked = json.loads(gvisor.configuration(tmp_path, Job({}, {}), LIMITS)["process"]["args"][-1])
    assert asked["limits"]["CPU"] >= LIMITS.wall_seconds > LIMITS.cpu_seconds
    assert gvisor._request(tmp_path, LIMITS)["cpu_seconds"] == LIMITS.cpu_seconds


def test_no_folder_that_may_hold_records_is_mounted(tmp_path):
    made = gvisor.configuration(tmp_path, Job({}, {}), LIMITS)
    checkout = Path(gvisor.__file__).parents[3]
    sources = {Path(mount["source"]) for mount in made["mounts"] if mount["type"] == "bind"}
    assert not {checkout, checkout.parent, Path("/"), Path.home(), checkout / "var"} & sources


def refusal(wall):
    with pytest.raises(Unfit) as refused:
        wall.run(Job({}, {}), LIMITS)
    return str(refused.value)


def test_without_runsc_it_refuses_and_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install runsc" in refusal(Gvisor(Isolation()))


def test_an_ordinary_user_without_user_namespaces_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    monkeypatch.setattr(gvisor, "_namespace", lambda: ["/bin/false"])
    assert "user.max_user_namespaces" in refusal(Gvisor(Isolation()))


def test_a_wall_that_could_be_put_up_yesterday_and_not_today_blames_no_submission(
    wall, monkeypatch, tmp_path
):
    (tmp_path / "runsc").write_text(
        "#!/bin/sh\ncase $1 in --version) echo runsc 1;; *) echo no >&2; exit 128;; esac"
    )
    (tmp_path / "runsc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "A wall could not be put up, so nothing was run" in refusal(wall)


def test_without_seccomp_it_refuses(monkeypatch):
    monkeypatch.setattr(
        gvisor, "system_calls", lambda: Layer("seccomp", False, "not in this kernel", "mend it")
    )
    assert "seccomp: not in this kernel. mend it" in refusal(Gvisor(Isolation()))


@pytest.mark.parametrize("layer", list(gvisor.HELD))
def test_a_layer_that_does_not_hold_when_tried_is_a_refusal(layer, monkeypatch):
    monkeypatch.setattr(gvisor, "program", lambda: Layer("runsc", True, "made up"))
    found = json.dumps(dict.fromkeys(gvisor.HELD, "") | {layer: "something was possible"}).encode()
    wall = Gvisor(Isolation())
    monkeypatch.setattr(wall, "_carry", lambda *_: Outcome(End.FINISHED, found, "", False, "", 0.1, 0.1))
    assert f"{layer}: something was possible" in refusal(wall)
