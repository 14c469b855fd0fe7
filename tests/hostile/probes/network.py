"""Probes of the network: sockets of every family, and services that a careless wall leaves in reach."""

import errno
import os
import socket
import urllib.request

from probes.core import PLACE, Closed, add, probe, reach

_NO_FAMILY = (errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.ENETDOWN)
SOCKETS = {
    "internet_stream": (2, 1, 0),
    "internet_datagram": (2, 2, 0),
    "internet_raw": (2, 3, 1),
    "ping": (2, 2, 1),
    "internet_v6": (10, 1, 0),
    "internet_v6_datagram": (10, 2, 0),
    "multipath": (2, 1, 262),
    "stream_control": (2, 5, 132),
    "unix_stream": (1, 1, 0),
    "unix_datagram": (1, 2, 0),
    "netlink_route": (16, 3, 0),
    "netlink_diagnosis": (16, 3, 4),
    "netlink_filter": (16, 3, 12),
    "packet": (17, 3, 0x0300),
    "key_management": (15, 3, 2),
    "virtual_machine": (40, 1, 0),
    "kernel_cryptography": (38, 5, 0),
    "bluetooth": (31, 3, 1),
    "express_data": (44, 3, 0),
    "cluster": (30, 1, 0),
    "car": (29, 3, 1),
    "amateur_radio": (3, 5, 0),
    "apple": (5, 2, 0),
    "remote_memory": (21, 5, 0),
    "shared_memory": (43, 1, 0),
    "phone_modem": (42, 2, 0),
}


def _open(family, kind, protocol):
    with socket.socket(family, kind, protocol):
        pass


for _name, _numbers in SOCKETS.items():
    add(f"opens_a_socket_{_name}", "network", lambda numbers=_numbers: _open(*numbers), *_NO_FAMILY)


def _connect(family, address):
    with socket.socket(family) as line:
        line.settimeout(3)
        line.connect(address)


@probe(*_NO_FAMILY, *_NO_WAY)
def connects_to_a_service_on_loopback():
    _connect(socket.AF_INET, ("127.0.0.1", PLACE["port"]))


@probe(*_NO_FAMILY, *_NO_WAY)
def asks_a_service_on_loopback_by_http():
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{PLACE['port']}/", timeout=3
        )
    except urllib.error.URLError as error:
        if isinstance(error.reason, OSError):
            raise error.reason from None
        raise
    except OSError:
        return  # it was connected, and the service is no web server


@probe(*_NO_FAMILY, *_NO_WAY, errno.EINPROGRESS)
def sends_a_datagram_outside():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.sendto(b"", ("192.0.2.1", 9))  # TEST-NET-1: nobody is there


@probe(*_NO_FAMILY, *_NO_WAY)
def connects_to_the_address_of_cloud_secrets():
    with socket.socket() as line:
        line.setblocking(False)
        try:
            line.connect(("169.254.169.254", 80))
        except BlockingIOError:
            return  # on its way


@probe()
def resolves_a_name():
    """gethostbyname needs a socket or a file; without both it knows nothing but numbers."""
    try:
        socket.getaddrinfo("localhost", 80)
    except socket.gaierror:
        raise Closed("no name is known") from None


@probe(*_NO_FAMILY, *_NO_WAY)
def offers_a_service():
    with socket.create_server(("127.0.0.1", 0)):
        pass


@probe(*_NO_FAMILY, *_NO_WAY)
def offers_an_abstract_service():
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(f"\0probe-{os.getpid()}")


@probe(*_NO_FAMILY, *_NO_WAY)
def connects_to_an_abstract_service():
    """The abstract names belong to the network namespace, not to any folder."""
    _connect(socket.AF_UNIX, "\0" + PLACE["abstract"])


@probe(*_NO_FAMILY, *_NO_WAY, errno.ENOENT)
def connects_to_a_service_in_a_folder():
    _connect(socket.AF_UNIX, PLACE["unix"])


@probe(*_NO_FAMILY)
def makes_a_pair_of_sockets():
    """Harmless by itself; descriptors can be passed and limits of pipes avoided."""
    for end in socket.socketpair():
        end.close()


@probe(*_NO_FAMILY)
def opens_a_socket_with_high_bits_set():
    """A filter that compares 64 bits where the kernel reads 32 lets this through."""
    from probes.core import call

    os.close(call(41, (1 << 32) | 2, 1, 0))


@probe()
def reaches_socketcall_leftovers():
    """accept4, sendmmsg and shutdown on a descriptor that is no socket."""
    for number in (288, 307, 48):
        reach(number, 2, 0, 0, 0)
