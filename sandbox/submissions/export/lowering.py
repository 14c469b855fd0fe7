"""Which nodes and weights say the same as a traced program? Plain data; constants are computed once, here.

Whatever cannot be said becomes a Problem that names the developer's module and line.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node as Step
from torch.fx.node import map_arg

from sandbox.errors import Problem
from sandbox.submissions.export import advice, places, steps
from sandbox.submissions.export.advice import Advice
from sandbox.submissions.graph.operators import OPERATORS
from sandbox.submissions.graph.signature import misfit
from sandbox.submissions.graph.terms import Argument, Dtype, Node, Ref, WeightRef

_DTYPES = {torch.float32: "float32", torch.int64: "int64", torch.bool: "bool"}
_WIDENED = dict.fromkeys((torch.int32, torch.int16, torch.int8), torch.int64)
_OF_THE_MACHINE = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking"})
_THE_SAME = frozenset({"alias", "clone", "contiguous", "lift", "lift_fresh", "lift_fresh_copy"})
_THE_SAME_IF_UNCHANGED = frozenset({"copy", "_to_copy", "expand", "view"})
_SHAPE_ONLY = frozenset({"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"})
_WEIGHT_NAME = re.compile(r"(?!__)[A-Za-z0-9_.-]{1,180}")
_INFINITIES = (("plus", float("inf")), ("minus", float("-inf")))
_MAX_PROBLEMS = 20


@dataclass
class Lowered:
    """A traced program as data. `trainable` names weights; nothing in it counts if there are problems."""

    nodes: list[Node]
    weights: dict[str, Tensor]
    trainable: set[str]
    output: str
    problems: list[Problem]


def lowered(program: ExportedProgram, module: nn.Module, inputs: Sequence[str]) -> Lowered:
    """`program`, which is `module` traced and answers with one tensor, in terms of the table's operators.

    `inputs` are the names of its inputs, in the order in which they were given.
    """
    return _Lowering(program, module, inputs).run()


def answer_of(program: ExportedProgram) -> Step | None:
    """The step that computes what the module returns; None if it returns no tensor."""
    outputs: Any = next(step for step in program.graph.nodes if step.op == "output").args[0]
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    found = outputs[kinds.index(OutputKind.USER_OUTPUT)] if OutputKind.USER_OUTPUT in kinds else None
    return found if isinstance(found, Step) and isinstance(steps.meta(found), Tensor) else None


class _Unsayable(Exception):
    def __init__(self, why: Advice) -> None:
        super().__init__(why.what)
        self.why = why


@dataclass(frozen=True)
class _Held:
    """A parameter, buffer or constant that no step has read yet."""

    name: str
    value: Tensor
    trainable: bool = False


class _Lowering:
    def __init__(self, program: ExportedProgram, module: nn.Module, inputs: Sequence[str]) -> None:
        self.program = program
        self.specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        given = [name for name, spec in self.specs.items() if spec.kind is InputKind.USER_INPUT]
        self.inputs = dict(zip(given, inputs, strict=True))
        self.made = Lowered([], {}, set(), "", [])
        self.held = _held(program, module)
        self.known: dict[Step, Any] = {}  # values of steps that depend on neither the record nor a weight
        self.said: dict[Step, Argument] = {}
        self.lost: set[Step] = set()
        self.dtypes: dict[str, str] = {}

    def run(self) -> Lowered:
        self._refuse_writes()
        answer = answer_of(self.program)
        assert answer is not None
        live = _live(answer)
        for step in self.program.graph.nodes:
            if step in live:
                self._take(step)
        if not self.made.problems:
            said = self._reference(answer, answer)
            self.made.output = said.name if isinstance(said, Ref) else ""
        return self.made

    def _refuse_writes(self) -> None:
        signature = self.program.graph_signature
        named = {step.name: step for step in self.program.graph.nodes}
        for name, target in {**signature.buffers_to_mutate, **signature.parameters_to_mutate}.items():
            why = advice.special(steps.name(named[name])) or advice.WRITTEN
            self._complain(f"{target}, {steps.where(named[name])}", why)

    def _complain(self, where: str, why: Advice) -> None:
        problem = Problem(where, why.what, why.todo)
        if problem not in self.made.problems and len(self.made.problems) < _MAX_PROBLEMS:
            self.made.problems.append(problem)

    def _take(self, step: Step) -> None:
        if any(source in self.lost for source in step.all_input_nodes):
            self.lost.add(step)
            return
        try:
            if step.op == "placeholder":
                self._take_input(step)
            elif step.op == "call_function":
                self._take_call(step)
        except _Unsayable as error:
            self.lost.add(step)
            self._complain(steps.where(step), error.why)

    def _take_input(self, step: Step) -> None:
        spec = self.specs[step.name]
        if spec.kind is InputKind.USER_INPUT:
            name = self.inputs[step.name]
            self.said[step] = Ref(name)
            self.dtypes[name] = _dtype(steps.meta(step).dtype).name
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            self.known[step] = self.program.constants[str(spec.target)].detach()

    def _take_call(self, step: Step) -> None:
        name, target = steps.name(step), step.target
        if target is operator.getitem:
            self._take_item(step)
        elif not isinstance(target, OpOverload):
            raise _Unsayable(advice.of_operator(name))
        elif name in ("native_dropout", "dropout"):
            self._take_dropout(step)
        elif steps.draws(step):
            raise _Unsayable(advice.special(name) or advice.RANDOM)
        elif name.startswith(("empty", "new_empty")):
            if not any(steps.draws(user) for user in step.users):  # what fills it is named instead
                raise _Unsayable(advice.of_operator(name))
            self.known[step] = torch.zeros(steps.shape(step))
        elif name in _SHAPE_ONLY or all(source in self.known for source in step.all_input_nodes):
            self.known[step] = self._computed(step)
        elif (same := _same_as(step)) is not None:
            self.said[step] = self._reference(same, step)
        else:
            self._say(step)

    def _take_item(self, step: Step) -> None:
        source, index = step.args
        assert isinstance(source, Step)
        assert isinstance(index, int)
        if source in self.known:
            self.known[step] = self.known[source][index]
        elif steps.name(source) == "native_dropout":
            self.said[step] = self._reference(source, step)
        else:
            self._add(step, "getitem", self._reference(source, step), index)

    def _take_dropout(self, step: Step) -> None:
        source, rate, training = (*step.args, True)[:3]
        kept = self._argument(source, step)
        if training is False or rate == 0:
            self.said[step] = kept
        else:
            self._add(step, "aten.dropout.default", kept, self._argument(rate, step))

    def _computed(self, step: Step) -> Any:
        def value(source: Step) -> Any:
            if source in self.known:
                return self.known[source]
            return torch.zeros(
                steps.shape(source), dtype=steps.meta(source).dtype
            )  # only its shape is asked for

        assert callable(step.target)
        with torch.no_grad():
            return step.target(*map_arg(step.args, value), **map_arg(step.kwargs, value))

    def _say(self, step: Step) -> None:
        name, args = steps.name(step), step.args
        if name == "copy":
            spread = self._add(step, "aten.expand.default", self._argument(args[1], step), steps.shape(step))
            self._add(step, "aten._to_copy.default", spread, dtype=_dtype(steps.meta(step).dtype))
        elif name == "index_put" and steps.masks(step):
            self._say_masked(step)
        elif name == "index" and steps.masks(step):
            raise _Unsayable(advice.SHAPE_BY_VALUE)
        elif name in ("slice", "slice_scatter"):
            self._say_slice(step)
        else:
            if name.startswith("upsample_") and args[-1] is not None:  # by a factor: the size says the same
                args = (args[0], list(steps.shape(step)[2:]), *args[2:-1], None)
            if name == "embedding":
                if any(args[3:4]):
                    raise _Unsayable(advice.SCALED_BY_FREQUENCY)
                args = args[:3]  # the rest says in which form torch keeps the gradient
            given = {k: self._argument(v, step) for k, v in step.kwargs.items() if k not in _OF_THE_MACHINE}
            self._add(step, str(step.target), *(self._argument(a, step) for a in args), **given)

    def _say_slice(self, step: Step) -> None:
        """Torch writes "to the end" as a huge number, which some of its own operators cannot count to."""
        before = 1 if steps.name(step) == "slice" else 2
        given = (*step.args[before:], *(0, None, None)[len(step.args) - before :])
        dim: Any
        dim, start, end, *stride = given
        size = steps.shape(step.all_input_nodes[0])[dim]
        bounds = [min(b, size) if isinstance(b, int) else b for b in (start, end)]
        tensors = (self._argument(item, step) for item in step.args[:before])
        rest = (self._argument(item, step) for item in (dim, *bounds, *stride))
        self._add(step, str(step.target), *tensors, *rest)

    def _say_masked(self, step: Step) -> None:
        source, masks, value, *accumulate = step.args
        mask = masks[0]  # type: ignore[index]
        whole = isinstance(mask, Step) and steps.shape(mask) == steps.shape(step)
        if not whole or any(accumulate) or not isinstance(value, Step) or steps.meta(value).numel() != 1:
            raise _Unsayable(advice.SHAPE_BY_VALUE)
        self._add(step, "aten.where.self", *(self._argument(item, step) for item in (mask, value, source)))

    def _add(self, step: Step, op: str, *args: Argument, **kwargs: Argument) -> Ref:
        name = steps.name(step)
        if op not in OPERATORS:
            raise _Unsayable(advice.of_operator(name))
        if op != "getitem":
            reason = misfit(OPERATORS[op].signature, args, kwargs, self._dtype_of)
            if reason:
                raise _Unsayable(advice.misfit(name, reason))
        if not OPERATORS[op].pieces:
            _check_value(step)
        found = steps.meta(step)
        ref = self._append(step, op, args, kwargs, found.dtype if isinstance(found, Tensor) else None)
        self.said[step] = ref
        return ref

    def _append(
        self,
        step: Step,
        op: str,
        args: tuple[Argument, ...],
        kwargs: dict[str, Argument],
        dtype: torch.dtype | None,
    ) -> Ref:
        path, kind = steps.module(step)
        texts = [steps.plain(text) for text in (path, kind, places.of_stack(step.meta.get("stack_trace")))]
        ref = Ref(f"n{len(self.made.nodes)}")
        self.made.nodes.append(Node(ref.name, op, args, kwargs, *texts))
        self.dtypes[ref.name] = _dtype(dtype).name if dtype is not None else ""
        return ref

    def _dtype_of(self, ref: Ref | WeightRef) -> str:
        return self.dtypes[ref.name] if isinstance(ref, Ref) else _DTYPES[self.made.weights[ref.name].dtype]

    def _argument(self, item: Any, at: Step) -> Argument:
        match item:
            case Step():
                return self._reference(item, at)
            case None | bool() | int() | float() | str():
                return item
            case list() | tuple():
                return tuple(self._argument(part, at) for part in item)
            case torch.dtype():
                return _dtype(item)
        raise _Unsayable(advice.SHAPE_BY_VALUE)  # a size that torch could only name, not tell

    def _reference(self, step: Step, at: Step) -> Argument:
        if step not in self.said:
            held = self.held.get(step.name) or _Held(f"constant.{step.name}", self.known[step])
            self.said[step] = self._weight(held, at)
        return self.said[step]

    def _weight(self, held: _Held, at: Step) -> Argument:
        """A reference to a weight; the infinities of a mask become an operator, as weights are finite."""
        value = _narrowed(held)
        name = held.name if _WEIGHT_NAME.fullmatch(held.name) else f"weight.{len(self.made.weights)}"
        if held.trainable:
            self.made.trainable.add(name)
        if not value.is_floating_point():
            return self._keep(name, value)
        said = self._keep(name, value.masked_fill(torch.isinf(value), 0))
        for sign, infinity in _INFINITIES:
            if bool((value == infinity).any()):
                mask = self._keep(f"{name}.{sign}", value == infinity)
                said = self._append(at, "aten.masked_fill.Scalar", (said, mask, infinity), {}, torch.float32)
        return said

    def _keep(self, name: str, value: Tensor) -> Argument:
        self.made.weights[name] = value
        return WeightRef(name)


def _held(program: ExportedProgram, module: nn.Module) -> dict[str, _Held]:
    """Placeholder -> parameter or buffer. What two modules share has one name here: the first one."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    for name, value in (*parameters.items(), *module.named_buffers(remove_duplicate=False)):
        first.setdefault(id(value), name)
    buffers = dict(module.named_buffers(remove_duplicate=False))
    held = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            target = str(spec.target)
            parameter = parameters.get(target)
            value = parameter if parameter is not None else buffers[target]
            trains = parameter is not None and parameter.requires_grad
            held[spec.arg.name] = _Held(first[id(value)], value, trains)
    return held


