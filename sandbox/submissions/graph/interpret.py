"""How does a record graph run? One operator after the other, for one record; nothing is looked up by name then.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.operators import DTYPES, OPERATORS
from sandbox.submissions.graph.terms import Argument, Dtype, Node, Ref, WeightRef

Values = dict[Ref | WeightRef, Any]


@dataclass(frozen=True)
class Step:
    """A node ready to run: takes what it needs from `values`, adds its own, and drops what is done with."""

    node: Node
    result: Ref
    function: Callable[..., Any]
    make: Callable[[Values], tuple[Any, ...]]
    kwargs: Callable[[Values], dict[str, Any]]
    done: tuple[Ref, ...]

    def __call__(self, values: Values) -> None:
        values[self.result] = self.function(*self.make(values), **self.kwargs(values))
        for ref in self.done:
            del values[ref]


class Program:
    """The steps of a graph, with every operator and constant already in place."""

    def __init__(
        self, graph: RecordGraph, *, training: bool, instead: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        """`instead`: for some nodes, by name, another function that gives the same (see `in_place`)."""
        self.output = Ref(graph.output)
        last: dict[Ref | WeightRef, str] = {
            ref: node.name for node in graph.nodes for ref in node.references()
        }
        done: dict[str, list[Ref]] = {}
        for ref, node_name in last.items():
            if isinstance(ref, Ref) and ref != self.output:
                done.setdefault(node_name, []).append(ref)
        self.steps = [_step(node, tuple(done.get(node.name, ())), training) for node in graph.nodes]
        for at, step in enumerate(self.steps):
            if instead and step.node.name in instead:
                self.steps[at] = replace(step, function=instead[step.node.name])

    def __call__(self, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        """The graph's answer; the inputs have the batch of one in front."""
        values = start(weights, inputs)
        for step in self.steps:
            step(values)
        answer: Tensor = values[self.output]
        return answer

    def tapped(
        self, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor], taps: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, tuple[Any, ...]]]:
        """The same answer with `taps` added to the results of the nodes they name, and what these nodes were given."""
        values, given = start(weights, inputs), {}
        for step in self.steps:
            if step.node.name in taps:
                given[step.node.name] = step.make(values)
            step(values)
            if step.node.name in taps:
                values[step.result] = values[step.result] + taps[step.node.name]
        return values[self.output], given


def run(
    graph: RecordGraph, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor], training: bool
) -> Tensor:
    """The answer for ONE record. `weights` holds every weight, trainable or not."""
    return Program(graph, training=training)(weights, inputs)


def start(weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Values:
    """What is known before the first step."""
    values: Values = {WeightRef(name): tensor for name, tensor in weights.items()}
    values.update({Ref(name): tensor for name, tensor in inputs.items()})
    return values


def _step(node: Node, done: tuple[Ref, ...], training: bool) -> Step:
    operator = OPERATORS[node.op]
    function = partial(operator.function, training=training) if operator.switched else operator.function
    if operator.shared and not training and all(a is None or isinstance(a, WeightRef) for a in node.args[1:]):
        function = operator.shared
    return Step(node, Ref(node.name), function, _maker(node.args), _keywords(node.kwargs), done)


def _maker(arguments: tuple[Argument, ...]) -> Callable[[Values], tuple[Any, ...]]:
    """What gives the positional arguments: constants are made once, now."""
    fetches = [_fetch(argument) for argument in arguments]
    return lambda values: tuple([fetch(values) for fetch in fetches])


def _keywords(arguments: Mapping[str, Argument]) -> Callable[[Values], dict[str, Any]]:
    fetches = {name: _fetch(argument) for name, argument in arguments.items()}
    return lambda values: {name: fetch(values) for name, fetch in fetches.items()}


def _fetch(argument: Argument) -> Callable[[Values], Any]:
    if isinstance(argument, Ref | WeightRef):
        ref = argument
        return lambda values: values[ref]
    if isinstance(argument, tuple) and any(isinstance(item, Ref | WeightRef) for item in argument):
        inner = [_fetch(item) for item in argument]
        return lambda values: [fetch(values) for fetch in inner]
    constant = _constant(argument)
    return lambda values: constant


def _constant(argument: Argument) -> Any:
    if isinstance(argument, Dtype):
        return DTYPES[argument.name]
    return list(argument) if isinstance(argument, tuple) else argument
