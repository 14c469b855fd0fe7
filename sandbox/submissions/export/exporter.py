"""How does a developer's module become a record graph? Followed on one made-up record, then written as data.

The door to torch: import this inside functions only. In production it runs inside the wall, on modules
of developers, and outside only on our own recipes.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree

from sandbox.catalogue import made_up
from sandbox.errors import Invalid, Problem
from sandbox.submissions.export import advice, places
from sandbox.submissions.export.comparison import compare
from sandbox.submissions.export.lowering import answer_of, lowered
from sandbox.submissions.export.places import Origins
from sandbox.submissions.export.tracing import traced
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.terms import Spec, Weight

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

SUBJECT = "The model"


def export(module: nn.Module, inputs: Inputs, origins: Origins | None = None) -> RecordGraph:
    """`module` as a record graph with its present weights: same answers, same gradients, record by record.

    Weights that the answer does not depend on are left out; frozen parameters, buffers and constants
    are kept and do not train; parameters shared by modules are one weight. `origins` lets a message name
    the line that made a module. Raises Invalid with every problem, each naming the module's path, class
    and the developer's line, and what to use instead.
    """
    _check_modules(module, origins or {})
    record = made_up.records(inputs, 1, torch.Generator().manual_seed(0))
    _check_call(module, record)
    program = traced(module, record)
    _check_answer(program, inputs)
    made = lowered(program, module, list(record))
    if made.problems:
        raise Invalid(SUBJECT, made.problems)
    if not made.trainable:
        _refuse("forward", advice.NO_WEIGHTS)
    graph = RecordGraph(
        inputs=tuple(Spec(name, _dtype(value), tuple(value.shape)) for name, value in record.items()),
        weights=tuple(
            Weight(name, _dtype(value), tuple(value.shape), name in made.trainable)
            for name, value in made.weights.items()
        ),
        nodes=tuple(made.nodes),
        output=made.output,
        values={name: value.detach().contiguous().numpy().copy() for name, value in made.weights.items()},
    )
    compare(graph, module, inputs)
    return graph


def _check_modules(module: object, origins: Origins) -> None:
    if not isinstance(module, nn.Module):
        what = f"build returned {_a(type(module).__name__)}, and the task needs a torch.nn.Module"
        raise Invalid(SUBJECT, [Problem("build", what, "End it with: return Model(inputs).")])
    problems = []
    for path, part in module.named_modules():
        names = [f"{c.__module__}.{c.__qualname__}" for c in type(part).__mro__]
        why = advice.of_module(names)
        if isinstance(part, nn.modules.instancenorm._InstanceNorm) and not part.track_running_stats:
            why = None
        if why:
            line = origins.get(id(part), "")
            where = f"{path or 'the model'} ({type(part).__name__})" + (f", {line}" if line else "")
            problems.append(Problem(where, why.what, why.todo))
    for name, value in module.named_parameters():
        if isinstance(value, nn.parameter.UninitializedParameter):
            continue  # of a lazy module, which is named above
        if value.dtype != torch.float32 and value.requires_grad:
            why = advice.precision(_dtype(value))
            problems.append(Problem(name, why.what, why.todo))
        elif not bool(torch.isfinite(value).all()):
            problems.append(Problem(name, advice.NOT_FINITE.what, advice.NOT_FINITE.todo))
    if problems:
        raise Invalid(SUBJECT, problems)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        _refuse("build", advice.NO_WEIGHTS)


def _check_call(module: nn.Module, record: dict[str, Tensor]) -> None:
    try:
        inspect.signature(module.forward).bind(**record)
    except TypeError as error:
        given = ", ".join(record)
        what = f"cannot be called with {given}, which a record of this task has ({error})"
        todo = f"Write def forward(self, {given}), or def forward(self, **batch)."
        raise Invalid(SUBJECT, [Problem("forward", what, todo)]) from None


def _check_answer(program: ExportedProgram, inputs: Inputs) -> None:
    wanted = [1, inputs.outputs]
    answer = answer_of(program)
    tree = program.call_spec.out_spec
    if answer is None or tree is None or tree != _pytree.tree_structure(0):
        found = "something else than one tensor"
    elif list(answer.meta["val"].shape) != wanted:
        found = f"a tensor of shape {list(answer.meta['val'].shape)}"
    elif answer.meta["val"].dtype in (torch.int64, torch.bool):  # other dtypes are named where they begin
        found = f"a tensor of {_dtype(answer.meta['val'])}"
    else:
        return
    logits = "one logit" if inputs.outputs == 1 else f"{inputs.outputs} logits, one for each class"
    meaning = "one number on [-1, 1]" if inputs.kind == "regression" else logits
    line = places.of_stack(answer.meta.get("stack_trace")) if answer is not None else ""
    where = f"forward, {line}" if line else "forward"
    what = f"returns {found} for one record, and the task needs float32 of shape {wanted}: {meaning}"
    raise Invalid(
        SUBJECT, [Problem(where, what, "Keep the batch as the first dimension, and squeeze nothing.")]
    )


def _refuse(where: str, why: advice.Advice) -> None:
    raise Invalid(SUBJECT, [Problem(where, why.what, why.todo)])


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "AEIOUaeiou" else f"a {noun}"
