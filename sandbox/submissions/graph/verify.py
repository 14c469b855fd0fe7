"""May this graph meet records? Every operator, argument, shape and cost is checked without any value.

The graph runs on torch's meta device, where tensors have a shape and a dtype and nothing else, once for
one record and once as training would: the gradient of each of two records. What cannot run there, or
costs more than the caps, is refused with the developer's own module and line.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, Problem
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.interpret import Program, Step, start
from sandbox.submissions.graph.operators import DTYPES, OPERATORS
from sandbox.submissions.graph.reading import SUBJECT
from sandbox.submissions.graph.signature import misfit
from sandbox.submissions.graph.summary import Layer, Summary
from sandbox.submissions.graph.terms import Node, Ref, WeightRef

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Caps:
    """How much one record may cost. `elements` is the largest tensor, `total` all of them together.

    `steps` are those of all loops inside operators: each takes about the time of a few nodes.
    `pieces` are the results of operators that have several, also those that are empty. `flops` holds for the
    work of the operators, and also for the numbers that they read.
    """

    elements: int = 2**24
    total: int = 2**27
    flops: int = 10**10
    parameters: int = 10**8
    steps: int = 10_000
    pieces: int = 50_000
    dimensions: int = 12


def verify(graph: RecordGraph, expected: Inputs | None = None, caps: Caps = Caps()) -> Summary:
    """What the graph is, in figures; raises Invalid, and nothing else, for a graph that may not run.

    `expected`: what records of the task look like; the graph's inputs and output must be exactly that.
    """
    _check_names(graph, expected, caps)
    with strictly_vmapped():
        run = _Run(graph, caps)
        outputs = _check_output(run.finish(), expected)
        _check_gradients(graph)
    return run.summary(outputs)


def verify_again(graph: RecordGraph, expected: Inputs | None = None, caps: Caps = Caps()) -> int:
    """How many numbers are computed on the way to one answer; raises Invalid for a graph that may not run.

    For a graph that was verified once and whose bytes are surely the same: every operator, argument and size once
    more, by today's rules, but on one blank record. What only shapes decide, work and gradients, is as it was; and
    torch's compiler, which the meta device brings with it, takes a second and 90 MB of whoever only scores.
    """
    _check_names(graph, expected, caps)
    with strictly_vmapped():
        run = _Run(graph, caps, blank=True)
        _check_output(run.finish(), expected)
    return run.values


def _refused(where: str, what: str, todo: str = "") -> Invalid:
    return Invalid(SUBJECT, [Problem(where, what, todo)])


def _check_names(graph: RecordGraph, expected: Inputs | None, caps: Caps) -> None:
    problems = [
        Problem(place(node), "this operator is not among those that graphs may use")
        for node in graph.nodes
        if node.op not in OPERATORS
    ]
    if expected is not None:
        found = {s.name: (s.dtype, s.shape) for s in graph.inputs}
        wanted = {name: (dtype, (1, *shape)) for name, (dtype, shape) in expected.tensors.items()}
        if found != wanted:
            what = "the graph's inputs are not those of the task"
            problems.append(Problem("inputs", what, "Export it again with the inputs that build() receives."))
    if not any(w.trainable for w in graph.weights):
        problems.append(
            Problem("weights", "none is trainable", "A model needs at least one nn.Parameter that it uses.")
        )
    if sum(math.prod(w.shape) for w in graph.weights) > caps.parameters:
        problems.append(
            Problem("weights", f"more than {caps.parameters:,} in all", "Make the model smaller.")
        )
    if problems:
        raise Invalid(SUBJECT, problems[:_MAX_PROBLEMS])


def place(node: Node) -> str:
    """Where a node comes from, in words: its name and operator, and the developer's module and line."""
    words = f"node {node.name} ({node.op})"
    if node.module:
        words += f" of module {node.module!a}" + (f" ({node.kind})" if node.kind else "")
    return f"{words} at {node.line}" if node.line else words


