"""The first Python behind a wall that has no process namespace to count and kill by: one process, for good.

As `start`, but both filters go up before the program is even imported: from then on this process starts
no program and no process. So one limit of memory and one of processor time hold for the whole run, and
killing it is killing everything. Nothing can be written either; the names of temporary files that torch
makes up on import point at the stage.

Run as a script with `-P -s -S -B`; JSON as for `start`, and "filters" (paths, put up in order),
"landlock" (whether to put it up) and "artifact_is_stdout" (for a wall that passes no descriptor at 3).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

LOG, ARTIFACT = 2, 3


def main() -> int:
    asked = json.loads(sys.argv[1])
    sys.path.extend(asked["path"])
    from sandbox.submissions.isolation import inside, limits, start

    if asked["artifact_is_stdout"]:
        os.dup2(sys.stdout.fileno(), ARTIFACT)
        os.dup2(LOG, sys.stdout.fileno())
    filters = [Path(path).read_bytes() for path in asked["filters"]]
    if asked["landlock"]:
        start.put_up(asked)
    else:
        limits.put_up(asked["limits"])
        inside.keep(Path(asked["filter"]).read_bytes())
    for each in filters:
        inside.load(each)
    inside.seal()
    tempfile.tempdir = asked["stage"]
    return start.carry_out(asked)


if __name__ == "__main__":
    sys.exit(main())
