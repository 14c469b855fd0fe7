"""Does a verified graph also run on numbers? Tried with made-up records of extreme values, never with people's.

The meta device knows shapes only. Here the same kernels as in training meet zeros, huge numbers,
infinity and NaN, and indices far out of range: whatever they do wrong, they do here, where there is no
data and a crash is a refusal.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sandbox.errors import Invalid, Problem
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.operators import DTYPES
from sandbox.submissions.graph.reading import SUBJECT
from sandbox.submissions.graph.terms import Spec
from sandbox.submissions.graph.verify import first_line, strictly_vmapped

_FLOATS = (0.0, 1.0, -1.0, 3e38, -math.inf, math.inf, math.nan, 1e-42)
_WHOLES = (0, 1, -1, 2, 256, 2**31, -(2**63), 2**63 - 1)


def dry_run(graph: RecordGraph) -> None:
    """Scores made-up records and takes their gradients; raises Invalid when that fails.

    A graph that crashes the process must be tried in a process of its own: see `checker`.
    """
    model = Model(graph)
    records = {s.name: _extreme(s) for s in graph.inputs}

    def loss(weights: Mapping[str, Tensor], record: Mapping[str, Tensor]) -> Tensor:
        return model.one(weights, record, training=True).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="different")
    try:
        with strictly_vmapped(), torch.backends.mkldnn.flags(enabled=False):
            answers = model.answers(records)
            each(model.weights, {name: tensor[:2] for name, tensor in records.items()})
            each(model.weights, {name: tensor[-2:] for name, tensor in records.items()})
    except Exception as error:  # torch raises many kinds, and each is a refusal
        what = f"fails on made-up records: {first_line(error)}"
        raise Invalid(SUBJECT, [Problem("graph", what)]) from None
    if answers.shape[0] != len(_FLOATS):
        raise Invalid(SUBJECT, [Problem("graph", "does not give one answer a record")])


def _extreme(spec: Spec) -> Tensor:
    """[8, ...]: a record of each value, then mixed along the record."""
    values = torch.tensor(_FLOATS if spec.dtype == "float32" else _WHOLES)
    places = torch.arange(math.prod(spec.shape[1:]))
    rows = torch.arange(len(values))[:, None] + (places % 3 if len(places) > 1 else places)
    made = values[rows % len(values)].to(DTYPES[spec.dtype])
    return made.reshape(len(values), *spec.shape[1:])
