"""Loaded by every Python process of a journey: writes down, and refuses, any call that leaves this machine."""

import os
import sys

_LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "", None}


def _watch(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        outward = isinstance(address, tuple) and address[0] not in _LOOPBACK
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
        outward = (host.decode() if isinstance(host, bytes) else host) not in _LOOPBACK
        address = arguments[:2]
    else:
        return
    if outward:
        with open(os.environ["WATCH_OUTWARD"], "a") as out:
            out.write(f"{event} {address} by {sys.argv[:2]}\n")
        raise OSError("outward connections are blocked")


if "WATCH_OUTWARD" in os.environ:
    sys.addaudithook(_watch)
