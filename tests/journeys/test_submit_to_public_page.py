"""From `ndl dataset generate` to the public page, with the real commands; and nothing leaves the machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

HERE = Path(__file__).parent
SETTINGS = """
[storage]
folder = "var"
[people]
ada = ["developer"]
dana = ["custodian"]
omar = ["overseer"]
worker = ["operator"]
"""
MANIFEST = """
name = "admission"
dataset = "synthetic_health"
task = "admitted"
purpose = "teaching and testing"
recipe = "logistic"
[privacy]
epsilon = 2.0
[public]
title = "Admission"
summary = "Estimates who will be admitted."
used_for = "This test."
human_decides = "A person reads every estimate."
organisation = "A made-up trust"
responsible = "Its director"
contact = "director@trust.example"
question_a_decision = "Write to the contact above."
"""
SERVERS = ("dashboard", "demo", "jobs schedule", "site serve", "up", "worker")
WALK = [
    (0, ["", "doctor"]),
    (0, ["dana", "dataset", "generate", "people", "--rows", "3000", "--waves", "2", "--wave-rows", "2000"]),
    (0, ["dana", "dataset", "check", "people"]),
    (0, ["dana", "dataset", "add", "people"]),
    (0, ["dana", "dataset", "list"]),
    (0, ["dana", "dataset", "show", "synthetic_health"]),
    (0, ["ada", "dataset", "dummy", "synthetic_health", "--rows", "50", "--out", "dummy"]),
    (0, ["ada", "check", "submission"]),
    (0, ["ada", "submit", "submission"]),
    (0, ["worker", "train", "--all"]),
    (0, ["worker", "evaluate", "--due"]),
    (0, ["omar", "model", "list"]),
    (3, ["ada", "model", "decide", "admission/1", "champion", "--reason", "It is mine."]),
    (0, ["omar", "model", "decide", "admission/1", "champion", "--reason", "Good on the first wave."]),
    (0, ["dana", "wave", "add", "synthetic_health", "people/wave-01.parquet"]),
    (5, ["dana", "wave", "add", "synthetic_health", "bad.parquet", "--name", "bad", "--day", "2025-02-15"]),
    (0, ["worker", "evaluate", "--due"]),
    (0, ["worker", "evaluate", "--due"]),
    (0, ["dana", "wave", "list", "synthetic_health"]),
    (0, ["dana", "wave", "show", "synthetic_health/bad"]),
    (0, ["omar", "findings", "--all"]),
    (0, ["omar", "report", "admission/1", "wave-01"]),
    (0, ["omar", "model", "show", "admission/1"]),
    (0, ["omar", "release", "admission/1"]),
    (0, ["omar", "site", "build"]),
    (0, ["dana", "budget", "show"]),
    (0, ["ada", "budget", "quote", "--epsilon", "0.5", "--batch", "300", "--epochs", "3"]),
    (0, ["dana", "budget", "history"]),
    (0, ["dana", "budget", "forecast"]),
    (0, ["dana", "budget", "export", "--out", "budget.json"]),
    (4, ["worker", "budget", "release", "0123456789ab", "--reason", "The machine was lost."]),
    (0, ["omar", "audit", "show"]),
    (0, ["omar", "audit", "verify"]),
    (4, ["ada", "model", "show", "nobody/1"]),
    (3, ["ada", "jobs", "list"]),
    (0, ["omar", "jobs", "list", "--all"]),
    (0, ["omar", "jobs", "show", "evaluation|admission/1|synthetic_health/wave-01"]),
    (3, ["omar", "jobs", "retry", "evaluation|admission/1|synthetic_health/wave-01"]),
    (4, ["omar", "jobs", "cancel", "training|nobody"]),
    (0, ["worker", "jobs", "ask", "--trainings"]),
    (0, ["omar", "compare"]),
    (0, ["omar", "results", "show", "admission/1"]),
    (0, ["omar", "results", "export", "results.csv"]),
    (0, ["worker", "results", "archive", "--before", "2040-01-01"]),
    (0, ["omar", "incident", "list", "--all"]),
    (4, ["omar", "incident", "show", "nobody"]),
    (4, ["omar", "incident", "resolve", "nobody", "--reason", "It never was."]),
]
"""Each with the exit code it should end with."""
COMMANDS = [command for _, command in WALK]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A folder in which every command has been run, and what each said."""
    place = tmp_path_factory.mktemp("walk")
    (place / "ndl.toml").write_text(SETTINGS)
    (place / "submission").mkdir()
    (place / "submission" / "submission.toml").write_text(MANIFEST)
    _bad_wave(place / "bad.parquet")
    (place / "commands.json").write_text(json.dumps(COMMANDS))
    command = [sys.executable, str(HERE / "walk.py"), "commands.json"]
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "-rn", *command]  # a network namespace with no way out, whatever the library
    done = subprocess.run(
        command, cwd=place, env=_watched(place), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return place, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _watched(place):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("NDL_")}
    return {**keep, "PYTHONPATH": str(HERE / "watch"), "WATCH_OUTWARD": str(place / "outward.txt")}


