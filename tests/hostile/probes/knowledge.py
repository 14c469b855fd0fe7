"""Probes of what the code can learn: whose machine it runs on, who runs it, what was left open."""

import ctypes
import errno
import os
import platform
import stat

from probes.core import PLACE, Closed, call, probe

_HIDDEN = (errno.ENOENT, errno.ENOTDIR)


@probe()
def learns_the_name_of_the_machine():
    if platform.node() != PLACE["machine"]:
        raise Closed("it has another name")


@probe()
def learns_a_secret_of_the_environment():
    if not any(PLACE["secret"] in value for value in os.environ.values()):
        raise Closed("the environment is new")


@probe()
def learns_a_secret_of_the_environment_behind_python():
    """The block of memory the kernel handed over, which `os.environ` need not show."""
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    at = 0
    while environ and environ[at] is not None:
        if PLACE["secret"].encode() in environ[at]:
            return
        at += 1
    raise Closed("the environment is new")


@probe()
def finds_who_started_it_in_the_environment():
    named = {"SSH_CONNECTION", "SUDO_USER", "USER", "LOGNAME", "PWD", "OLDPWD", "LEFT_BEHIND"} & set(
        os.environ
    )
    if all(os.environ[name] == os.getcwd() for name in named):  # its own folder tells it nothing
        raise Closed("nobody is named")


@probe()
def finds_descriptors_besides_its_pipes():
    """What the launcher forgot to close would be a hole in every wall."""
    found = []
    for number in range(1_024):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        null = stat.S_ISCHR(mode) and os.fstat(number).st_rdev == os.makedev(1, 3)
        if not stat.S_ISFIFO(mode) and not null:
            found.append(number)
    if not found:
        raise Closed("pipes and /dev/null only")
    return found


@probe()
def finds_a_folder_held_open():
    for number in range(1_024):
        try:
            if stat.S_ISDIR(os.fstat(number).st_mode):
                return
        except OSError:
            continue
    raise Closed("no descriptor is a folder")


@probe()
def reads_back_what_was_logged():
    """The pipe of the log must be open for writing only."""
    try:
        os.set_blocking(1, False)
        os.read(1, 1)
    except BlockingIOError:
        return
    except OSError as error:
        if error.errno == errno.EBADF:
            raise Closed("it is open for writing only") from None
        raise
    finally:
        os.set_blocking(1, True)


@probe(*_HIDDEN)
def learns_the_identity_of_the_machine():
    with open("/etc/machine-id") as file:
        file.read()


@probe(*_HIDDEN)
def learns_the_identity_of_this_start():
    with open("/proc/sys/kernel/random/boot_id") as file:
        file.read()


@probe(*_HIDDEN)
def learns_the_time_since_the_start():
    with open("/proc/uptime") as file:
        file.read()


@probe()
def learns_memory_and_load_of_the_machine():
    call(99, ctypes.create_string_buffer(256))


@probe(*_HIDDEN)
def learns_the_load_of_the_machine_from_proc():
    with open("/proc/loadavg") as file:
        file.read()


@probe(*_HIDDEN)
def learns_the_processor():
    with open("/proc/cpuinfo") as file:
        file.read()


@probe()
def is_root():
    if os.getuid() and os.geteuid() and os.getgid():
        raise Closed("it is nobody special")


@probe()
def is_in_groups():
    if not set(os.getgroups()) - {os.getgid(), 65_534}:
        raise Closed("it is in no other group")


@probe(*_HIDDEN)
def sees_processes_of_others():
    if not [
        name
        for name in os.listdir("/proc")
        if name.isdigit() and int(name) not in (1, 2, os.getpid(), os.getppid())
    ]:
        raise Closed("it sees nobody else")


@probe()
def finds_a_terminal():
    if not any(os.isatty(number) for number in range(3)):
        raise Closed("there is none")


@probe(errno.ENXIO, errno.ENOENT, errno.EIO)
def opens_its_terminal():
    os.close(os.open("/dev/tty", os.O_RDWR))


@probe()
def belongs_to_the_session_of_the_operator():
    """A terminal's signals and `kill 0` reach a whole session."""
    if os.getsid(0) != PLACE["session"]:
        raise Closed("it has a session of its own")


@probe()
def reads_the_kernels_name_of_its_cgroup():
    try:
        with open("/proc/self/cgroup") as file:
            file.read()
    except FileNotFoundError:
        raise Closed("there is no /proc") from None
