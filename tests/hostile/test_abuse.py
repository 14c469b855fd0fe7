"""Taking too much, behind every wall: which limit ends it, in which words, by how much late, and what is left.

`ENDS` says for each abuse how it ends behind bubblewrap, Landlock and gVisor, and what its log must say where
it was refused rather than stopped. Behind the last two walls a run is one process, so what needs a second one
is refused at its first attempt. All abuses of a wall run a few at a time, under users, control groups and a
program name that nobody else has, by which whatever stays behind is found.
"""

import os
import re
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sandbox.settings import Isolation
from sandbox.submissions.isolation import cgroups, choose, complete
from sandbox.submissions.isolation.backend import End, Job, Limits

WALLS = ("bubblewrap", "landlock", "gvisor")
CPU_OVERRUN_SECONDS = (
    1.0  # time is looked at every 0.2 s, on up to two processors, and killing takes a moment
)
WALL_OVERRUN_SECONDS = 2.0
LIMITS = Limits(
    cpu_seconds=1, wall_seconds=30, memory_mb=400, processes=32, scratch_mb=32, log_bytes=20_000,
    artifact_bytes=1_000_000,
)  # fmt: skip
FIRST_UID, UIDS = 62_200, 16
SOURCE = Path(__file__).with_name("abuse.py").read_bytes()
REFUSED = "Operation not permitted"

# name: (ends behind bubblewrap, landlock, gvisor), and what the log says where it FAILED
ENDS = {
    # processes
    "fork_bomb": ("CPU CPU CPU", ""),
    "fork_bomb_that_reports": ("PROCESSES FAILED FAILED", REFUSED),
    "fork_bomb_behind_the_seal": ("FAILED FAILED FAILED", REFUSED),
    "thread_bomb": ("PROCESSES PROCESSES PROCESSES", ""),
    "zombie_bomb": ("PROCESSES FAILED FAILED", REFUSED),
    "daemon_that_holds_the_pipes": ("FINISHED FAILED FAILED", REFUSED),
    "daemon_that_lets_go": ("FINISHED FAILED FAILED", REFUSED),
    "grandchild_that_goes_on_writing": ("FINISHED FAILED FAILED", REFUSED),
    "children_that_spin": ("CPU FAILED FAILED", REFUSED),
    "exec_loop": ("FAILED FAILED FAILED", f"Permission denied|{REFUSED}"),
    "exec_behind_the_seal": ("FAILED FAILED FAILED", REFUSED),
    "kill_whoever_is_there": ("FINISHED FINISHED FINISHED", ""),
    "outlive_whoever_started_it": ("FINISHED FINISHED FINISHED", ""),
    # memory
    "memory_bomb": ("MEMORY MEMORY MEMORY", ""),
    "memory_bomb_of_many": ("MEMORY FAILED FAILED", REFUSED),
    "mapping_bomb": ("MEMORY FAILED MEMORY", REFUSED),
    "memory_bomb_in_shared_memory_files": ("SCRATCH FAILED FAILED", "Permission denied"),
    "memory_bomb_in_files_without_a_name": ("FAILED FAILED FAILED", REFUSED),
    # files and descriptors
    "disk_bomb": ("SCRATCH FAILED FAILED", "Permission denied|Read-only file system"),
    "disk_bomb_in_one_file": ("SCRATCH FAILED FAILED", "Permission denied|Read-only file system"),
    "folder_bomb": ("FINISHED FAILED FAILED", "Permission denied|Read-only file system"),
    "descriptor_bomb": ("DESCRIPTORS DESCRIPTORS DESCRIPTORS", ""),
    "pipe_bomb": ("DESCRIPTORS DESCRIPTORS DESCRIPTORS", ""),
    "descriptors_in_flight": ("FAILED FAILED FAILED", REFUSED),
    # time
    "spin_and_ignore_every_signal": ("CPU CPU CPU", ""),
    "spin_in_threads": ("CPU CPU CPU", ""),
    "close_everything_and_spin": ("CPU CPU CPU", ""),
    "sleep_and_ignore_every_signal": ("WALL WALL WALL", ""),
    "stop_itself": ("WALL WALL WALL", ""),
    "close_everything_and_stay": ("WALL WALL WALL", ""),
    # what comes out
    "log_bomb_without_end": ("CPU CPU CPU", ""),
    "log_that_acts_on_a_terminal": ("FINISHED FINISHED FINISHED", ""),
    "artifact_bomb": ("ARTIFACT ARTIFACT ARTIFACT", ""),
    "artifact_trickle": ("WALL WALL WALL", ""),
    "half_an_artifact": ("FAILED FAILED FAILED", ""),
    "artifact_by_the_log_and_log_by_the_artifact": ("FINISHED FINISHED FINISHED", ""),
    "close_the_pipes_and_reuse_their_numbers": ("FINISHED FINISHED FINISHED", ""),
    "leave_with_a_code_of_a_signal": ("FAILED FAILED FAILED", ""),
    "lift_its_limits": ("FAILED FAILED FAILED", "not allowed to raise maximum limit"),
}
WORDS = {
    "FINISHED": r"^The run finished\.$",
    "FAILED": r"exit code \d+|\(signal \d+: \w+",
    "CPU": r"isolation\.cpu_seconds",
    "WALL": r"isolation\.wall_seconds",
    "MEMORY": r"isolation\.memory_mb",
    "PROCESSES": r"isolation\.processes",
    "SCRATCH": r"isolation\.scratch_mb",
    "DESCRIPTORS": r"256 files",
    "ARTIFACT": r"isolation\.artifact_mb",
}