def _bad_wave(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"surprise": ["secret-value-7"]}), path)


def test_every_command_ends_with_the_exit_code_it_should(walked):
    for at, said in enumerate(walked[1]):
        assert said["code"] == WALK[at][0], said
    assert len(walked[1]) == len(COMMANDS)


def test_a_developer_may_not_promote_their_own_model_and_a_bad_wave_stays_out(walked):
    said = [entry["words"] for entry in walked[1]]
    assert "overseer" in said[12]
    assert "put aside whole" in said[15]
    assert "secret-value-7" not in said[15] + said[19]


def test_evaluating_twice_stores_every_result_once(walked):
    from sandbox.records import Evaluation, Wave
    from sandbox.storage import Store

    store = Store(f"sqlite:///{walked[0]}/var/ndl.db")
    evaluations = store.all(Evaluation)
    accepted = [w for w in store.all(Wave) if w.state == "accepted"]
    evaluators = {e.evaluator for e in evaluations}
    assert len(accepted) == 2
    assert len(evaluators) >= 6
    assert len(evaluations) == len(evaluators) * len(accepted)
    assert not [e for e in evaluations if e.failure]


def test_the_public_page_shows_the_released_figures_and_no_exact_count(walked):
    place, _ = walked
    page = (place / "var/public/models/admission/index.html").read_text()
    record = json.loads((place / "var/public/models/admission/record.json").read_text())
    assert "Admission" in page
    assert "A made-up trust" in page
    for wave in record["waves"]:
        assert wave["n"] % 5 == 0


def test_the_certificate_keeps_the_epsilon_that_was_asked_for(walked):
    from sandbox.records import TrainingRun
    from sandbox.storage import Store

    (run,) = Store(f"sqlite:///{walked[0]}/var/ndl.db").all(TrainingRun)
    assert 1.8 < run.certificate["epsilon"] <= 2.0 + 1e-6
    assert run.certificate["adjacency"] == "add/remove"