def _live(answer: Step) -> set[Step]:
    found, left = {answer}, [answer]
    while left:
        new = [source for source in left.pop().all_input_nodes if source not in found]
        found.update(new)
        left += new
    return found


def _same_as(step: Step) -> Step | None:
    """The step whose value this one only passes on: nothing is written to, and there is one machine."""
    name = steps.name(step)
    if name not in _THE_SAME and name not in _THE_SAME_IF_UNCHANGED:
        return None
    source = step.args[1] if name == "copy" else step.args[0]
    if not isinstance(source, Step):
        return None
    unchanged = (
        steps.shape(source) == steps.shape(step) and steps.meta(source).dtype == steps.meta(step).dtype
    )
    return source if unchanged or name in _THE_SAME else None


def _narrowed(held: _Held) -> Tensor:
    """The value in one of our dtypes; a scalar of float64 is a Python number and loses nothing that counts."""
    value = held.value.detach()
    if value.is_complex() or (held.trainable and value.dtype != torch.float32):
        raise _Unsayable(advice.precision(_short(value.dtype)))
    if value.is_floating_point():
        value = value.float()
    elif value.dtype != torch.bool:
        value = value.long()
    if bool(torch.isnan(value).any()) or (held.trainable and bool(torch.isinf(value).any())):
        raise _Unsayable(advice.NOT_FINITE)
    return value


def _check_value(step: Step) -> None:
    found = steps.meta(step)
    if not isinstance(found, Tensor):
        raise _Unsayable(advice.of_operator(steps.name(step)))
    if not all(isinstance(size, int) for size in found.shape):
        raise _Unsayable(advice.SHAPE_BY_VALUE)
    _dtype(found.dtype)


def _dtype(dtype: torch.dtype) -> Dtype:
    ours = _DTYPES.get(_WIDENED.get(dtype, dtype))
    if ours is None:
        raise _Unsayable(advice.precision(_short(dtype)))
    return Dtype(ours)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