def limits_of(name, wall):
    """Sleepers get little time, bombs of memory enough to fill it; gVisor's own start counts as well."""
    if "WALL" in ENDS[name][0]:
        return replace(LIMITS, wall_seconds=4, cpu_seconds=10)
    if "MEMORY" in ENDS[name][0]:
        return replace(LIMITS, cpu_seconds=10)
    return replace(LIMITS, cpu_seconds=2) if wall == "gvisor" else LIMITS


@dataclass(frozen=True)
class Traces:
    """What a wall's runs have on this machine: while they last, and after."""

    processes: list[str]
    groups: list[str]
    folders: list[str]
    mounts: list[str]
    descriptors: set[str]

    def __or__(self, other):
        return Traces(
            *(a + b if isinstance(a, list) else a | b for a, b in zip(_of(self), _of(other), strict=True))
        )


def _of(traces):
    return traces.processes, traces.groups, traces.folders, traces.mounts, traces.descriptors


class Watch:
    """Sees what is of one wall's runs, and not what other tests do meanwhile."""

    def __init__(self, made):
        self.marker, self.made = f"abuse_{secrets.token_hex(8)}", made
        self.group = f"ndl-abuse-{os.getpid()}"
        self.settings = Isolation(cgroup=self.group, uid_first=FIRST_UID, uid_count=UIDS)

    def begin(self):
        self.mounts, self.descriptors = _mounts(), _descriptors()

    def traces(self):
        return Traces(
            processes=list(self._processes()),
            groups=[str(folder) for folder in self.groups() if folder.name.startswith("run-")],
            folders=[str(folder) for folder in self.made if folder.exists()],
            mounts=sorted(_mounts() - self.mounts),
            descriptors=_descriptors() - self.descriptors,
        )

    def groups(self):
        return sorted(
            [*cgroups.ROOT.glob(f"**/{self.group}/run-*"), *cgroups.ROOT.glob(f"**/{self.group}")],
            reverse=True,
        )

    def _processes(self):
        """By user, control group, and command line: of Python, or of what was started in a run's folder."""
        names = [self.marker, *(folder.name for folder in self.made)]
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                said = (process / "cmdline").read_text(errors="replace")
                by_user = not os.geteuid() and process.stat().st_uid in range(FIRST_UID, FIRST_UID + UIDS)
                by_group = self.group in (process / "cgroup").read_text()
                if by_user or by_group or any(name in said for name in names):
                    yield f"{process.name} {said[:200]}"


def _mounts():
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def _descriptors():
    return {f"{n} {_link(n)}" for n in os.listdir("/proc/self/fd") if _link(n)}


def _link(number):
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}")


@dataclass(frozen=True)
class Runs:
    wall: str
    outcomes: dict
    under_way: Traces
    left: Traces


