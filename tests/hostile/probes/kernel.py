"""Probes of the kernel's surface: calls with a history of escapes, whatever their arguments."""

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import time

from probes.core import add, call, machine_code, probe, reach, scratch

NONSENSE = {
    "io_uring_setup": (425, 1, 0),
    "io_uring_enter": (426, -1, 0, 0, 0, 0, 0),
    "io_uring_register": (427, -1, 0, 0, 0),
    "bpf": (321, 5, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "delete_module": (176, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0xFFFF),
    "kexec_file_load": (320, -1, -1, 0, 0, 0xFFFF),
    "reboot": (169, 0, 0, 0, 0),  # the magic numbers are wrong, so it can never happen
    "swapon": (167, b"/nowhere", 0),
    "swapoff": (168, b"/nowhere"),
    "quotactl": (179, -1, 0, 0, 0),
    "quotactl_fd": (443, -1, 0, 0, 0),
    "acct": (163, b"/nowhere/at/all"),
    "iopl": (172, 3),
    "ioperm": (173, 0x378, 3, 1),
    "lookup_dcookie": (212, 0, 0, 0),
    "vhangup": (153,),
    "fanotify_init": (300, 0xFFFFFFFF, 0),
    "move_pages": (279, 0, 0, 0, 0, 0, 0x7FFF),
    "migrate_pages": (256, 0, 0, 0, 0),
    "remap_file_pages": (216, 0, 0, 0, 0, 0),
    "vmsplice": (278, -1, 0, 0, 0),
    "tee": (276, -1, -1, 1, 0),
    "sysfs": (139, 3),
    "ustat": (136, 0, 0),
    "uselib": (134, 0),
    "statmount": (457, 0, 0, 0, 0),
    "listmount": (458, 0, 0, 0, 0),
    "lsm_list_modules": (461, 0, 0, 0),
    "map_shadow_stack": (453, 0, 0, 0),
    "memfd_secret": (447, 0xFFFFFFFF),
    "mq_open": (240, 0, 0, 0, 0),
    "mq_unlink": (241, 0),
    "process_mrelease": (448, -1, 0),
    "clock_adjtime": (305, 99, 0),
    "timerfd_of_alarm_clocks": (283, 9, 0),
    "set_mempolicy_home_node": (450, 0, 0, 0, 0),
    "cachestat": (451, -1, 0, 0, 0),
}

for _name, _arguments in NONSENSE.items():
    add(f"reaches_{_name}", "kernel", lambda arguments=_arguments: reach(*arguments))


@probe()
def watches_performance_counters():
    attributes = (
        (1).to_bytes(4, "little") + (128).to_bytes(4, "little") + bytes(32) + (0x61).to_bytes(8, "little")
    )
    os.close(call(298, attributes + bytes(128 - len(attributes)), 0, -1, -1, 0))


@probe()
def handles_its_own_page_faults():
    """userfaultfd stops the kernel in the middle of a copy: half of all races."""
    os.close(call(323, 1))


@probe()
def watches_files():
    os.close(call(294, 0))


@probe()
def reads_the_log_of_the_kernel():
    call(103, 10, 0, 0)  # its size


@probe()
def changes_a_segment_table():
    call(154, 0, ctypes.create_string_buffer(64), 64)


@probe()
def types_into_a_terminal():
    """TIOCSTI; ENOTTY is the kernel's own answer about a pipe, so a filter did not see it."""
    _ioctl(0x5412)


def _ioctl(request):
    try:
        call(16, 0, request, ctypes.create_string_buffer(b"x", 64))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL, errno.EFAULT):
            raise


@probe()
def types_into_a_terminal_with_high_bits_set():
    """The kernel reads 32 bits of the request; a filter that compares 64 misses it (CVE-2019-10063)."""
    _ioctl((1 << 32) | 0x5412)


@probe()
def pastes_into_a_console():
    _ioctl(0x541C)


