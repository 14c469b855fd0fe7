"""How do bytes leave a wall? Through pipes that are read to a limit and no further.

Stops: filling a disk or the service's memory, blocking the service by not reading or not writing, and
everything that comes with files: links, devices, archives, names. There is no output folder.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass

_CHUNK = 1 << 16
_LEFT_OUT = "\n[... {count:,} bytes left out ...]\n"


@dataclass(frozen=True)
class Collected:
    """What came through: the artifact (cut when `too_large`), the raw log (head and tail when `log_cut`),
    and whatever else was asked for."""

    artifact: bytes
    too_large: bool
    log: bytes
    log_cut: bool
    report: bytes
    timed_out: bool


class _Head:
    """Keeps the first bytes, counts the rest."""

    def __init__(self, limit: int) -> None:
        self.kept, self.limit, self.seen = bytearray(), limit, 0

    def take(self, data: bytes) -> None:
        self.seen += len(data)
        self.kept += data[: self.limit - len(self.kept)]

    @property
    def cut(self) -> bool:
        return self.seen > self.limit

    def whole(self) -> bytes:
        return bytes(self.kept)


class _HeadAndTail(_Head):
    """Keeps the first and the last half: what went wrong is said at the end."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit - limit // 2)
        self.tail, self.tail_limit = bytearray(), limit // 2

    def take(self, data: bytes) -> None:
        room = self.limit - len(self.kept)
        super().take(data)
        self.tail += data[max(room, 0) :]
        del self.tail[: max(0, len(self.tail) - self.tail_limit)]

    @property
    def cut(self) -> bool:
        return self.seen > self.limit + self.tail_limit

    def whole(self) -> bytes:
        left_out = self.seen - len(self.kept) - len(self.tail)
        return bytes(self.kept + (_LEFT_OUT.format(count=left_out).encode() if left_out else b"") + self.tail)


def collect(
    artifact: int,
    log: int,
    report: int,
    *,
    artifact_bytes: int,
    log_bytes: int,
    report_bytes: int,
    deadline: float,
    stop: Callable[[], None],
) -> Collected:
    """Reads the three descriptors until all are at their end or `deadline` (time.monotonic) has passed.

    A log beyond its limit is read on and dropped, so the writer never blocks. An artifact or a report
    beyond its limit calls `stop` once, which must end the writers; reading goes on to the end.
    Closes the descriptors.
    """
    heads = {artifact: _Head(artifact_bytes), log: _HeadAndTail(log_bytes), report: _Head(report_bytes)}
    stopped = timed_out = False
    with selectors.DefaultSelector() as waiting:
        for descriptor in heads:
            os.set_blocking(descriptor, False)
            waiting.register(descriptor, selectors.EVENT_READ)
        while waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                timed_out = True
                break
            for key, _ in waiting.select(left):
                data = _read(key.fd)
                heads[key.fd].take(data)
                if not data:
                    waiting.unregister(key.fd)
            if not stopped and (heads[artifact].cut or heads[report].cut):
                stopped = True
                stop()
    for descriptor in heads:
        os.close(descriptor)
    kept = {descriptor: head.whole() for descriptor, head in heads.items()}
    return Collected(kept[artifact], heads[artifact].cut, kept[log], heads[log].cut, kept[report], timed_out)


def _read(descriptor: int) -> bytes:
    return os.read(descriptor, _CHUNK)
