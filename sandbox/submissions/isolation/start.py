"""The first Python inside a wall: puts up what belongs inside, then runs the one program asked for.

Run as a script with `-P -s -S -B`, so that neither the environment nor a file beside it nor a `.pth`
decides what is imported. Its only argument is JSON: {"path", "limits", "filter", "read", "write",
"program", "stage"}. Trusted, and as short as possible: it imports nothing a submission could have staged.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

UP = b"ndl: the wall is up\n"
"""The first bytes on the artifact's pipe: every layer is up, and nothing of the submission has run yet.

Whoever reads the pipe takes them off again; a run that ends without them says nothing about a submission.
"""
ARTIFACT = 3
OUT_OF_MEMORY, OUT_OF_SCRATCH, OUT_OF_DESCRIPTORS = 71, 72, 73
"""Exit codes for what the program ran out of, where its exception says so."""
BY_ERROR = {
    errno.ENOMEM: OUT_OF_MEMORY,
    errno.ENOSPC: OUT_OF_SCRATCH,
    errno.EFBIG: OUT_OF_SCRATCH,
    errno.EMFILE: OUT_OF_DESCRIPTORS,
}
_TORCH_WORDS = ("can't allocate memory", "std::bad_alloc")


def main() -> int:
    asked = json.loads(sys.argv[1])
    sys.path.extend(asked["path"])
    put_up(asked)
    return carry_out(asked)


def put_up(asked: dict[str, Any]) -> None:
    """The layers that belong inside, in order. Raises OSError where the kernel refuses one."""
    from sandbox.submissions.isolation import inside, limits

    limits.put_up(asked["limits"])
    inside.put_up(
        Path(asked["filter"]).read_bytes(),
        [Path(p) for p in asked["read"]],
        [Path(p) for p in asked["write"]],
    )


def carry_out(asked: dict[str, Any]) -> int:
    """Says that the wall is up, then runs the program; its exit code."""
    os.write(ARTIFACT, UP)
    if not asked["program"].startswith("sandbox."):
        sys.path.append(asked["stage"])
    program = importlib.import_module(asked["program"])
    try:
        return program.main(["--stage", asked["stage"], "--artifact-fd", str(ARTIFACT)]) or 0
    except MemoryError:
        return _out_of_memory("MemoryError")
    except RuntimeError as error:
        if any(word in str(error) for word in _TORCH_WORDS):
            return _out_of_memory(str(error))
        raise
    except OSError as error:
        if error.errno not in BY_ERROR:
            raise
        traceback.print_exc()
        return BY_ERROR[error.errno]


def _out_of_memory(what: str) -> int:
    print(what, file=sys.stderr, flush=True)
    return OUT_OF_MEMORY


if __name__ == "__main__":
    sys.exit(main())
