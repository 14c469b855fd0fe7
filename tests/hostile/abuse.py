"""What can a run do to the machine that it cannot read? Each function is one way of taking too much.

Staged as a wall's own program, without torch, so that a run takes a second; `SEALED` ones run as a
developer's code does, after `inside.seal()`, the others before it, as if that filter had been passed.
Never run this outside a wall.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

MB = 1_000_000
ABUSES = {}
SEALED = set()


def abuse(attempt):
    """Runs before the second filter."""
    ABUSES[attempt.__name__] = attempt
    return attempt


def sealed(attempt):
    SEALED.add(attempt.__name__)
    return abuse(attempt)


def main(argv):
    stage = Path(argv[argv.index("--stage") + 1])
    name = json.loads((stage / "request.json").read_text())["abuse"]
    if name in SEALED:
        from sandbox.submissions.isolation import inside

        inside.seal()
    ABUSES[name](int(argv[argv.index("--artifact-fd") + 1]))
    return 0


def say(text):
    os.write(1, text.encode() + b"\n")


# Processes


@abuse
def fork_bomb(_):
    while True:
        with contextlib.suppress(OSError):
            os.fork()


@abuse
def fork_bomb_that_reports(_):
    while True:
        if not os.fork():
            time.sleep(60)


@sealed
def fork_bomb_behind_the_seal(_):
    while True:
        os.fork()


@sealed
def thread_bomb(_):
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


@abuse
def zombie_bomb(_):
    while True:
        if not os.fork():
            os._exit(0)


@abuse
def daemon_that_holds_the_pipes(_):
    if not os.fork():
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        if not os.fork():
            time.sleep(60)
        os._exit(0)
    say("parent done")


@abuse
def grandchild_that_goes_on_writing(artifact):
    """To both pipes, after its parents have ended."""
    if not os.fork():
        if not os.fork():
            while True:
                os.write(artifact, b"x")
                os.write(1, b"y")
        os._exit(0)
    os.wait()


@abuse
def exec_loop(_):
    """A new program, with a new process name and the same number, again and again."""
    os.execv(sys.executable, sys.orig_argv)


@sealed
def exec_behind_the_seal(_):
    os.execv(sys.executable, [sys.executable, "-c", ""])


@sealed
def kill_whoever_is_there(_):
    for target in (0, 1, -1, os.getppid()):
        _try("killed", lambda target=target: os.kill(target, signal.SIGKILL))
    _try("killed its group", lambda: os.killpg(0, signal.SIGKILL))
    libc = ctypes.CDLL(None, use_errno=True)
    for number in {1, 2, os.getppid()} - {0, os.getpid()}:
        _try("killed by thread", lambda number=number: _called(libc.tgkill(number, number, 9)))


@sealed
def outlive_whoever_started_it(_):
    libc = ctypes.CDLL(None, use_errno=True)
    _try("has no death signal", lambda: _called(libc.prctl(1, 0, 0, 0, 0)))
    _try("collects orphans", lambda: _called(libc.prctl(36, 1, 0, 0, 0)))
    _try("leads a session", os.setsid)
    _try("leads a group", lambda: os.setpgid(0, 0))


def _try(what, act):
    try:
        act()
    except OSError as error:
        say(f"refused: {error.strerror}")
    else:
        say(f"DONE: {what}")


def _called(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@abuse
def daemon_that_lets_go(_):
    if not os.fork():
        os.closerange(0, 256)
        if not os.fork():
            time.sleep(60)
        os._exit(0)
    say("parent done")


@abuse
def children_that_spin(_):
    for _child in range(3):
        if not os.fork():
            break
    while True:
        pass


# Memory


@sealed
def memory_bomb(_):
    held = []
    while True:
        held.append(bytearray(b"x") * (16 * MB))


@abuse
def memory_bomb_of_many(_):
    """Each child stays below the limit of one process; together they do not."""
    for _child in range(6):
        if not os.fork():
            held = [bytearray(b"x") * (10 * MB) for _part in range(10)]
            time.sleep(60)
            del held
    time.sleep(60)


@sealed
def mapping_bomb(_):
    held = []
    while True:
        page = mmap.mmap(-1, 64 * MB)
        page.write(b"x" * (64 * MB))
        held.append(page)


@sealed
def memory_bomb_in_shared_memory_files(_):
    number = 0
    while True:
        number += 1
        with open(f"/dev/shm/{number}", "wb", buffering=0) as file:
            if file.write(b"x" * MB) < MB:
                raise OSError(errno.ENOSPC, "it is full")


@sealed
def memory_bomb_in_files_without_a_name(_):
    """Counted by nobody's address space."""
    held = []
    while True:
        held.append(os.memfd_create("held"))
        os.write(held[-1], b"x" * (16 * MB))


# Files


@sealed
def disk_bomb(_):
    number = 0
    while True:
        number += 1
        with open(_scratch(str(number)), "wb", buffering=0) as file:
            if file.write(b"x" * MB) < MB:
                raise OSError(errno.ENOSPC, "it is full")


@sealed
def disk_bomb_in_one_file(_):
    with open(_scratch("big"), "wb", buffering=0) as file:
        while True:
            if file.write(b"x" * MB) < MB:
                raise OSError(errno.ENOSPC, "it is full")


@sealed
def inode_bomb(_):
    number = 0
    while True:
        number += 1
        os.close(os.open(_scratch(str(number)), os.O_CREAT | os.O_WRONLY))


