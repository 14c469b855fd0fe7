"""Probes of what one run may use: limits that can be lifted, and kernel memory that nobody counts."""

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import signal

from probes.core import Closed, add, call, probe, scratch

FEW = {
    "processor_time": (resource.RLIMIT_CPU, 86_400),
    "memory": (resource.RLIMIT_AS, 1 << 46),
    "file_size": (resource.RLIMIT_FSIZE, 1 << 40),
    "processes": (resource.RLIMIT_NPROC, 4_096),
    "open_files": (resource.RLIMIT_NOFILE, 4_096),
    "locked_memory": (resource.RLIMIT_MEMLOCK, 1 << 20),
    "core_dumps": (resource.RLIMIT_CORE, 0),
    "message_queues": (resource.RLIMIT_MSGQUEUE, 4_096),
}


def _lift(kind, most):
    with contextlib.suppress(OSError, ValueError):  # Python's word for EPERM here is ValueError
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    now = resource.getrlimit(kind)[0]
    if 0 <= now <= most:
        raise Closed(f"it stays at {now}")


for _name, _limit in FEW.items():
    add(f"lifts_its_limit_of_{_name}", "resources", lambda limit=_limit: _lift(*limit))


@probe(errno.ENOMEM, errno.EAGAIN)
def locks_memory():
    page = mmap.mmap(-1, 1 << 20)
    call(149, ctypes.addressof(ctypes.c_char.from_buffer(page)), 1 << 20)


@probe(errno.ENOMEM, errno.EAGAIN)
def locks_all_memory():
    call(151, 2)


@probe()
def makes_a_message_queue():
    call(71, call(68, 0, 0o1600), 0, 0)


@probe()
def makes_shared_memory():
    call(31, call(29, 0, 4096, 0o1600), 0, 0)


@probe()
def makes_semaphores():
    call(66, call(64, 0, 8, 0o1600), 0, 0, 0)


@probe(errno.EMFILE, errno.ENOENT)
def makes_a_posix_message_queue():
    held = call(240, b"probe", os.O_RDWR | os.O_CREAT, 0o600, 0)
    call(241, b"probe")
    os.close(held)


@probe(errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)
def makes_twenty_thousand_files():
    """An inode costs kernel memory that a limit in bytes does not see."""
    folder = scratch("inodes")
    os.mkdir(folder)
    made = 0
    try:
        for made in range(20_000):
            os.close(os.open(f"{folder}/{made}", os.O_WRONLY | os.O_CREAT))
    finally:
        for number in range(made + 1):
            if os.path.exists(f"{folder}/{number}"):
                os.unlink(f"{folder}/{number}")
        os.rmdir(folder)


@probe(errno.ENOENT, errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.ENOMEM)
def fills_shared_memory_files():
    """64 MB in /dev/shm, beside the scratch folder's own limit."""
    path = f"/dev/shm/probe-{os.getpid()}"
    with open(path, "wb", buffering=0) as file:
        try:
            for _ in range(64):
                if file.write(bytes(1_000_000)) < 1_000_000:
                    raise OSError(errno.ENOSPC, "cut short")
        finally:
            os.unlink(path)


@probe(errno.ENOMEM, errno.EINVAL)
def takes_huge_pages():
    mmap.mmap(-1, 1 << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)


@probe(errno.EMFILE, errno.ENFILE)
def opens_a_thousand_files():
    held = []
    try:
        held.extend(os.dup(1) for _ in range(1_000))
    finally:
        for one in held:
            os.close(one)


@probe(errno.EFBIG, errno.ENOSPC)
def makes_a_file_of_a_terabyte():
    """Sparse: it holds nothing, but whatever copies it out would not know."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = scratch("sparse")
    try:
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        signal.signal(signal.SIGXFSZ, before)


@probe(errno.ENOMEM)
def reserves_a_terabyte_of_addresses():
    mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000).close()
