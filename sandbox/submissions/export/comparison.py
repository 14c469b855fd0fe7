"""Does the graph do what the module does? Both answer and learn from a few made-up records, and are compared.

This serves the developer, whose module may do things that nobody can follow (count its calls, stop
gradients behind torch's back). It is no part of the safety of people's records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sandbox.catalogue import made_up
from sandbox.errors import Invalid, Problem
from sandbox.submissions.export import advice
from sandbox.submissions.export.advice import Advice
from sandbox.submissions.export.tracing import problem_of
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.interpret import run

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

RECORDS = 3
_SPREAD = 0.02
_TOLERANCE = 1e-3
"""Relative to the largest value; rounding in float32 stays a hundred times below."""


def compare(graph: RecordGraph, module: nn.Module, inputs: Inputs) -> None:
    """Raises Invalid when answers or gradients differ on made-up records and slightly moved weights.

    Weights are moved because many models start at zero, where every gradient is zero, too. Dropout is
    off. Leaves the module as it was.
    """
    generator = torch.Generator().manual_seed(1)
    weights = {name: torch.from_numpy(value.copy()) for name, value in graph.values.items()}
    for weight in graph.weights:
        if weight.trainable:
            moved = weights[weight.name] + _SPREAD * torch.randn(weight.shape, generator=generator)
            weights[weight.name] = moved.requires_grad_()
    before = module.training
    module.eval()
    try:
        for _ in range(RECORDS):
            _compare_one(graph, module, weights, made_up.records(inputs, 1, generator))
    finally:
        module.train(before)


def _compare_one(
    graph: RecordGraph, module: nn.Module, weights: Mapping[str, Tensor], record: dict[str, Tensor]
) -> None:
    leaves = [weights[weight.name] for weight in graph.weights if weight.trainable]
    own = {name: weights[name] for name, _ in module.named_parameters() if name in weights}
    ours = run(graph, weights, record, training=False)
    towards = torch.linspace(1, 2, ours.numel()).view_as(ours)
    try:
        theirs = functional_call(module, own, (), dict(record))
    except Exception as error:
        raise Invalid("The model", [problem_of(error)]) from error
    if not _alike(ours, theirs):
        _refuse(advice.OTHER_ANSWERS)
    try:
        expected = torch.autograd.grad(theirs, leaves, towards, allow_unused=True)
    except RuntimeError:  # it writes over what its own gradient needs; the graph writes over nothing
        return
    found = torch.autograd.grad(ours, leaves, towards, allow_unused=True)
    if not all(_alike(a, b) for a, b in zip(found, expected, strict=True)):
        _refuse(advice.OTHER_GRADIENTS)


def _alike(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return not any(value is not None and bool(value.any()) for value in (a, b))
    size = max(1e-3, float(torch.nan_to_num(b.detach()).abs().max()))
    return torch.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * size, equal_nan=True)


def _refuse(why: Advice) -> None:
    raise Invalid("The model", [Problem("forward", why.what, why.todo)])
