"""Probes of files: what can be read, written or smuggled out of a folder that should not be there."""

import ctypes
import errno
import os
import stat

from probes.core import PLACE, Closed, add, call, probe, scratch

AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
_HIDDEN = (errno.ENOENT, errno.ENOTDIR)
_NO_DEVICE = (*_HIDDEN, errno.ENXIO, errno.ENODEV, errno.EIO)
_UNWRITABLE = (*_HIDDEN, errno.EROFS)

READ = {
    "etc_passwd": "/etc/passwd",
    "etc_shadow": "/etc/shadow",
    "etc_hosts": "/etc/hosts",
    "etc_ssl_keys": "/etc/ssl/private",
    "home_of_root": "/root",
    "homes": "/home",
    "log_of_the_machine": "/var/log",
    "system_programs": "/usr/bin/env",  # not the folder: Python itself may lie there
    "boot_files": "/boot",
    "run_folder": "/run",
    "sys_net": "/sys/class/net",
    "sys_cgroups": "/sys/fs/cgroup",
    "sys_block": "/sys/block",
    "proc_of_init": "/proc/1/environ",
    "proc_own_memory_map": "/proc/self/maps",
    "proc_own_environment": "/proc/self/environ",
    "proc_own_descriptors": "/proc/self/fd",
    "proc_own_root": "/proc/self/root/etc",
    "proc_mounts": "/proc/self/mountinfo",
    "proc_kernel_symbols": "/proc/kallsyms",
    "proc_kernel_settings": "/proc/sys/kernel/core_pattern",
    "proc_network": "/proc/net/tcp",
    "proc_keys": "/proc/keys",
    "proc_core": "/proc/kcore",
    "proc_command_line_of_the_kernel": "/proc/cmdline",
}
DEVICES = ["mem", "kmsg", "vda", "ptmx", "tty", "console", "fuse", "kvm", "net/tun", "vsock", "loop-control",
           "cpu/0/msr", "hwrng", "autofs"]  # fmt: skip
WRITE = {
    "root_folder": "/",
    "dev_folder": "/dev",
    "etc_folder": "/etc",
    "library_folder": "/usr/lib",
    "var_tmp": "/var/tmp",
    "cgroups": "/sys/fs/cgroup",
    "own_stage": os.path.dirname(os.path.abspath(PLACE.get("model", "."))),
    "standard_library": os.path.dirname(os.__file__),
    "installed_packages": PLACE.get("packages", "/nowhere"),
}
WRITE_INTO = {
    "own_score_for_the_memory_killer": "/proc/self/oom_score_adj",
    "core_pattern": "/proc/sys/kernel/core_pattern",
    "sysrq": "/proc/sysrq-trigger",
    "own_user_map": "/proc/self/uid_map",
    "own_memory_file": "/proc/self/mem",
    "preloaded_libraries": "/etc/ld.so.preload",
    "password_file": "/etc/passwd",
    "disk": "/dev/vda",
}


def _read(path):
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))


def _write(folder):
    path = os.path.join(folder, f"probe-{os.getpid()}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)


def _open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


for _name, _path in READ.items():
    add(f"reads_{_name}", "files", lambda path=_path: _read(path), *_HIDDEN)
for _name in DEVICES:
    add(f"opens_dev_{_name.replace('/', '_').replace('-', '_')}", "files",
        lambda path=f"/dev/{_name}": os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)),
        *_NO_DEVICE)  # fmt: skip
for _name, _path in WRITE.items():
    add(f"writes_to_{_name}", "files", lambda path=_path: _write(path), *_UNWRITABLE)
for _name, _path in WRITE_INTO.items():
    add(f"writes_into_{_name}", "files", lambda path=_path: _open_for_writing(path), *_UNWRITABLE)


@probe(*_HIDDEN)
def reads_a_file_of_another_run():
    """World-readable, in the shared /tmp of the machine."""
    _read(PLACE["canary"])


@probe(*_HIDDEN)
def writes_a_file_of_another_run():
    """World-writable, in the shared /tmp of the machine."""
    os.close(os.open(PLACE["canary"], os.O_WRONLY))


@probe()
def lists_the_shared_tmp():
    if PLACE["canary"].split("/")[2] not in os.listdir("/tmp"):
        raise Closed("it is another /tmp")


@probe()
def lists_the_root_of_the_machine():
    if not {"root", "home", "var", "boot"} & set(os.listdir("/")):
        raise Closed("it is another root")


@probe(*_HIDDEN)
def learns_that_a_file_exists():
    os.stat(PLACE["canary"])


@probe(*_HIDDEN)
def reads_the_project():
    _read(PLACE["project"])


@probe(*_HIDDEN)
def reads_the_home_of_the_operator():
    _read(PLACE["home"])


