"""Every engine learns the same from every operator of the table: the clipped sums of whole gradients of records."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.operators import OPERATORS
from sandbox.training.engines import difference
from sandbox.training.gradients import record_gradients, squared_norms

_spec = importlib.util.spec_from_file_location(
    "graph_cases", Path(__file__).parents[2] / "unit/submissions/graph/cases.py"
)
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

CLOSE = 1e-5
RECORDS = 6
QUESTION, CONSTANT = (OPERATORS[f"aten.{name}"].why for name in ("eq.Tensor", "zeros.default"))
FLAT = {op for op, operator in OPERATORS.items() if operator.why in (QUESTION, CONSTANT)} - {
    "aten.fill.Tensor"
}
FLAT |= {
    f"aten.{name}.default" for name in ("sign", "floor", "ceil", "round", "trunc", "detach", "floor_divide")
}
FLAT |= {f"aten.{name}.default" for name in ("any", "all", "argmax", "argmin", "one_hot")}
FLAT |= {"aten.any.dim", "aten.all.dim", "aten.where.Scalar"}
"""Operators without a gradient."""


class Learning(cases.Builder):
    """What comes to the operator went through a scale for each number and a layer with a tap, both learned."""

    def __init__(self):
        super().__init__()
        mixing = self.weight((12, 12))
        self.values[mixing.name] = (np.eye(12) + 0.02 * self.values[mixing.name]).astype(np.float32)
        self.x = self.node("aten.linear.default", self.x, mixing)


def model_of(op, number):
    return Model(cases.graph_of(op, number, Learning()))


def records():
    generator = torch.Generator().manual_seed(5)
    features = {
        "numbers": torch.rand(RECORDS, 12, generator=generator) + 0.2,
        "categories": torch.randint(0, 4, (RECORDS, 12), generator=generator),
    }
    return features, torch.arange(RECORDS) % 2


@pytest.mark.parametrize("by", ["taps", "opacus"])
@pytest.mark.parametrize("op", cases.CASES)
def test_sums_are_those_of_whole_gradients(op, by):
    for number in range(len(cases.CASES[op])):
        model = model_of(op, number)
        lengths = squared_norms(record_gradients(model, *records(), "binary")).sqrt()
        clip = max(float(lengths.median()), 0.2)  # some are clipped, some not; Opacus adds 1e-6 to lengths
        assert difference(model, "binary", *records(), clip, by) < CLOSE


def test_every_operator_is_compared_and_learned_through_if_it_has_a_gradient():
    """By the answer without what is beside the operator: where nothing flows, nothing would be compared."""
    compared, learned = set(), set()
    for op, number in cases.EVERY:
        graph = model_of(op, number).graph
        compared |= {node.op for node in graph.nodes}
        through = Model(replace(graph, output=graph.nodes[-2].name))
        gradients = record_gradients(through, *records(), "binary")
        if any(gradient.any() for gradient in gradients.values()):
            learned |= {op, "getitem"} if op in cases.MANY else {op}
    assert compared == OPERATORS.keys()
    assert compared - learned == FLAT
