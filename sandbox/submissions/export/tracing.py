"""What does a module do to one record? torch.export follows it; this is the only door to torch.export."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, default_decompositions
from torch.fx import GraphModule, Node
from torch.nn.modules import transformer

from sandbox.errors import Invalid, Problem
from sandbox.submissions.export import advice, places
from sandbox.submissions.graph.operators import OPERATORS
from sandbox.submissions.isolation.start import BY_ERROR

_ASSIGNED = re.compile(r"self\.([\w.\[\]]+)")
_OF_TORCH = "_flat_weights"  # what torch's own GRU and LSTM reassign at every call
_NO_MEMORY = ("can't allocate memory", "std::bad_alloc")  # as isolation.start tells it, too
_aten = torch.ops.aten


def traced(module: nn.Module, record: Mapping[str, Tensor]) -> ExportedProgram:
    """A functional program of static shapes for one record, in training mode.

    Operators that record graphs do not have are written out in terms of others where torch knows how.
    Raises Invalid, naming the developer's line, when the module cannot be followed.
    """
    module.train()
    known: dict[Any, Any] = default_decompositions()
    written_out = {op: known[op] for op in list(known) if str(op) not in OPERATORS}
    try:
        with _hints_as_given(), _quietly() as said:
            program: ExportedProgram = torch.export.export(module, (), dict(record), strict=False)
            _keep_dropout_whole(program.graph_module)
            program = program.run_decompositions(written_out)
    except Exception as error:
        raise Invalid("The model", [problem_of(error)]) from error
    assigned = [name for text in said for name in _ASSIGNED.findall(text) if _OF_TORCH not in name]
    if assigned:
        why = advice.ASSIGNED
        raise Invalid("The model", [Problem(f"self.{name}", why.what, why.todo) for name in set(assigned)])
    return program


def problem_of(error: BaseException) -> Problem:
    """What an exception out of the developer's code means, and at which line.

    Raises it again when it is a lack of memory, scratch space or descriptors: whoever started the run says
    which limit that is, and which setting.
    """
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        raise error
    if isinstance(error, OSError) and error.errno in BY_ERROR:
        raise error
    found = advice.of_error(type(error).__name__, str(error))
    line = places.of_traceback(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        line = f"{Path(error.filename).name}:{error.lineno}"
    return Problem(line or "forward", found.what, found.todo)


@contextmanager
def _hints_as_given() -> Iterator[None]:
    """torch's transformer asks a mask's values whether it is causal, if not told; the mask says all there is."""
    before = transformer._detect_is_causal_mask

    def told(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
        return bool(is_causal)

    transformer._detect_is_causal_mask = told
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = before


@contextmanager
def _quietly() -> Iterator[list[str]]:
    """Collects torch's warnings about what forward assigns, and keeps its advice to its own authors out."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
        said += [str(w.message) for w in caught if "assigned during export" in str(w.message)]


def _keep_dropout_whole(module: GraphModule) -> None:
    """Rewrites the forms of dropout that torch would write out as arithmetic on random bits.

    In-place dropout becomes dropout and a copy; dropout of channels becomes dropout of one number for
    each, times the channels.
    """
    for node in list(module.graph.nodes):
        if node.target is _aten.dropout_.default:
            with _before(node) as call:
                dropped = call(_aten.dropout.default, *node.args)
                _replace(node, call(_aten.copy_.default, node.args[0], dropped))
        elif node.target is _aten.feature_dropout.default:
            channels, *rest = node.args
            shape = [*channels.meta["val"].shape[:2], *(1 for _ in channels.meta["val"].shape[2:])]
            with _before(node) as call:
                kept = call(_aten.dropout.default, call(_aten.ones.default, shape), *rest)
                _replace(node, call(_aten.mul.Tensor, channels, kept))
    module.recompile()


@contextmanager
def _before(node: Node) -> Iterator[Callable[..., Node]]:
    """Puts calls before a node, as if they came from the same line."""

    def call(target: Callable[..., Any], *args: Any) -> Node:
        made = node.graph.call_function(target, args)
        made.meta = dict(node.meta)
        return made

    with node.graph.inserting_before(node):
        yield call


def _replace(node: Node, by: Node) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)
