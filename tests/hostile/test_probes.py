"""More than 300 attempts to get past each wall, against a table: a newly open one fails.

`probes/table.tsv` says for every probe what is expected behind each wall and in the control, and for one that
is open behind a wall why that does no harm. The control makes the same attempts as an ordinary user with
no wall at all: a probe that says `closed` whatever happens would show there. After a change of probes:

    python tests/hostile/test_probes.py      # prints a new table; read what changed before it is kept
"""

import http.server
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE), str(HERE.parents[1])) if path not in sys.path]
from probes import bundle, core  # noqa: E402

from sandbox.submissions.isolation.backend import End, Job, Limits  # noqa: E402

TABLE = HERE / "probes" / "table.tsv"
WALLS = ("bubblewrap", "landlock", "gvisor")
LIMITS = Limits(cpu_seconds=20, wall_seconds=40, memory_mb=1_000, log_bytes=200_000)
SECRET = "the-secret-of-the-operator-7c1f"
PROGRAM = b'''
import json
from pathlib import Path

from sandbox.submissions.isolation import inside


def main(argv):
    """What the stub does for a model.py, without torch: the second filter, then the developer's code."""
    path = Path(argv[argv.index("--stage") + 1]) / "model.py"
    inside.seal()
    exec(compile(path.read_bytes(), str(path), "exec"), {"__file__": str(path), "__name__": "model"})
    return 0
'''
NEVER_WITHOUT_A_WALL = {"kills_everything_it_may", "kills_its_parent"}
"""They would end this test."""
MOST_OPEN = 3
NOBODY = 65_534


@contextmanager
def surroundings():
    """What a probe aims at, all of it ours: a file, a process, services, a name and a secret."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir="/tmp", prefix="probed-")))
        folder.chmod(0o777)
        canary = folder / "of-another-run"
        canary.write_text("seen")
        canary.chmod(0o666)
        path = folder / "service"
        listening = held.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o777)
        abstract = held.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind("\0" + folder.name)
        abstract.listen()
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        held.callback(web.server_close)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        held.callback(web.shutdown)
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        held.callback(other.wait)
        held.callback(other.kill)
        yield {
            "canary": str(canary),
            "unix": str(path),
            "abstract": folder.name,
            "port": web.server_port,
            "outside": other.pid,
            "project": str(HERE.parents[1] / "pyproject.toml"),
            "home": str(a_file_at_home()),
            "packages": str(Path(pytest.__file__).parents[1]),
            "machine": platform.node(),
            "secret": SECRET,
            "session": os.getsid(0),
        }


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def a_file_at_home():
    return next((path for path in Path.home().glob(".*rc") if path.is_file()), Path.home() / ".profile")


def behind(wall, place):
    """Every probe's verdict behind this wall: most in one run, those that may end it each in its own."""
    found = bundle.verdicts(_run(wall, place, bundle.names()).log)
    for name in bundle.names(alone=True):
        outcome = _run(wall, place, [name])
        found[name] = bundle.verdicts(outcome.log).get(name) or _of_the_end(name, outcome)
    return found


def _run(wall, place, chosen):
    files = {"probes_inside.py": PROGRAM, "model.py": bundle.pack(place, chosen)}
    return wall.run(Job(files, {}, "probes_inside"), LIMITS)


def _of_the_end(name, outcome):
    """A probe that said nothing: closed when the wall killed it for trying, and open when it killed the run."""
    deaths = [int(number) for number in core.PROBES[name].dies_of]
    if any(f"signal {number}" in outcome.words for number in deaths):
        return bundle.Verdict("closed", outcome.words)
    return bundle.Verdict("broken" if outcome.end is End.FINISHED else "open", outcome.words)


def without_a_wall(place, folder):
    """The same as an ordinary user: nobody, where these tests run as root."""
    folder.chmod(0o777)
    model = folder / "model.py"
    chosen = [
        name for name in (*bundle.names(), *bundle.names(alone=True)) if name not in NEVER_WITHOUT_A_WALL
    ]
    model.write_bytes(b"__file__ = %r\n" % str(model) + bundle.pack(place, chosen))
    model.chmod(0o666)
    environment = {"TMPDIR": str(folder), "PATH": os.environ["PATH"], "LEFT_BEHIND": SECRET}
    ended = subprocess.run(
        [_a_python_for_all(), "-I", str(model)], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=120, **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}),
    )  # fmt: skip
    return bundle.verdicts(ended.stdout + "\n" + ended.stderr)


