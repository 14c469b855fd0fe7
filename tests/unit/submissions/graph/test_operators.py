"""Every operator of the table: right for one record, the same for each of several, and never upset by a value."""

import importlib.util
from pathlib import Path

import pytest
import torch

from sandbox.submissions.graph.dry_run import dry_run
from sandbox.submissions.graph.interpret import run
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.operators import OPERATORS
from sandbox.submissions.graph.signature import parameters
from sandbox.submissions.graph.verify import strictly_vmapped, verify, verify_again

_spec = importlib.util.spec_from_file_location("graph_cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

RECORDS = 5


def features():
    generator = torch.Generator().manual_seed(5)
    return {
        "numbers": torch.rand(RECORDS, 12, generator=generator) + 0.2,
        "categories": torch.randint(0, 4, (RECORDS, 12), generator=generator),
    }


def test_every_operator_has_a_case_and_a_reason():
    assert set(cases.CASES) == set(OPERATORS)
    assert len(OPERATORS) >= 100
    for operator in OPERATORS.values():
        assert operator.why
        for one in operator.signature.split("|"):
            parameters(one)


@pytest.mark.parametrize(("op", "number"), cases.EVERY)
def test_each_record_is_answered_and_learned_from_as_if_it_were_alone(op, number):
    graph = cases.graph_of(op, number)
    assert verify_again(graph) == verify(graph).values_per_record
    model, batch = Model(graph), features()
    every = {name: torch.from_numpy(value) for name, value in graph.values.items()}
    alone = [
        run(graph, every, {name: t[i : i + 1] for name, t in batch.items()}, training=False)
        for i in range(RECORDS)
    ]
    torch.testing.assert_close(model.answers(batch), torch.cat(alone), rtol=1e-5, atol=1e-6, equal_nan=True)

    def loss(weights, record):
        return model.one(weights, record, training=True).sum()

    with strictly_vmapped():
        found = torch.func.vmap(torch.func.grad(loss), (None, 0), randomness="different")(
            model.weights, batch
        )
    for i in range(RECORDS):
        leaves = {name: w.clone().requires_grad_() for name, w in model.weights.items()}
        wanted = torch.autograd.grad(
            loss(leaves, {name: t[i] for name, t in batch.items()}),
            list(leaves.values()),
            allow_unused=True,
            materialize_grads=True,
        )
        for name, gradient in zip(leaves, wanted, strict=True):
            torch.testing.assert_close(found[name][i], gradient, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("op", "number"), cases.EVERY)
def test_no_value_makes_an_operator_fail(op, number):
    dry_run(cases.graph_of(op, number))
