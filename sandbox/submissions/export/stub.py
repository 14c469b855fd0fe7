"""What runs inside the wall: a developer's build(inputs), its export, and bytes out of one pipe.

Everything heavy is imported, and torch.export warmed up, before the wall is sealed; only then is the
first line of the developer's run. From that moment nothing in this process can be trusted, which is why
`result` reads what comes out as bytes of a stranger.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, Problem
from sandbox.submissions.export.result import FORMAT, MAX_PROBLEMS, MAX_TEXT

if TYPE_CHECKING:
    from sandbox.submissions.export.places import Origins

REQUEST = "request.json"
_BUILD = "End model.py with: def build(inputs): return Model(inputs)."


def main(argv: Sequence[str]) -> int:
    """Writes a record graph, or one line of problems, to the descriptor of the artifact; returns 0.

    A lack of memory is raised, for the caller to tell as one. Raises OSError, before any line of the
    developer's, when there is no wall to seal.
    """
    options = argparse.ArgumentParser()
    options.add_argument("--stage", type=Path, required=True)
    options.add_argument("--artifact-fd", type=int, required=True)
    given = options.parse_args(argv)
    request = json.loads((given.stage / REQUEST).read_bytes())
    inputs = Inputs.from_json(request["inputs"])
    _warm_up()

    from sandbox.submissions.isolation import inside

    inside.seal()
    _write(given.artifact_fd, _outcome(given.stage / request["module"], inputs, request["seed"]))
    return 0


def _warm_up() -> None:
    """torch.export imports much at its first use, and asks the system about itself: before the seal."""
    import logging

    import torch

    from sandbox.submissions.export.exporter import export

    torch.set_num_threads(1)
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]  # it writes code as it goes
    torch.backends.nnpack.set_flags(False)  # type: ignore[no-untyped-call]  # it reads /proc and says so
    logging.getLogger("torch").setLevel(logging.CRITICAL)  # its advice is for its own authors
    export(_tiny(), Inputs("binary", 1, numbers=2))


def _outcome(path: Path, inputs: Inputs, seed: int) -> bytes:
    from sandbox.submissions.export.tracing import problem_of

    try:
        return _exported(path, inputs, seed)
    except Invalid as error:
        _log(error)
        return _line(error.problems)
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too: this is the developer's code
        _log(error)
        return _line([problem_of(error)])


def _exported(path: Path, inputs: Inputs, seed: int) -> bytes:
    import random

    import numpy as np
    import torch

    from sandbox.submissions.export import places
    from sandbox.submissions.export.exporter import export

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    with places.origins() as origins:
        module = _built(path, inputs)
    noted: Origins = origins
    return export(module, inputs, noted).to_bytes()


def _built(path: Path, inputs: Inputs) -> Any:
    sys.path.insert(0, str(path.parent))  # a submission may have more than one file
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None
    assert spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    sys.modules["model"] = model
    spec.loader.exec_module(model)
    build = getattr(model, "build", None)
    if not callable(build):
        raise Invalid("The model", [Problem(path.name, "has no function build", _BUILD)])
    try:
        inspect.signature(build).bind(inputs)
    except TypeError as error:
        what = f"cannot be called with inputs ({error})"
        raise Invalid("The model", [Problem("build", what, _BUILD)]) from None
    return build(inputs)


def _line(problems: Sequence[Problem]) -> bytes:
    said = [
        {key: getattr(problem, key)[:MAX_TEXT] for key in ("where", "what", "todo")}
        for problem in problems[:MAX_PROBLEMS]
    ]
    return json.dumps({"format": FORMAT, "problems": said}, separators=(",", ":")).encode() + b"\n"


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _log(error: BaseException) -> None:
    traceback.print_exception(error)
    sys.stderr.flush()


def _tiny() -> Any:
    from torch import nn

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(2, 1)

        def forward(self, numbers: Any) -> Any:
            return self.line(numbers)

    return Tiny()