@sealed
def folder_bomb(_):
    """Deeper than any path may be long: a naive clean-up cannot name it."""
    os.chdir(_scratch(""))
    for _depth in range(500):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    say("dug")


@sealed
def descriptor_bomb(_):
    while True:
        os.dup(1)


@sealed
def descriptors_in_flight(_):
    """What is under way in a socket counts against nobody's limit of open files."""
    import socket

    here, there = socket.socketpair()
    while True:
        socket.send_fds(here, [b"x"], [1, 2, there.fileno()])


@sealed
def pipe_bomb(_):
    """Every pipe holds 64 kB of the kernel's memory."""
    while True:
        end = os.pipe()[1]
        os.set_blocking(end, False)
        os.write(end, b"x" * 65_536)


def _scratch(name):
    return os.path.join(os.environ.get("TMPDIR") or "/tmp", name)


# Time


@sealed
def spin(_):
    while True:
        pass


@sealed
def spin_and_ignore_every_signal(_):
    _ignore_everything()
    while True:
        pass


@sealed
def spin_in_threads(_):
    for _thread in range(4):
        threading.Thread(target=lambda: hash_for_ever(b"x" * MB), daemon=True).start()
    time.sleep(60)


def hash_for_ever(data):
    import hashlib

    while True:
        hashlib.sha256(data).digest()  # without the interpreter's lock


@sealed
def sleep_for_ever(_):
    time.sleep(1e6)


@sealed
def sleep_and_ignore_every_signal(_):
    _ignore_everything()
    time.sleep(1e6)


def _ignore_everything():
    for number in range(1, 65):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))


@abuse
def stop_itself(_):
    getattr(ctypes.CDLL(None), "raise")(signal.SIGSTOP)
    time.sleep(1e6)


@sealed
def wait_for_itself(_):
    """Asleep in the kernel, in a read that never ends."""
    os.read(os.pipe()[0], 1)


# Logs


@sealed
def log_bomb(_):
    for _line in range(4_000):
        os.write(1, b"a line like any other, and another, and another ....\n" * 200)


@sealed
def log_bomb_without_end(_):
    while True:
        os.write(2, b"x" * 65_536)


@sealed
def log_drip(_):
    while True:
        os.write(1, b".")
        time.sleep(0.01)


@sealed
def log_that_acts_on_a_terminal(_):
    os.write(1, b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[8mhidden\rForged: ok\x08\x08\x00\x7f\x9b31m\n")
    os.write(2, "\u202egnp.exe\u2066\u2069\u200b\ufeff\u061c \u0085\u2028\u2029\n".encode())


@sealed
def log_that_is_no_text(_):
    os.write(1, bytes(range(256)) * 16 + b"\xf0\x9f\x98" + b"\xed\xa0\x80" + b"\xff\xfe\n")


@sealed
def log_line_without_end_and_marks(_):
    os.write(1, ("Z" + "\u0301" * 5_000).encode())


# The artifact


@sealed
def artifact_bomb(artifact):
    while True:
        os.write(artifact, b"x" * 65_536)


@sealed
def artifact_trickle(artifact):
    while True:
        os.write(artifact, b"x")
        time.sleep(0.01)


@sealed
def half_an_artifact(artifact):
    os.write(artifact, b'{"format":"ndl-record-graph/1","inputs":[')
    os.abort()


@sealed
def artifact_of_junk(artifact):
    os.write(artifact, bytes(range(256)) * 100)


@sealed
def artifact_by_the_log_and_log_by_the_artifact(artifact):
    kept = os.dup(artifact)
    os.dup2(1, artifact)
    os.dup2(kept, 1)
    os.write(1, b"meant for the log\n")
    os.write(artifact, b"meant for the artifact\n")


@sealed
def close_everything_and_stay(_):
    os.closerange(0, 256)
    time.sleep(1e6)


@sealed
def close_everything_and_spin(_):
    os.closerange(0, 256)
    while True:
        pass


# Endings


@sealed
def close_the_pipes_and_reuse_their_numbers(artifact):
    """What is written next goes to a pipe of its own."""
    os.closerange(0, 16)
    ends = os.pipe() + os.pipe()
    for number, place in zip(ends, range(4), strict=True):
        os.dup2(number, place)
    os.write(artifact, b"to nobody")


@sealed
def crash(_):
    ctypes.string_at(0)


@sealed
def recurse_until_the_stack_is_gone(_):
    sys.setrecursionlimit(10**9)

    def deeper(value):
        return [deeper([item]) for item in value]

    deeper([0])


@sealed
def leave_with_code_0_and_nothing(_):
    os._exit(0)


@sealed
def leave_with_a_code_of_a_signal(_):
    os._exit(137)


@sealed
def leave_with_a_code_of_a_signal_to_come(_):
    os._exit(255)


@sealed
def leave_by_hand_while_threads_write(artifact):
    for _thread in range(8):
        threading.Thread(
            target=lambda: [os.write(artifact, b"x") for _ in range(10_000)], daemon=True
        ).start()
    os._exit(3)


@sealed
def raise_what_cannot_be_shown(_):
    class Wrong(Exception):
        def __str__(self):
            os.write(2, b"\x1b[2J")
            raise RuntimeError

    raise Wrong


@sealed
def ask_to_end_with_a_huge_message(_):
    sys.exit("x" * (5 * MB))


@sealed
def lift_its_limits(_):
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY,) * 2)
