"""A run's folder is gone with its run, also when the service was killed in between."""

import os
import tempfile
from pathlib import Path

from sandbox.submissions.isolation import folders


def test_the_folder_of_a_killed_service_goes_with_the_next_run_and_one_in_use_stays():
    with folders.run_folder({"a/b": b"x"}) as in_use:
        left = Path(tempfile.mkdtemp(prefix="ndl-run-", dir=in_use.parent))
        for folder in (left, in_use):
            os.utime(folder, (0, 0))
        with folders.run_folder({}):
            assert not left.exists()
            assert (in_use / "a/b").read_bytes() == b"x"
    assert not in_use.exists()
