"""How does a tree of processes begin, stay up and end? Children end with their parent, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

_STOP_SECONDS = 15
_SET_DEATH_SIGNAL = 1
_LONGEST_WAIT = 30.0
_SETTLED_SECONDS = 60.0


@dataclass
class Service:
    """One running child. `log` holds what it printed; `address` is empty where it answers nobody.

    `restarts`: it is started again when it ends, and `failures` counts how often that was in a row.
    """

    name: str
    address: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    restarts: bool = False
    failures: int = 0
    process: subprocess.Popen[bytes] = field(init=False)
    started: float = field(init=False)

    def start(self) -> Service:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab" if self.failures else "wb") as out:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=out, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=partial(_end_with, os.getpid()),
            )  # fmt: skip
        self.started = time.monotonic()
        return self

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def start_again_when_it_is_time(self) -> bool:
        """After a second, then twice as long each time; one that stayed up for a minute begins anew."""
        now = time.monotonic()
        if now - self.started > _SETTLED_SECONDS:
            self.failures = 0
        if now - self.started < min(2.0**self.failures, _LONGEST_WAIT):
            return False
        self.failures += 1
        self.start()
        return True


def stop(services: Iterable[Service]) -> None:
    """Asks all to end, and after 15 s does not ask any more."""
    running = [service for service in services if not service.ended]
    for service in running:
        os.killpg(service.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for service in running:
        try:
            service.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()


_libc = ctypes.CDLL(None, use_errno=True)


def _end_with(parent: int) -> None:
    _libc.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before it could be asked
        os._exit(1)
