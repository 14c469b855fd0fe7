"""What is a wall? Runs one program over staged files where there is no data, and returns bounded bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sandbox.records import Json
from sandbox.settings import Isolation

STUB = "sandbox.submissions.export.stub"
"""The only program that is run inside in production; tests of a wall may stage their own."""


@dataclass(frozen=True)
class Limits:
    """What one run may use. Memory counts everything it holds; `scratch_mb` is its /tmp, in memory."""

    cpu_seconds: int = 120
    wall_seconds: int = 240
    memory_mb: int = 4_096
    processes: int = 64
    scratch_mb: int = 256
    log_bytes: int = 64_000
    artifact_bytes: int = 64_000_000

    @classmethod
    def of(cls, settings: Isolation) -> Limits:
        return cls(
            cpu_seconds=settings.cpu_seconds,
            wall_seconds=settings.wall_seconds,
            memory_mb=settings.memory_mb,
            processes=settings.processes,
            scratch_mb=settings.scratch_mb,
            log_bytes=settings.log_kb * 1_000,
            artifact_bytes=settings.artifact_mb * 1_000_000,
        )


@dataclass(frozen=True)
class Job:
    """Files to stage read-only (relative path -> bytes) and a request the program reads as JSON."""

    files: Mapping[str, bytes]
    request: Json
    program: str = STUB


class End(StrEnum):
    """How a run ended. Every member but the first two names the limit that was hit."""

    FINISHED = "finished"
    FAILED = "ended with an error"
    CPU = "used all of its processor time"
    WALL = "took too long"
    MEMORY = "used all of its memory"
    PROCESSES = "started too many processes"
    SCRATCH = "filled its scratch space"
    DESCRIPTORS = "opened too many files at once"
    ARTIFACT = "returned too many bytes"


@dataclass(frozen=True)
class Outcome:
    """What came out: bytes nobody has looked at yet, and a log that is safe to show.

    `log` has every control and bidirectional character escaped and is cut at the limit (`log_cut`).
    `words` says in one sentence how it ended and, for a limit, which setting to change.
    """

    end: End
    artifact: bytes
    log: str
    log_cut: bool
    words: str
    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Layer:
    """One part of a wall: whether this machine has it, what was found, and how to mend it."""

    name: str
    works: bool
    found: str
    mend: str = ""


class Backend(Protocol):
    """A wall. `run` raises Unfit, before anything of the job is started, when one of its layers is missing."""

    name: str

    def layers(self) -> Sequence[Layer]:
        """Every layer of this wall, tried on this machine, in the order in which they are put up."""
        ...

    def run(self, job: Job, limits: Limits) -> Outcome:
        """Runs the job and leaves no process, mount, file or cgroup behind, however it ends.

        Raises Unfit, and then nothing of the job has run, when a layer is missing or cannot be put up now.
        """
        ...


@dataclass(frozen=True)
class Wall:
    """What is kept of a run with an admitted graph: which backend, and the layers that were up."""

    backend: str
    layers: tuple[str, ...] = field(default=())
