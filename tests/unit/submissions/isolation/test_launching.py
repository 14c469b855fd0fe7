"""Was it the wall or the submission? What a run that ended is taken for, and what it is called."""

import errno
import os
import sys

import pytest

from sandbox.errors import Unfit
from sandbox.submissions.isolation import launching, limits, pipes, processor, start
from sandbox.submissions.isolation.backend import End, Limits
from sandbox.submissions.isolation.launcher import Request

LIMITS = Limits(cpu_seconds=2, wall_seconds=5, artifact_bytes=100)
SAYS_UP = f"import os; os.write(3, {start.UP!r}); "


def launch(program, **more):
    """The program with nothing around it: only what the launcher and its pipes do is asked here."""
    request = Request(
        command=[sys.executable, "-I", "-S", "-c", program], environment={}, keep=[], groups=[],
        processor_file="", stage="", binds=[], user=None, limits={}, cpu_seconds=2, wall_seconds=5,
        service=os.getpid(),
    )  # fmt: skip
    return launching.launch(Request(**request | more), LIMITS)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.write(2, b'bwrap: No permissions to create new namespace\\n'); os._exit(1)",
         "No permissions to create new namespace"),
        ("pass", "It said nothing"),
        ("import os; os.write(3, b'a graph')", "The run finished"),
        ("import os; os.kill(os.getpid(), 9)", "Killed"),
        ("import os; os.write(3, b'x' * 10**6)", "returned more than"),
    ],
)  # fmt: skip
def test_a_run_that_ends_before_its_wall_is_up_is_unfit_and_no_submission_is_blamed(program, said):
    with pytest.raises(Unfit, match="A wall could not be put up, so nothing was run") as refused:
        launch(program)
    assert said in str(refused.value)


def test_a_wall_that_takes_too_long_is_unfit():
    with pytest.raises(Unfit, match="longer than"):
        launch("import time; time.sleep(50)", wall_seconds=0.5)


def test_what_an_unfinished_wall_said_is_escaped():
    with pytest.raises(Unfit) as refused:
        launch("import os; os.write(2, b'\\x1b[2Jgone')")
    assert "\\x1b[2Jgone" in str(refused.value)


def test_the_word_that_the_wall_is_up_is_taken_off_and_not_counted():
    ended = launch(SAYS_UP + "os.write(3, b'x' * 100)")
    assert ended.collected.artifact == b"x" * 100
    assert launching.outcome(ended, LIMITS).end is End.FINISHED
    ended = launch(SAYS_UP + "os.write(3, b'x' * 101)")
    assert launching.outcome(ended, LIMITS).end is End.ARTIFACT


def test_processor_time_without_a_control_group_is_that_of_every_process_also_the_dead():
    """Each stays below the limit; they are one after another, so nothing but their sum shows it."""
    spin = "import time\nwhile time.process_time() < 0.8: pass\n"
    program = f"{SAYS_UP}\nfor _ in range(9):\n    if os.fork(): os.wait(); continue\n    exec({spin!r}); os._exit(0)"
    ended = launch(program, wall_seconds=20)
    assert ended.report["ended_by"] == "cpu"
    assert ended.report["cpu_seconds"] < LIMITS.cpu_seconds + 0.5


def test_time_is_counted_of_living_and_of_uncollected_children():
    if not (child := os.fork()):
        while sum(os.times()[:2]) < 0.3:
            pass
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert processor.of_descendants(os.getpid()) >= 0.25
    finally:
        os.waitpid(child, 0)


def ended(by="", code=0, oom=0, log=b"", forks=0, cpu_seconds=0.1):
    report = {"ended_by": by, "code": code, "wall_seconds": 1.0, "cpu_seconds": cpu_seconds, "trouble": "",
              "counted": {"oom": oom, "full": 0, "forks": forks}}  # fmt: skip
    return launching.Ended(pipes.Collected(b"", False, log, False, b"", False), report)


@pytest.mark.parametrize(
    ("found", "end", "setting"),
    [
        (ended(by="wall"), End.WALL, "isolation.wall_seconds"),
        (ended(by="wall", oom=1), End.MEMORY, "isolation.memory_mb"),
        (ended(by="cpu", oom=1), End.MEMORY, "isolation.memory_mb"),
        (ended(by="memory", code=137, oom=1), End.MEMORY, "isolation.memory_mb"),
        (ended(code=start.BY_ERROR[errno.ENOMEM]), End.MEMORY, "isolation.memory_mb"),
        (ended(code=start.BY_ERROR[errno.ENOSPC]), End.SCRATCH, "isolation.scratch_mb"),
        (ended(code=start.BY_ERROR[errno.EMFILE]), End.DESCRIPTORS, str(limits.within(LIMITS)["NOFILE"])),
        (ended(code=1, forks=1), End.PROCESSES, "isolation.processes"),
        (ended(code=1), End.FAILED, "exit code 1"),
        (ended(code=139), End.FAILED, "Segmentation fault"),
        (ended(code=137, cpu_seconds=0.5 * LIMITS.cpu_seconds), End.FAILED, "signal 9"),
        (ended(code=137, cpu_seconds=LIMITS.cpu_seconds), End.CPU, "isolation.cpu_seconds"),
    ],
)
def test_the_cause_is_named_and_not_what_followed_from_it(found, end, setting):
    outcome = launching.outcome(found, LIMITS)
    assert outcome.end is end
    assert setting in outcome.words
