"""Probes of privileges: new namespaces, mounts, other identities, capabilities, keys."""

import ctypes
import errno
import os
import socket

from probes.core import PLACE, Closed, add, call, libc, probe, reach, scratch
from probes.processes import NEW

_HIDDEN = (errno.ENOENT, errno.ENOTDIR)
AT_FDCWD = -100

for _name, _flag in NEW.items():
    add(f"unshares_its_{_name}_namespace", "privileges", lambda flag=_flag: call(272, flag))


@probe()
def nests_user_namespaces():
    call(272, NEW["user"])
    call(272, NEW["user"] | NEW["mount"])


def _joins(name):
    held = os.open(f"/proc/1/ns/{name}", os.O_RDONLY)
    try:
        call(308, held, 0)
    except OSError as error:  # EINVAL: it is its own, so the kernel would have let it in
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(held)


for _name in ("mnt", "net", "pid", "user"):
    add(f"joins_the_{_name}_namespace_of_init", "privileges", lambda name=_name: _joins(name), *_HIDDEN)


@probe(errno.ESRCH, errno.EINVAL)
def joins_the_namespaces_of_its_parent():
    """setns with a process descriptor needs no /proc."""
    held = os.pidfd_open(os.getppid())
    call(308, held, NEW["mount"])


def _mount(source, target, kind, flags):
    call(165, source, target, kind, flags, 0)
    if not flags & (0x20 | 1 << 20):
        call(166, target, 2)


@probe(*_HIDDEN)
def mounts_a_tmpfs():
    _mount(b"none", b"/tmp", b"tmpfs", 0)


@probe(*_HIDDEN)
def mounts_proc():
    _mount(b"none", b"/tmp", b"proc", 0)


@probe(*_HIDDEN)
def mounts_a_folder_elsewhere():
    _mount(b"/", b"/tmp", b"none", 0x1000 | 0x4000)


@probe(*_HIDDEN, errno.EINVAL)
def remounts_the_root_writable():
    _mount(b"none", b"/", b"none", 0x20 | 0x1000)


@probe(errno.EINVAL)
def makes_its_mounts_shared():
    _mount(b"none", b"/", b"none", 1 << 20)


@probe(errno.EINVAL, errno.EBUSY)
def unmounts_tmp():
    call(166, b"/tmp", 2)


@probe()
def pivots_the_root():
    """Privileges are checked before paths."""
    reach(155, b"/nowhere", b"/nowhere")


@probe()
def changes_its_root():
    os.chroot("/")


@probe()
def opens_a_file_system():
    os.close(call(430, b"tmpfs", 0))


@probe()
def picks_a_mounted_file_system():
    os.close(call(433, AT_FDCWD, b"/", 0))


@probe()
def copies_a_tree_of_mounts():
    os.close(call(428, AT_FDCWD, b"/", 1 | 0x8000))


@probe()
def moves_a_mount():
    reach(429, AT_FDCWD, b"/nowhere", AT_FDCWD, b"/nowhere", 0)


@probe(errno.EINVAL)
def changes_the_flags_of_a_mount():
    call(442, AT_FDCWD, b"/", 0, bytes(32), 32)


def _becomes(change):
    change()
    if os.getuid() and os.geteuid() and os.getgid() and os.getegid():
        raise Closed("it is nobody special still")


@probe(errno.EINVAL)
def becomes_root():
    _becomes(lambda: os.setuid(0))


@probe(errno.EINVAL)
def becomes_root_in_every_way():
    _becomes(lambda: os.setresuid(0, 0, 0))


@probe(errno.EINVAL)
def joins_the_group_of_root():
    _becomes(lambda: os.setresgid(0, 0, 0))


@probe(errno.EINVAL)
def joins_more_groups():
    os.setgroups([0, 6, 10])
    if not {0, 6, 10} & set(os.getgroups()):
        raise Closed("none was joined")


@probe(errno.EINVAL)
def reads_files_as_root():
    """setfsuid reports the former id and never an error."""
    libc.setfsuid(0)
    if libc.setfsuid(-1) != 0:
        raise Closed("it did not change")


def _capabilities():
    held = (ctypes.c_uint32 * 6)()
    call(125, (ctypes.c_uint32 * 2)(0x20080522, 0), held)
    return held


@probe()
def has_capabilities():
    if not any(_capabilities()[:2]):
        raise Closed("it has none")


@probe()
def gives_itself_capabilities():
    every = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF, 0xFFFFFFFF, 0, 0x1FF, 0x1FF, 0])
    call(126, (ctypes.c_uint32 * 2)(0x20080522, 0), every)


@probe()
def gives_capabilities_to_what_it_executes():
    call(157, 47, 2, 21, 0, 0)  # PR_CAP_AMBIENT_RAISE, SYS_ADMIN


@probe()
def could_keep_capabilities():
    """The bounding set says what a set-uid program or a user namespace could still give."""
    if not any(libc.prctl(23, number, 0, 0, 0) == 1 for number in range(41)):
        raise Closed("the bounding set is empty")


@probe()
def changes_its_secure_bits():
    call(157, 28, 1, 0, 0)


@probe()
def adds_a_key():
    call(248, b"user", b"probe", b"secret", 6, -3)


@probe()
def asks_for_a_key():
    try:
        call(249, b"user", b"probe", 0, 0)
    except OSError as error:
        if error.errno != errno.ENOKEY:
            raise


@probe()
def looks_into_the_keyring():
    call(250, 0, -3, 1)


@probe()
def switches_off_random_addresses():
    call(135, 0x0040000)


@probe()
def names_the_machine():
    socket.sethostname(socket.gethostname())


@probe()
def names_the_domain():
    call(171, b"probe", 5)


@probe(errno.EINVAL)
def gives_a_file_to_root():
    path = scratch("gift")
    with open(path, "wb"):
        pass
    os.chown(path, 0, 0)


@probe(errno.EINVAL)
def joins_the_cgroup_of_root():
    for path in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/tasks"):
        try:
            held = os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            continue
        os.close(held)
        return
    raise Closed("no cgroup is in sight")


@probe()
def mounts_over_its_own_stage():
    folder = os.path.dirname(PLACE["model"]).encode()
    _mount(b"none", folder, b"tmpfs", 0)
