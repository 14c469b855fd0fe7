"""What leaves a wall is bounded, and nobody is ever kept waiting to write it."""

import os
import threading
import time

from sandbox.submissions.isolation import pipes


def collect(artifact=b"", log=b"", report=b"", seconds=20, stop=lambda: None, **limits):
    """The three streams written by somebody else, as fast as they are read."""
    ends = [os.pipe() for _ in range(3)]
    streams = zip(ends, (artifact, log, report), strict=True)
    writers = [threading.Thread(target=_write, args=(end[1], data)) for end, data in streams]
    for writer in writers:
        writer.start()
    bounds = {"artifact_bytes": 100, "log_bytes": 100, "report_bytes": 100} | limits
    deadline = time.monotonic() + seconds
    collected = pipes.collect(*(end[0] for end in ends), **bounds, deadline=deadline, stop=stop)
    for writer in writers:
        writer.join()
    return collected


def _write(descriptor, data):
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(descriptor)


def test_what_fits_comes_whole():
    collected = collect(b"a" * 100, b"l" * 100, b"r" * 100)
    assert (collected.artifact, collected.log, collected.report) == (b"a" * 100, b"l" * 100, b"r" * 100)
    assert not any((collected.too_large, collected.log_cut, collected.timed_out))


def test_a_log_too_long_keeps_its_beginning_and_its_end_and_never_blocks():
    collected = collect(log=b"first" + b"." * 5_000_000 + b"last!")
    assert collected.log_cut
    assert collected.log.startswith(b"first")
    assert collected.log.endswith(b"last!")
    assert b"[... 4,999,910 bytes left out ...]" in collected.log
    assert not collected.timed_out


def test_an_artifact_too_large_asks_for_the_end_once_and_keeps_no_more_than_allowed():
    asked = []
    collected = collect(b"a" * 5_000_000, stop=lambda: asked.append(1))
    assert (asked, collected.too_large, len(collected.artifact)) == ([1], True, 100)


def test_a_writer_that_never_ends_does_not_hold_the_service():
    held = [os.pipe() for _ in range(3)]
    began = time.monotonic()
    bounds = {"artifact_bytes": 1, "log_bytes": 1, "report_bytes": 1}
    collected = pipes.collect(*(e[0] for e in held), **bounds, deadline=began + 0.2, stop=lambda: None)
    assert collected.timed_out
    assert time.monotonic() - began < 5
    for end in held:
        os.close(end[1])
