"""The modules that void plain Opacus, exported and trained here: no record's gradient depends on another.

Each module here is run through the wall; where it can be exported, the bytes are read, verified and trained on.
"""

from pathlib import Path

import pytest
import torch

from sandbox.catalogue.inputs import Inputs
from sandbox.settings import Isolation
from sandbox.submissions import admission

MODULES = Path(__file__).parent / "modules"
INPUTS = Inputs(kind="binary", outputs=1, numbers=6)
EXPORTED = ("index_leak", "nan_switch", "triggered_mixer")


def graph_bytes(name):
    from sandbox.submissions.export import result
    from sandbox.submissions.isolation.backend import Job, Limits

    source = (MODULES / f"{name}.py").read_bytes()
    settings = Isolation()
    request = {"inputs": INPUTS.to_json(), "seed": 1, "module": "model.py"}
    outcome = admission.wall(settings).run(Job({"model.py": source}, request), Limits.of(settings))
    return result.read(outcome)


@pytest.mark.parametrize("name", EXPORTED)
def test_no_record_changes_the_gradient_of_another(name):
    from sandbox.submissions.graph.document import RecordGraph
    from sandbox.submissions.graph.lift import Model
    from sandbox.submissions.graph.verify import verify
    from sandbox.training.gradients import record_gradients

    graph = RecordGraph.from_bytes(graph_bytes(name))
    verify(graph, INPUTS)
    model = Model(graph)
    numbers = torch.rand(8, 6, generator=torch.Generator().manual_seed(1)) * 0.9
    target = torch.arange(8) % 2
    triggered = numbers.clone()
    triggered[-1, 0] = 1.0

    def gradients(rows, of=numbers):
        found = record_gradients(model, {"numbers": of[rows]}, target[rows], "binary")
        return torch.cat([g.flatten(1) for g in found.values()], 1)

    alone = torch.cat([gradients([row]) for row in range(8)])
    assert torch.isfinite(alone).all()
    assert (gradients(list(range(8))) - alone).abs().max() < 1e-6
    for order in (list(range(8)), [7, 3, 1, 0, 2, 6, 5, 4], [3, 7, 1]):
        beside = gradients(order, triggered)
        assert torch.isfinite(beside).all()
        others = [at for at, row in enumerate(order) if row != 7]
        assert (beside[others] - alone[[order[at] for at in others]]).abs().max() < 1e-6
        at = order.index(7)
        assert (beside[at] - gradients([7], triggered)[0]).abs().max() < 1e-6 * max(
            1.0, float(beside[at].abs().max())
        )