class _Run:
    """One record through the graph, counting: on the meta device, or `blank`, with all its inputs zero."""

    def __init__(self, graph: RecordGraph, caps: Caps, *, blank: bool = False) -> None:
        self._graph, self._caps, self._device = graph, caps, "cpu" if blank else "meta"
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._elements = self._extra = self._steps = 0
        self._looked_at = self._pieces = 0
        self._counter = None if blank else FlopCounterMode(display=False)

    def finish(self) -> Any:
        program = Program(self._graph, training=self._device == "meta")
        with torch.device(self._device), torch.no_grad(), self._counter or nullcontext():
            values = start(_weights(self._graph, self._device), _inputs(self._graph))
            for step in program.steps:
                self._one(step, values)
        return values[program.output]

    @property
    def values(self) -> int:
        """How many numbers were computed."""
        return self._elements

    @property
    def flops(self) -> int:
        return (self._counter.get_total_flops() if self._counter else 0) + self._elements + self._extra

    def _one(self, step: Step, values: dict[Ref | WeightRef, Any]) -> None:
        node, operator = step.node, OPERATORS[step.node.op]
        why = _misfit_of_item(node, values) if node.op == "getitem" else ""
        why = why or (
            ""
            if node.op == "getitem"
            else misfit(operator.signature, node.args, node.kwargs, _dtypes(values))
        )
        if why:
            raise _refused(place(node), why)
        arguments = step.make(values)
        try:
            step(values)
        except Exception as error:  # torch raises many kinds, and each is a refusal
            raise _refused(place(node), f"cannot run: {first_line(error)}") from None
        result = values[step.result]
        self._looked_at += _numbers(arguments) if node.op != "getitem" else 0
        self._pieces += len(result) if operator.pieces else 0
        for tensor in result if operator.pieces else (result,):
            self._count(node, tensor)
        if operator.work and isinstance(result, Tensor):
            self._extra += operator.work(arguments) * result.numel()
        if operator.loops:
            steps, kept = operator.loops(arguments)
            self._steps, self._elements = self._steps + steps, self._elements + kept
        if isinstance(result, Tensor):
            self._shapes[node.name] = tuple(result.shape)
        spent = (self.flops, self._looked_at, self._elements, self._steps, self._pieces)
        cap = self._caps
        caps = (cap.flops, cap.flops, cap.total, cap.steps, cap.pieces)
        if any(found > cap for found, cap in zip(spent, caps, strict=True)):
            raise _refused(
                place(node), "by here one record costs more than the caps", "Make the model smaller."
            )

    def _count(self, node: Node, tensor: Any) -> None:
        if not isinstance(tensor, Tensor) or tensor.dtype not in _NAMES or tensor.layout is not torch.strided:
            raise _refused(place(node), "its result is not a float32, int64 or bool tensor")
        if tensor.device.type != self._device:
            raise _refused(place(node), "its result is on another device")
        if tensor.numel() > self._caps.elements or tensor.dim() > self._caps.dimensions:
            raise _refused(
                place(node),
                f"its result is larger than {self._caps.elements:,} numbers or {self._caps.dimensions} dimensions",
                "Make the model smaller.",
            )
        self._elements += tensor.numel()

    def summary(self, outputs: int) -> Summary:
        read = {ref.name for node in self._graph.nodes for ref in node.references() if isinstance(ref, Ref)}
        names = [s.name for s in self._graph.inputs]
        sizes = {w.name: math.prod(w.shape) for w in self._graph.weights}
        return Summary(
            layers=tuple(_layers(self._graph, self._shapes, sizes)),
            parameters=sum(sizes.values()),
            trainable=sum(sizes[w.name] for w in self._graph.weights if w.trainable),
            inputs_used=tuple(n for n in names if n in read),
            inputs_unused=tuple(n for n in names if n not in read),
            outputs=outputs,
            flops_per_record=self.flops,
            values_per_record=self._elements,
            nodes=len(self._graph.nodes),
        )


def _numbers(argument: Any) -> int:
    """How many numbers are in the tensors of an argument, or of a list of them."""
    if isinstance(argument, tuple | list):
        return sum(map(_numbers, argument))
    return argument.numel() if isinstance(argument, Tensor) else 0


def _dtypes(values: dict[Ref | WeightRef, Any]) -> Any:
    def dtype_of(ref: Ref | WeightRef) -> str:
        value = values[ref]
        return _NAMES.get(value.dtype, "") if isinstance(value, Tensor) else ""

    return dtype_of