@probe()
def turns_a_console():
    _ioctl(0x4B4D)  # KDSKBENT


@probe()
def asks_a_descriptor_to_signal_somebody():
    """FIOASYNC with F_SETOWN: the kernel sends signals for us."""
    fcntl.fcntl(1, fcntl.F_SETOWN, 1)
    fcntl.ioctl(1, 0x5452, b"\0\0\0\0")


@probe()
def makes_a_huge_pipe():
    held, other = os.pipe()
    try:
        fcntl.fcntl(held, 1031, 1 << 26)  # F_SETPIPE_SZ 64 MB
    finally:
        os.close(held), os.close(other)


@probe(errno.EINVAL)
def sets_the_clock():
    call(227, 0, ctypes.create_string_buffer(int(time.time()).to_bytes(8, "little") + bytes(8), 16))


@probe(errno.EINVAL)
def sets_the_time_of_day():
    call(164, ctypes.create_string_buffer(int(time.time()).to_bytes(8, "little") + bytes(8), 16), 0)


@probe()
def reads_the_discipline_of_the_clock():
    call(159, ctypes.create_string_buffer(208))


@probe(errno.EINVAL)
def steers_the_clock():
    """ADJ_OFFSET of nothing at all."""
    call(159, ctypes.create_string_buffer((1).to_bytes(4, "little"), 208))


@probe(alone=True, dies_of=(signal.SIGSYS,))
def uses_calls_of_the_x32_kind():
    """The same numbers with one bit set, which a filter without a check of the kind lets pass."""
    call(0x40000000 | 39)


@probe(alone=True, dies_of=(signal.SIGSYS,))
def opens_a_socket_by_an_x32_call():
    os.close(call(0x40000000 | 41, 1, 1, 0))


@probe(alone=True, dies_of=(signal.SIGSYS, signal.SIGSEGV))
def uses_calls_of_the_32_bit_kind():
    """`int 0x80` with number 20, getpid: other numbers than those the filter knows."""
    answer = machine_code(bytes.fromhex("53 b814000000 cd80 5b 4898 c3"))
    if answer == -errno.ENOSYS or answer == -errno.EPERM:
        raise OSError(-answer, "refused")


@probe()
def opens_a_file_by_a_call_of_the_older_kind():
    """creat, number 85: an alias that lists of calls forget."""
    os.close(call(85, scratch("creat").encode(), 0o600))


@probe()
def splices_a_pipe():
    first, second = os.pipe(), os.pipe()
    os.write(first[1], b"x")
    os.splice(first[0], second[1], 1)


@probe(errno.ENOMEM)
def maps_the_first_page():
    """Code of the kernel that follows a null pointer would find ours."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    found = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10, -1, 0)
    if found in (ctypes.c_void_p(-1).value,):
        raise OSError(ctypes.get_errno(), "refused")


@probe()
def makes_memory_writable_and_executable():
    if machine_code(bytes.fromhex("b82a000000c3")) != 42:
        raise RuntimeError("the code did not answer 42")


@probe()
def turns_data_into_code():
    """The same in two steps, each of which looks innocent."""
    page = mmap.mmap(-1, 4096)
    page.write(bytes.fromhex("b82a000000c3"))
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call(10, address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)
    if ctypes.CFUNCTYPE(ctypes.c_int)(address)() != 42:
        raise RuntimeError("the code did not answer 42")


@probe()
def runs_code_from_a_file_it_wrote():
    """The third way to code of its own: map a file of scratch as code."""
    path = scratch("code")
    with open(path, "w+b") as file:
        file.write(bytes.fromhex("b82a000000c3").ljust(4096, b"\0"))
        file.flush()
        page = mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    page.close()


@probe()
def makes_its_stack_executable():
    """GROWSDOWN finds the stack without knowing where it ends."""
    here = ctypes.c_int()
    call(10, ctypes.addressof(here) & ~4095, 4096, 7)
