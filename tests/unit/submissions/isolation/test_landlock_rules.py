"""Landlock's rules hold in a real process: one is started for each question."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sandbox.submissions.isolation import landlock_rules

pytestmark = pytest.mark.skipif(landlock_rules.abi() < 6, reason="this kernel's Landlock is older than ABI 6")

PRELUDE = """
import os, signal, socket, subprocess, sys
from pathlib import Path
from sandbox.submissions.isolation.landlock_rules import restrict
folder, libraries = Path(sys.argv[1]), Path(sys.argv[2])
def refused(act, *arguments):
    try:
        act(*arguments)
    except PermissionError:
        return
    raise SystemExit(f"{act} was allowed")
"""


def holds(tmp_path, body):
    (tmp_path / "given").write_text("given")
    (tmp_path / "open").mkdir()
    (tmp_path / "kept").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body), str(tmp_path), sys.base_prefix],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_only_the_given_paths_can_be_read(tmp_path):
    holds(tmp_path, """
        restrict([folder / "given"])
        assert (folder / "given").read_text() == "given"
        refused((folder / "kept").read_text)
        refused(os.listdir, folder)
        refused(open, "/etc/passwd")
        refused(open, "/proc/self/environ")
    """)  # fmt: skip


def test_nothing_is_written_where_reading_was_given(tmp_path):
    holds(tmp_path, """
        restrict([folder], write=[folder / "open"])
        refused((folder / "kept").write_text, "x")
        refused(os.truncate, folder / "kept", 0)
        refused(os.unlink, folder / "kept")
        refused(os.rename, folder / "kept", folder / "open" / "kept")
        refused(os.mkdir, folder / "new")
    """)  # fmt: skip


def test_a_folder_for_writing_takes_plain_files_and_no_links_or_pipes(tmp_path):
    holds(tmp_path, """
        restrict([libraries], write=[folder / "open"])
        place = folder / "open"
        (place / "a").write_text("a")
        (place / "b").mkdir()
        (place / "a").unlink()
        refused(os.symlink, "/etc/passwd", place / "link")
        refused(os.mkfifo, place / "pipe")
    """)  # fmt: skip


def test_only_the_named_program_can_be_started(tmp_path):
    holds(tmp_path, """
        loader = list(Path("/lib64").glob("ld-*")) or list(Path("/lib").glob("ld-*"))
        restrict([Path("/usr"), Path("/etc"), libraries], run=[Path("/usr/bin/true"), *loader])
        assert subprocess.run(["/usr/bin/true"]).returncode == 0
        refused(subprocess.run, ["/usr/bin/id"])
    """)  # fmt: skip


def test_tcp_is_refused_both_ways(tmp_path):
    holds(tmp_path, """
        restrict([libraries])
        for act in ("bind", "connect"):
            with socket.socket() as one:
                refused(getattr(one, act), ("127.0.0.1", 9))
    """)  # fmt: skip


def test_nobody_outside_can_be_signalled_or_met_on_an_abstract_socket(tmp_path):
    holds(tmp_path, """
        outside = socket.socket(socket.AF_UNIX)
        outside.bind("\\0ndl-test-" + str(os.getpid()))
        outside.listen()
        restrict([libraries])
        refused(os.kill, os.getppid(), 0)
        with socket.socket(socket.AF_UNIX) as one:
            refused(one.connect, outside.getsockname())
        os.kill(os.getpid(), 0)
    """)  # fmt: skip


def test_a_missing_path_is_an_error_and_restricts_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        landlock_rules.restrict([Path("/nowhere/at/all")])
    assert Path("/proc/self/status").read_text()