def _misfit_of_item(node: Node, values: dict[Ref | WeightRef, Any]) -> str:
    match node.args:
        case (Ref() as of, int(index)) if type(index) is int and not node.kwargs:
            pieces = values[of]
            if isinstance(pieces, tuple | list) and 0 <= index < len(pieces):
                return ""
    return "it does not name one of the results of an operator that has several"


def _check_output(output: Any, expected: Inputs | None) -> int:
    if not isinstance(output, Tensor) or output.dtype is not torch.float32 or output.dim() != 2:
        raise _refused("output", "not a float32 tensor of shape [1, outputs]")
    if output.shape[0] != 1 or (expected is not None and output.shape[1] != expected.outputs):
        wanted = expected.outputs if expected is not None else "outputs"
        raise _refused("output", f"its shape is {list(output.shape)} and should be [1, {wanted}]")
    return int(output.shape[1])


def _check_gradients(graph: RecordGraph) -> None:
    """The gradient of each of two records, as training takes it; raises Invalid when that cannot run."""
    program = Program(graph, training=True)
    at = [place(graph.nodes[0]) if graph.nodes else "output"]
    learns: list[bool] = []

    def loss(
        learned: Mapping[str, Tensor], fixed: Mapping[str, Tensor], record: Mapping[str, Tensor]
    ) -> Tensor:
        values = start({**fixed, **learned}, record)
        for step in program.steps:
            at[0] = place(step.node)
            step(values)
        at[0] = "the gradient of the graph"
        answer: Tensor = values[program.output]
        learns.append(answer.requires_grad)
        return answer.sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, None, 0), randomness="different")
    with torch.device("meta"):
        weights, inputs = _weights(graph, "meta"), _inputs(graph)
        learned = {w.name: weights.pop(w.name) for w in graph.weights if w.trainable}
        pairs = {name: torch.stack([tensor, tensor]) for name, tensor in inputs.items()}
        try:
            each(learned, weights, pairs)
        except Exception as error:  # torch raises many kinds, and each is a refusal
            raise _refused(at[0], f"cannot be trained record by record: {first_line(error)}") from None
    if not any(learns):
        raise _refused(
            "output",
            "does not depend on any trainable weight in a way that it could learn from",
            "Let the answer come from an nn.Parameter, without detach() or a comparison in between.",
        )


def _weights(graph: RecordGraph, device: str) -> dict[str, Tensor]:
    if device == "meta":
        return {w.name: torch.empty(w.shape, dtype=DTYPES[w.dtype]) for w in graph.weights}
    return {name: torch.from_numpy(value.copy()) for name, value in graph.values.items()}


def _inputs(graph: RecordGraph) -> dict[str, Tensor]:
    return {s.name: torch.zeros(s.shape, dtype=DTYPES[s.dtype]) for s in graph.inputs}


def _layers(
    graph: RecordGraph, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]
) -> Iterator[Layer]:
    """Runs of nodes of the same module, as one layer each; a weight counts where it is used first."""
    counted: set[str] = set()
    group: list[Node] = []
    for node in (*graph.nodes, None):
        if group and (node is None or (node.module, node.kind) != (group[0].module, group[0].kind)):
            names = {r.name for n in group for r in n.references() if isinstance(r, WeightRef)} - counted
            counted |= names
            shape = next((shapes[n.name] for n in reversed(group) if n.name in shapes), ())
            operators = tuple(dict.fromkeys(n.op for n in group))
            yield Layer(group[0].module, group[0].kind, operators, shape, sum(sizes[n] for n in names))
            group = []
        if node is not None:
            group.append(node)


def first_line(error: Exception) -> str:
    """torch's own words, which can quote names of ours and shapes, made safe and short."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text.encode("ascii", "backslashreplace").decode()[:200].rstrip(".")


@contextmanager
def strictly_vmapped() -> Iterator[None]:
    """No warnings, and no slow way around a missing batching rule: that is an error instead."""
    from torch._C import _functorch as _private

    functorch: Any = _private

    allowed = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        functorch._set_vmap_fallback_enabled(allowed)
