"""Which system calls may developer code make? Two allowlists, as programs for the kernel.

Stops: sockets of every family (also vsock, which no network namespace fences), exec and new processes
once developer code runs, ptrace and reading other processes, mounts, keys, BPF, io_uring, userfaultfd,
new namespaces, terminal injection by ioctl, machine code that is in no file, and every
call a kernel learns after this list was written. What is not listed answers "not permitted".

`outer` is put up by the backend before Python starts. `inner` is put up by `inside.seal()` once torch is
imported and before developer code; the kernel then keeps to both.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import Any

_FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek
    open openat close close_range dup dup2 dup3 pipe pipe2 flock
    stat lstat fstat newfstatat stat64 lstat64 fstat64 fstatat64 statx statfs fstatfs statfs64 fstatfs64
    access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir umask
    mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 truncate ftruncate ftruncate64
    fallocate fsync fdatasync fadvise64 utimensat fcntl fcntl64
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2
"""
_MEMORY = "munmap mremap madvise brk msync membarrier mmap2"
_TIME = "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times"
_SELF = """
    exit exit_group getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups
    getpgrp getpgid getsid getrusage getrlimit ugetrlimit uname getcpu getpriority capget
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler
    sched_get_priority_max sched_get_priority_min
    futex futex_time64 set_robust_list get_robust_list set_tid_address arch_prctl rseq getrandom
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigpending rt_sigtimedwait sigaltstack
    tgkill restart_syscall wait4 waitid
"""
_BOTH = f"{_FILES} {_MEMORY} {_TIME} {_SELF}".split()
_LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
_BEFORE_DEVELOPER_CODE = f"execve fork vfork setrlimit sysinfo seccomp {_LANDLOCK}".split()

# glibc and Python fall back to an older call when these say "no such call".
_PRETEND_MISSING = ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"]

_IOCTLS = {"TCGETS": 0x5401, "TIOCGWINSZ": 0x5413, "FIONREAD": 0x541B}
_IOCTLS |= {"FIONBIO": 0x5421, "FIONCLEX": 0x5450, "FIOCLEX": 0x5451}
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_NO_NEW_PRIVS = 15, 16, 38
_NEW_NAMESPACE = 0x7E020000  # every CLONE_NEW* that clone() understands
_THREAD = 0x100 | 0x800 | 0x10000  # CLONE_VM, CLONE_SIGHAND, CLONE_THREAD
_WRITE, _EXECUTE = 0x2, 0x4
_NO_FILE = 0x20  # MAP_ANONYMOUS
_LOW_HALF = 0xFFFFFFFF
_NEVER_HEARD_OF = -1


@cache
def outer() -> bytes:
    """For everything inside, from Python's first instruction on. Raises OSError without libseccomp."""
    from pyseccomp import MASKED_EQ, Arg

    rules = _allowing([*_BOTH, *_BEFORE_DEVELOPER_CODE, "mmap", "mprotect", "prlimit64"])
    _allow(rules, "clone", Arg(0, MASKED_EQ, _NEW_NAMESPACE, 0))
    for option in (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_NO_NEW_PRIVS):
        _allow(rules, "prctl", Arg(0, MASKED_EQ, _LOW_HALF, option))
    return _program(rules)


@cache
def inner() -> bytes:
    """From just before developer code on: no exec, no process, threads only; no limit changed, no data becomes code."""
    from pyseccomp import EQ, MASKED_EQ, Arg

    rules = _allowing(_BOTH)
    _allow(rules, "clone", Arg(0, MASKED_EQ, _NEW_NAMESPACE | _THREAD, _THREAD))
    _allow(rules, "prlimit64", Arg(2, EQ, 0))
    for option in (_PR_SET_NAME, _PR_GET_NAME):
        _allow(rules, "prctl", Arg(0, MASKED_EQ, _LOW_HALF, option))
    _allow(rules, "mprotect", Arg(2, MASKED_EQ, _EXECUTE, 0))
    for protection in (0x0, _WRITE):
        _allow(rules, "mmap", Arg(2, MASKED_EQ, _WRITE | _EXECUTE, protection))
    _allow(rules, "mmap", Arg(2, MASKED_EQ, _WRITE | _EXECUTE, _EXECUTE), Arg(3, MASKED_EQ, _NO_FILE, 0))
    return _program(rules)


def _allowing(calls: list[str]) -> Any:
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for call in calls:
        _allow(rules, call)
    for call in _PRETEND_MISSING:
        rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), call)
    for request in _IOCTLS.values():
        _allow(rules, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _LOW_HALF, request))
    return rules


def _allow(rules: Any, call: str, *arguments: object) -> None:
    """A call that this libseccomp has never heard of stays refused; one of another processor is ignored."""
    import pyseccomp

    number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), call)
    if number != _NEVER_HEARD_OF:
        rules.add_rule(pyseccomp.ALLOW, number, *arguments)


def _program(rules: Any) -> bytes:
    descriptor = os.memfd_create("filter", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
