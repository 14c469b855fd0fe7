"""Probes of processes: starting one, running a program, looking into or steering another."""

import ctypes
import errno
import os
import signal
import subprocess
import sys

from probes.core import GOT_THROUGH, PLACE, Closed, add, call, probe, reach, scratch

_GONE = (errno.ESRCH, errno.ECHILD)
_HIDDEN = (errno.ENOENT, errno.ENOTDIR)
NEW = {"mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000,
       "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "time": 0x80}  # fmt: skip

_CODE = bytes((0xBF, GOT_THROUGH, 0, 0, 0, 0xB8, 231, 0, 0, 0, 0x0F, 0x05))
TINY_PROGRAM = (
    b"\x7fELF\x02\x01\x01" + bytes(9)
    + b"\x02\x00\x3e\x00\x01\x00\x00\x00" + (0x400078).to_bytes(8, "little") + (64).to_bytes(8, "little")
    + bytes(8) + bytes(4) + b"\x40\x00\x38\x00\x01\x00" + bytes(6)
    + b"\x01\x00\x00\x00\x05\x00\x00\x00" + bytes(8) + (0x400000).to_bytes(8, "little") * 2
    + (120 + len(_CODE)).to_bytes(8, "little") * 2 + (0x1000).to_bytes(8, "little") + _CODE
)  # fmt: skip
"""A whole x86-64 Linux program in 132 bytes: it ends with `GOT_THROUGH`."""


def _child_of(start):
    child = start()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


@probe()
def forks():
    _child_of(os.fork)


@probe()
def forks_a_terminal():
    import pty

    try:
        child, _ = pty.fork()
    except OSError as error:  # Python's own words for a failure of every way to a terminal
        raise error if error.errno else Closed("no terminal to be had") from None
    _child_of(lambda: child)


@probe(*_HIDDEN)
def starts_a_program_with_vfork():
    subprocess.run(["/bin/true"], close_fds=False, check=True)


@probe(*_HIDDEN)
def starts_a_program_with_posix_spawn():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


@probe(*_HIDDEN)
def starts_a_program_through_the_library():
    """The C library's `system`, which asks nobody in Python."""
    status = ctypes.CDLL(None).system(f"exit {GOT_THROUGH}".encode())
    if os.waitstatus_to_exitcode(status) != GOT_THROUGH:
        raise Closed("no shell was started")


@probe()
def clones_itself():
    _child_of(lambda: call(56, int(signal.SIGCHLD), 0, 0, 0, 0))


@probe()
def clones_itself_beside_its_parent():
    """CLONE_PARENT makes a sister, which a waiting parent does not expect."""
    if not call(56, 0x8000 | int(signal.SIGCHLD), 0, 0, 0, 0):
        os._exit(0)


@probe()
def clones_itself_with_clone3():
    wanted = bytes(32) + int(signal.SIGCHLD).to_bytes(8, "little") + bytes(48)
    _child_of(lambda: call(435, wanted, len(wanted)))


for _name, _flag in NEW.items():
    if _name != "time":  # its number is a signal's in clone
        add(f"clones_into_a_new_{_name}_namespace", "processes",
            lambda flag=_flag: _child_of(lambda: call(56, flag | int(signal.SIGCHLD), 0, 0, 0, 0)))  # fmt: skip


@probe()
def clones_into_a_new_user_namespace_with_clone3():
    wanted = (
        NEW["user"].to_bytes(8, "little") + bytes(24) + int(signal.SIGCHLD).to_bytes(8, "little") + bytes(48)
    )
    _child_of(lambda: call(435, wanted, len(wanted)))


def _written(name):
    path = scratch(name)
    with open(path, "wb") as file:
        file.write(TINY_PROGRAM)
    os.chmod(path, 0o755)
    return path


@probe(*_HIDDEN)
def executes_a_shell():
    os.execv("/bin/sh", ["sh", "-c", f"exit {GOT_THROUGH}"])


@probe()
def executes_python():
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", f"import os; os._exit({GOT_THROUGH})"])


@probe(*_HIDDEN)
def executes_through_the_loader():
    loader = "/lib64/ld-linux-x86-64.so.2"
    os.execv(loader, [loader, "/bin/sh", "-c", f"exit {GOT_THROUGH}"])


@probe()
def executes_a_program_it_wrote():
    path = _written("program")
    os.execv(path, [path])


@probe()
def executes_a_script_it_wrote():
    path = _written("interpreter")
    script = scratch("script")
    with open(script, "w") as file:
        file.write(f"#!{path}\n")
    os.chmod(script, 0o755)
    os.execv(script, [script])


@probe()
def executes_a_program_in_memory():
    held = os.memfd_create("program")
    os.write(held, TINY_PROGRAM)
    call(322, held, b"", (ctypes.c_char_p * 2)(b"program", None), (ctypes.c_char_p * 1)(None), 0x1000)


@probe(*_HIDDEN)
def executes_itself_through_proc():
    os.execv("/proc/self/exe", [sys.executable, "-I", "-S", "-c", f"import os; os._exit({GOT_THROUGH})"])


@probe()
def could_gain_privileges_by_executing():
    if call(157, 39, 0, 0, 0, 0) == 1:  # prctl(PR_GET_NO_NEW_PRIVS); not even to be asked behind a filter
        raise Closed("no new privileges")


@probe()
def asks_to_be_traced():
    call(101, 0, 0, 0, 0)


@probe(*_GONE)
def traces_its_parent():
    call(101, 0x4206, os.getppid(), 0, 0)  # PTRACE_SEIZE does not stop it


@probe(*_GONE)
def seizes_the_first_process():
    call(101, 0x4206, 1, 0, 0)


def _vectors(address):
    return (ctypes.c_uint64 * 2)(address, 8)


@probe()
def reads_memory_by_process_number():
    there, here = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
    call(310, os.getpid(), _vectors(ctypes.addressof(here)), 1, _vectors(ctypes.addressof(there)), 1, 0)


@probe()
def writes_memory_by_process_number():
    there, here = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
    call(311, os.getpid(), _vectors(ctypes.addressof(here)), 1, _vectors(ctypes.addressof(there)), 1, 0)


@probe(*_GONE, errno.EFAULT)
def reads_the_memory_of_its_parent():
    here = ctypes.create_string_buffer(8)
    call(310, os.getppid(), _vectors(ctypes.addressof(here)), 1, _vectors(id(None)), 1, 0)


@probe(*_HIDDEN)
def opens_the_memory_of_its_parent():
    os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR))