@pytest.fixture(params=WALLS, scope="module")
def runs(request):
    """Every abuse behind one wall: those that sleep at once, beside them the others two by two."""
    made, make = [], tempfile.mkdtemp
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", lambda *a, **n: made.append(Path(make(*a, **n))) or str(made[-1]))
        watch = Watch(made)
        wall = choose.backend(request.param, watch.settings)
        if lacking := complete.missing(wall):
            pytest.skip(complete.words(wall.name, lacking))
        watch.begin()
        yield _all(wall, watch)
    for group in watch.groups():
        group.rmdir()


def _all(wall, watch):
    def run(name):
        job = Job({f"{watch.marker}.py": SOURCE}, {"abuse": name}, watch.marker)
        return wall.run(job, limits_of(name, wall.name))

    sleepers = [name for name in ENDS if "WALL" in ENDS[name][0]]
    with ThreadPoolExecutor(len(sleepers)) as many, ThreadPoolExecutor(2) as few:
        started = {name: many.submit(run, name) for name in sleepers}
        started |= {name: few.submit(run, name) for name in ENDS if name not in started}
        under_way = watch.traces()
        while not all(future.done() for future in started.values()):
            time.sleep(0.7)
            under_way |= watch.traces()
    return Runs(wall.name, {n: future.result() for n, future in started.items()}, under_way, watch.traces())


def test_there_are_enough_of_them():
    from tests.hostile import abuse

    assert len(ENDS) >= 25
    assert set(ENDS) <= set(abuse.ABUSES)


@pytest.mark.parametrize("name", ENDS)
def test_an_abuse_ends_by_its_limit_in_plain_words_and_in_time(runs, name):
    outcome, limits = runs.outcomes[name], limits_of(name, runs.wall)
    ends, said = ENDS[name]
    assert outcome.end is End[ends.split()[WALLS.index(runs.wall)]], (outcome.words, outcome.log[-500:])
    assert re.search(WORDS[outcome.end.name], outcome.words)
    if outcome.end is End.FAILED:
        assert re.search(said, outcome.log)
    assert outcome.cpu_seconds <= limits.cpu_seconds + CPU_OVERRUN_SECONDS
    assert outcome.wall_seconds <= limits.wall_seconds + WALL_OVERRUN_SECONDS
    assert len(outcome.artifact) <= limits.artifact_bytes
    assert len(outcome.log) <= 8 * limits.log_bytes + 100  # a byte is at most an escape of eight characters


def test_whoever_else_there_is_cannot_be_killed_nor_outlived(runs):
    for name in ("kill_whoever_is_there", "outlive_whoever_started_it"):
        said = runs.outcomes[name].log.splitlines()
        assert len(said) >= 4
        assert all(line.startswith("refused: ") for line in said), said


def test_a_run_ends_with_its_first_process_whoever_holds_its_pipes(runs):
    if runs.wall != "bubblewrap":
        pytest.skip("a run is one process there")
    for name in ("daemon_that_holds_the_pipes", "daemon_that_lets_go", "grandchild_that_goes_on_writing"):
        assert runs.outcomes[name].wall_seconds < 10


def test_a_log_is_cut_and_says_so_and_nothing_in_it_acts(runs):
    bomb = runs.outcomes["log_bomb_without_end"]
    assert bomb.log_cut
    assert "bytes left out" in bomb.log
    shown = runs.outcomes["log_that_acts_on_a_terminal"].log
    assert "\\x1b[2J" in shown
    assert "\\u202e" in shown
    assert all(c == "\n" or c.isprintable() for c in shown)


def test_an_artifact_that_is_too_large_is_not_handed_on_and_half_of_one_is_a_failure(runs):
    assert runs.outcomes["artifact_bomb"].artifact == b""
    assert runs.outcomes["half_an_artifact"].artifact.startswith(b'{"format"')
    swapped = runs.outcomes["artifact_by_the_log_and_log_by_the_artifact"]
    assert (swapped.artifact, swapped.log) == (b"meant for the log\n", "meant for the artifact\n")
    assert runs.outcomes["close_the_pipes_and_reuse_their_numbers"].artifact == b""


def test_no_process_control_group_folder_mount_or_descriptor_is_left(runs):
    assert runs.left == Traces([], [], [], [], set())


def test_what_looks_for_something_left_sees_what_is_under_way(runs):
    seen = runs.under_way
    assert seen.processes
    assert seen.descriptors
    assert seen.groups if runs.wall == "bubblewrap" else seen.folders