def _a_python_for_all():
    """One that an ordinary user may start: ours, or the system's where ours lies in root's home."""
    real = Path(sys.executable).resolve()
    open_to_all = all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    return sys.executable if open_to_all or os.getuid() else "/usr/bin/python3"


def table():
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()]
    assert lines[0] == ["probe", "family", *WALLS, "control", "why open"]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}


def test_the_table_lists_every_probe_and_explains_every_open_one():
    rows, probes = table(), {name for alone in (False, True) for name in bundle.names(alone)}
    assert rows.keys() == probes
    assert len(rows) >= 120
    assert all(row["family"] == core.PROBES[name].family for name, row in rows.items())
    words = {row[wall] for row in rows.values() for wall in WALLS}
    assert words <= {"closed", "open"}
    for name, row in rows.items():
        is_open = any(row[wall] == "open" for wall in WALLS)
        assert bool(row["why open"]) == is_open, name
    assert sum(row["bubblewrap"] == "open" for row in rows.values()) <= MOST_OPEN


def test_what_the_table_calls_closed_is_closed(backends):
    with surroundings() as place:
        found = behind(backends, place)
    rows = table()
    assert found.keys() == rows.keys(), "a probe said nothing"
    broken = {name: verdict.note for name, verdict in found.items() if verdict.word == "broken"}
    assert not broken
    opened = {n: v.note for n, v in found.items() if v.word == "open" and rows[n][backends.name] == "closed"}
    assert not opened, "the wall has a new hole"


def test_the_probes_are_alive_most_get_through_where_there_is_no_wall(tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, surroundings() as place:
        found = without_a_wall(place, Path(folder))
    rows = table()
    assert found.keys() == rows.keys() - NEVER_WITHOUT_A_WALL
    expected = {name for name, row in rows.items() if row["control"] == "open"}
    opened = {name for name, verdict in found.items() if verdict.word == "open"}
    assert len(expected) >= 150
    missing = expected - opened
    assert len(missing) <= 0.1 * len(expected), sorted(missing)  # machines differ in devices and sockets


def test_a_probe_that_was_not_refused_is_not_called_closed():
    """The judge itself: an odd error is broken, a refusal closed, a return open."""
    judged = {}
    for word, attempt in {
        "closed": lambda: os.open("/nowhere", os.O_RDONLY) and None,
        "broken": lambda: 1 / 0,
        "open": lambda: None,
    }.items():
        probe = core.Probe(word, "judge", attempt, core.REFUSED | {2}, False, ())
        judged[word] = core._attempt(probe)[0]
    assert judged == {word: word for word in judged}


def main():
    """Prints the table as it is now, keeping the explanations of the old one."""
    from sandbox.settings import Isolation
    from sandbox.submissions.isolation import choose

    old = table() if TABLE.exists() else {}
    found = {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, surroundings() as place:
        for wall in WALLS:
            found[wall] = behind(choose.backend(wall, Isolation()), place)
        found["control"] = without_a_wall(place, Path(folder))
    print("\t".join(("probe", "family", *WALLS, "control", "why open")))
    for name, probe in core.PROBES.items():
        words = [
            found[column].get(name, bundle.Verdict("not made", "")).word for column in (*WALLS, "control")
        ]
        print("\t".join((name, probe.family, *words, old.get(name, {}).get("why open", ""))))
    for column, verdicts in found.items():
        print(column, dict(Counter(v.word for v in verdicts.values())), file=sys.stderr)
        for name, verdict in verdicts.items():
            if verdict.word == "broken" or (verdict.word == "open" and column != "control"):
                print("  ", name, verdict.word, verdict.note[-150:], file=sys.stderr)


if __name__ == "__main__":
    signal.alarm(300)
    main()