@probe(*_GONE)
def signals_a_process_outside():
    """Signal 0 only asks whether it may."""
    os.kill(PLACE["outside"], 0)


@probe(*_GONE)
def signals_the_first_process():
    os.kill(1, 0)


@probe(*_GONE)
def signals_its_parent():
    os.kill(os.getppid(), 0)


@probe(*_GONE)
def signals_a_thread_outside():
    call(200, PLACE["outside"], 0)


@probe(*_GONE)
def queues_a_signal_to_its_parent():
    information = bytes(8) + (-1 & 0xFFFFFFFF).to_bytes(4, "little") + bytes(116)
    call(129, os.getppid(), int(signal.SIGURG), information)


@probe(*_GONE, alone=True)
def kills_everything_it_may():
    os.kill(-1, signal.SIGKILL)


@probe(*_GONE, alone=True)
def kills_its_parent():
    os.kill(os.getppid(), signal.SIGKILL)


@probe(*_GONE, errno.EINVAL)
def holds_a_process_outside():
    os.close(os.pidfd_open(PLACE["outside"]))


@probe(*_GONE, errno.EINVAL)
def holds_its_parent():
    os.close(os.pidfd_open(os.getppid()))


@probe(*_GONE, errno.EBADF)
def takes_a_descriptor_of_its_parent():
    held = os.pidfd_open(os.getppid())
    os.close(call(438, held, 0, 0))


@probe()
def compares_itself_with_its_parent():
    """kcmp tells addresses of kernel objects apart."""
    call(312, os.getpid(), os.getpid(), 0, 0, 0)


@probe()
def raises_its_priority():
    os.setpriority(os.PRIO_PROCESS, 0, -10)


@probe(*_GONE)
def lowers_the_priority_of_its_parent():
    before = os.getpriority(os.PRIO_PROCESS, os.getppid())
    os.setpriority(os.PRIO_PROCESS, os.getppid(), before)


@probe()
def becomes_a_real_time_process():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@probe()
def takes_the_disk_first():
    call(251, 1, 0, 1 << 13)  # ioprio_set, real time


@probe(errno.EINVAL)
def becomes_a_deadline_process():
    wanted = (48).to_bytes(4, "little") + (6).to_bytes(4, "little") + bytes(16)
    wanted += (10**6).to_bytes(8, "little") + (10**7).to_bytes(8, "little") + (10**7).to_bytes(8, "little")
    call(314, 0, wanted, 0)


def _prctl(option, *values):
    call(157, option, *values, *[0] * (4 - len(values)))


@probe(errno.EINVAL)
def lets_others_trace_it():
    """PR_SET_PTRACER, any; EINVAL where the Yama module is absent."""
    _prctl(0x59616D61, -1)


@probe()
def collects_orphans():
    """A subreaper keeps daemons alive that the wall's own reaper should inherit."""
    _prctl(36, 1)


@probe()
def outlives_its_parent():
    """PR_SET_PDEATHSIG 0 undoes die-with-parent."""
    _prctl(1, 0)


@probe(errno.EINVAL)
def changes_where_its_memory_begins():
    _prctl(35, 6, 0)


@probe()
def takes_over_its_own_system_calls():
    allowed = ctypes.create_string_buffer(1)
    _prctl(59, 1, 0, 0, ctypes.addressof(allowed))  # PR_SET_SYSCALL_USER_DISPATCH
    _prctl(59, 0)


@probe(errno.EINVAL)
def lifts_no_new_privileges():
    _prctl(38, 0)


@probe()
def watches_system_calls_with_a_filter():
    """A filter with a listener could answer the calls of the trusted stub."""
    allow = (0x7FFF000000000006).to_bytes(8, "little")
    held = ctypes.create_string_buffer(allow, 8)
    program = (1).to_bytes(8, "little") + ctypes.addressof(held).to_bytes(8, "little")
    os.close(call(317, 1, 8, program))


@probe(*_GONE)
def changes_the_limits_of_its_parent():
    import resource

    resource.prlimit(os.getppid(), resource.RLIMIT_CORE, resource.prlimit(os.getppid(), resource.RLIMIT_CORE))


@probe()
def reaches_process_madvise():
    reach(440, -1, 0, 0, 0, 0)