def test_mlflow_serves_the_champion_to_a_process_that_never_saw_the_submission(walked):
    place, _ = walked
    code = (
        "import os; os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'true'\n"
        "import mlflow, pyarrow.parquet as pq\n"
        f"mlflow.set_tracking_uri('sqlite:///{place}/var/mlflow.db')\n"
        f"frame = pq.read_table('{place}/people/wave-02.parquet').to_pandas().head(20)\n"
        "model = mlflow.pyfunc.load_model('models:/admission@champion')\n"
        "print(len(model.predict(frame)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env=_watched(place),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "20", done.stderr[-2000:]


def test_everything_comes_up_works_answers_and_leaves_no_process_behind(walked):
    from sandbox.records import Job, Worker
    from sandbox.storage import Store

    place, _ = walked
    more = '[serving]\nlive_port=18501\nmlflow_port=15000\npublic_port=18080\n[workers]\nperson="worker"\n'
    (place / "up.toml").write_text((place / "ndl.toml").read_text() + more)
    command = [sys.executable, "-u", "-m", "sandbox.cli", "--config", "up.toml", "up"]
    up = subprocess.Popen(command, cwd=place, env=_watched(place), stdout=subprocess.PIPE, text=True)
    store = Store(f"sqlite:///{place}/var/ndl.db")
    try:
        addresses = _addresses(up)
        assert set(addresses) == {"live dashboard", "MLflow pages", "public site"}
        for address in addresses.values():
            with urllib.request.urlopen(address, timeout=20) as answer:
                assert answer.status == 200
        _evaluate_anew(store)
        first = _wait_for(lambda: store.all(Worker))[0]
        _wait_for(lambda: [job for job in store.all(Job) if job.state == "done" and job.attempt > 1])
        pid = int(first.process.split(":")[0])
        children = _descendants(up.pid)
        assert pid in children
        os.kill(pid, signal.SIGKILL)
        _wait_for(
            lambda: [w.id != first.id for w in store.all(Worker)] == [True]
        )  # a new one, which saw to it
        children |= _descendants(up.pid)
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(30) == 0
    for address in addresses.values():
        with pytest.raises(OSError):
            urllib.request.urlopen(address, timeout=2)
    assert store.all(Worker) == []
    _wait_for(lambda: not [child for child in children if Path(f"/proc/{child}").exists()])
    store.close()


def test_children_end_with_a_parent_that_is_killed(walked):
    place, _ = walked
    command = [sys.executable, "-u", "-m", "sandbox.cli", "--config", "up.toml", "up"]
    up = subprocess.Popen(command, cwd=place, env=_watched(place), stdout=subprocess.DEVNULL)
    children = _wait_for(lambda: len(_descendants(up.pid)) >= 5 and _descendants(up.pid))
    up.kill()
    up.wait()
    _wait_for(lambda: not [child for child in children if Path(f"/proc/{child}").exists()])


def _evaluate_anew(store):
    """Something is due again: a person has a job tried that had been called off."""
    from sandbox.jobs import claims
    from sandbox.roles import Person, Role

    omar = Person("omar", frozenset({Role.OVERSEER}))
    key = "evaluation|admission/1|synthetic_health/wave-01"
    claims.ask(
        store,
        [(key, "evaluation", {"model_version": "admission/1", "wave": "synthetic_health/wave-01"})],
        "omar",
    )
    claims.cancel(store, key, omar)
    claims.retry(store, key, omar)


def _wait_for(question, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := question():
            return answer
        time.sleep(0.2)
    raise AssertionError("it did not come about")


def _descendants(pid):
    """The numbers of a process's children, and of theirs."""
    found, parents = set(), {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    for child in parents:
        above = child
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and child != pid:
            found.add(child)
    return found


def _addresses(process):
    found, deadline = {}, time.monotonic() + 100
    for line in process.stdout:
        match = re.match(r"\s+(\w+ \w+)\s+(http://127\.0\.0\.1:\d+/)", line)
        if match:
            found[match[1]] = match[2]
        if len(found) == 3 or time.monotonic() > deadline:
            break
    return found


@pytest.mark.timeout(400)  # a minute alone; several on a machine that does much else
def test_the_demo_runs_to_the_public_pages(walked, tmp_path):
    folder = tmp_path / "demo"
    environment = {**_watched(walked[0]), "NDL_STORAGE__FOLDER": str(folder)}
    command = [sys.executable, "-m", "sandbox.cli", "--config", "configs/demo.toml", "demo", "--no-serve"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done in" in done.stdout
    for model in ("suspect-identified", "suspect-residual", "formal-outcome"):
        assert (folder / "public" / "models" / model / "index.html").exists()


def test_no_command_and_no_server_tried_to_leave_the_machine(walked):
    attempts = walked[0] / "outward.txt"
    assert not attempts.exists(), attempts.read_text()


def test_the_watch_sees_an_attempt_when_there_is_one(tmp_path):
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], env=_watched(tmp_path), check=True)
    assert "192.0.2.1" in (tmp_path / "outward.txt").read_text()


def test_every_command_there_is_was_walked_or_is_a_server():
    leaves = set()
    for entry in entry_points(group="ndl.commands"):
        command = entry.load()
        if isinstance(command, click.Group):
            leaves |= {f"{entry.name} {name}" for name in command.commands}
        else:
            leaves.add(entry.name)
    walked = {" ".join(words[1:3]) if " ".join(words[1:3]) in leaves else words[1] for words in COMMANDS}
    assert leaves - walked == set(SERVERS)