@probe(*_HIDDEN)
def climbs_out_of_its_folder():
    _read("../" * 40 + "etc/passwd")


@probe(*_HIDDEN)
def climbs_out_of_its_folder_by_descriptor():
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(os.open("../" * 40 + "etc/passwd", os.O_RDONLY, dir_fd=folder))
    finally:
        os.close(folder)


@probe(*_HIDDEN)
def follows_a_symlink_out():
    path = scratch("symlink")
    os.symlink("/etc/passwd", path)
    try:
        _read(path)
    finally:
        os.unlink(path)


@probe(*_HIDDEN, errno.EXDEV)
def hard_links_a_file_from_outside():
    os.link(PLACE["canary"], scratch("hard"))


@probe(*_HIDDEN, errno.EXDEV)
def hard_links_a_file_beside_itself():
    """Within one file system, where no device boundary helps the wall."""
    path = PLACE["canary"] + f".{os.getpid()}"
    os.link(PLACE["canary"], path)
    os.unlink(path)


@probe(*_HIDDEN)
def reopens_a_path_descriptor():
    """O_PATH needs no right to read; /proc/self/fd turns it into one."""
    held = os.open("/etc/passwd", os.O_PATH)
    try:
        _read(f"/proc/self/fd/{held}")
    finally:
        os.close(held)


@probe(*_HIDDEN)
def walks_through_the_root_of_its_parent():
    _read(f"/proc/{os.getppid()}/root/etc/passwd")


@probe(*_HIDDEN, errno.EOPNOTSUPP)
def opens_a_file_by_handle():
    """open_by_handle_at ignores paths, hence mounts (as in the `shocker` escape)."""
    handle, mount = ctypes.create_string_buffer(136), ctypes.c_int()
    ctypes.memmove(handle, (128).to_bytes(4, "little"), 4)
    call(303, AT_FDCWD, b"/", handle, ctypes.byref(mount), 0)
    folder = os.open("/", os.O_RDONLY)
    try:
        call(304, folder, handle, os.O_RDONLY)
    finally:
        os.close(folder)


@probe(*_HIDDEN)
def opens_a_file_by_openat2():
    how = (os.O_RDONLY).to_bytes(8, "little") + bytes(16)
    call(437, AT_FDCWD, b"/etc/passwd", how, len(how))


@probe()
def makes_a_character_device():
    os.mknod(scratch("char"), stat.S_IFCHR | 0o666, os.makedev(1, 1))


@probe()
def makes_a_block_device():
    os.mknod(scratch("block"), stat.S_IFBLK | 0o666, os.makedev(254, 0))


def _own_file():
    return PLACE["model"]


@probe(errno.EROFS, *_HIDDEN)
def changes_its_own_staged_file():
    """Outside a wall the file is a scratch copy."""
    os.close(os.open(_own_file(), os.O_WRONLY))


@probe(errno.EROFS, *_HIDDEN)
def makes_its_own_staged_file_writable():
    os.chmod(_own_file(), 0o777)


@probe(errno.EROFS, *_HIDDEN)
def renames_its_own_staged_file():
    os.rename(_own_file(), _own_file() + ".new")
    os.rename(_own_file() + ".new", _own_file())


@probe(errno.EROFS, *_HIDDEN)
def changes_the_standard_library():
    os.close(os.open(os.__file__, os.O_WRONLY))


@probe(errno.EROFS, errno.EOPNOTSUPP)
def gives_a_file_a_privilege_attribute():
    """security.capability on a file makes it run with privileges elsewhere."""
    path = scratch("attribute")
    with open(path, "wb"):
        pass
    os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000002000000000000000000000"))


@probe(errno.EINVAL)
def leaves_a_set_uid_file_of_root():
    path = scratch("suid")
    with open(path, "wb"):
        pass
    os.chown(path, 0, 0)
    os.chmod(path, 0o4755)
    if os.getuid():
        raise Closed("the owner did not change")


def _shared_library():
    import importlib.util

    for name in ("_ctypes", "_json", "_bisect", "_struct"):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and os.path.isfile(spec.origin):
            return spec.origin
    raise RuntimeError("no extension module to copy")


@probe()
def loads_a_library_from_scratch():
    """Native code that was not there when the stage was made."""
    path = scratch("library.so")
    with open(_shared_library(), "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    try:
        ctypes.CDLL(path)
    except OSError as error:
        if "failed to map segment" in str(error) or "not permitted" in str(error):
            raise Closed("it cannot be mapped as code") from None
        raise
    finally:
        os.unlink(path)


@probe()
def loads_a_library_from_memory():
    """The same through memfd_create, with no file at all."""
    held = os.memfd_create("library")
    with open(_shared_library(), "rb") as source:
        os.write(held, source.read())
    import mmap

    mmap.mmap(held, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
