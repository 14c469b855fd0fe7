"""The first Python inside a wall: puts up what belongs inside, then runs the one program asked for.

Run as a script with `-P -s -S -B`, so that neither the environment nor a file beside it nor a `.pth`
decides what is imported. Its only argument is JSON: {"path", "limits", "filter", "read", "write",
"program", "stage"}. Trusted, and as short as possible: it imports nothing a submission could have staged.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

OUT_OF_MEMORY = 71
"""Exit code for a MemoryError, or for torch's own words for it."""
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
    """Runs the program; its exit code."""
    if not asked["program"].startswith("sandbox."):
        sys.path.append(asked["stage"])
    program = importlib.import_module(asked["program"])
    try:
        return program.main(["--stage", asked["stage"], "--artifact-fd", "3"]) or 0
    except MemoryError:
        return _out_of_memory("MemoryError")
    except RuntimeError as error:
        if any(word in str(error) for word in _TORCH_WORDS):
            return _out_of_memory(str(error))
        raise


def _out_of_memory(what: str) -> int:
    print(what, file=sys.stderr, flush=True)
    return OUT_OF_MEMORY


if __name__ == "__main__":
    sys.exit(main())
