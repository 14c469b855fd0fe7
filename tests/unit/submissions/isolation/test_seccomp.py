"""Both allowlists, each loaded in a process of its own and asked for what must and must not work."""

import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sandbox.submissions.isolation import seccomp

numbers = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of x86-64")
LOADED = """
import ctypes, os, resource, signal, socket, subprocess, sys, threading, errno
sys.path.append({root!r})
from sandbox.submissions.isolation import inside, seccomp
seccomp.inner(); seccomp.outer()
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return ctypes.get_errno()
inside.load(seccomp.{which}())
"""


def after(which, body):
    """What the body prints once the filter is up."""
    script = LOADED.format(root=str(Path(seccomp.__file__).parents[3]), which=which) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize("which", ["outer", "inner"])
@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
        "socket.socket(40, socket.SOCK_STREAM)",
        "socket.socketpair()",
        "os.kill(os.getpid(), 0)",
        "os.chroot('/')",
        "os.memfd_create('x')",
        "os.chmod('/tmp', 0o777)",
        "os.mknod('/tmp/never', 0o600)",
        "os.symlink('a', '/tmp/never')",
    ],
)
def test_refused_before_and_after_developer_code_starts(which, attempt):
    assert after(which, attempt).startswith("PermissionError")


@pytest.mark.parametrize(
    "attempt",
    [
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))",
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
    ],
)
def test_refused_once_developer_code_may_start(attempt):
    said = after("inner", attempt)
    assert "not permitted" in said or "not allowed" in said


def test_threads_files_and_asking_about_limits_still_work():
    body = """
    import tempfile
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
    tempfile.TemporaryFile().write(b"x")
    resource.getrlimit(resource.RLIMIT_NOFILE)
    print(sorted(seen))
    """
    assert after("inner", body) == "[0, 1, 2, 3]"


@numbers
def test_newer_doors_pretend_not_to_exist():
    clone3, io_uring_setup, no_such_call_yet = 435, 425, 999
    body = f"print([call(n, 0, 0) for n in ({clone3}, {io_uring_setup}, {no_such_call_yet})])"
    assert after("outer", body) == "[38, 38, 1]"


@numbers
def test_a_terminal_cannot_be_typed_into_even_with_high_bits_set():
    body = "print([call(16, 0, r) for r in (0x5412, 0x5412 | 1 << 32)])"
    assert after("outer", body) == "[1, 1]"


@numbers
def test_a_new_namespace_cannot_be_made():
    body = (
        "print([call(56, flag | 17) for flag in (0x10000000, 0x20000000, 0x40000000)], call(272, 0x10000000))"
    )
    assert after("outer", body) == "[1, 1, 1] 1"


def test_seal_outside_a_wall_is_an_error():
    script = "from sandbox.submissions.isolation import inside; inside.seal()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(seccomp.__file__).parents[3],
    )  # fmt: skip
    assert "there is no wall around this process" in done.stderr
