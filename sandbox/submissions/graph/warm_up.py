"""What does torch load only when it is first needed? Everything here, before the checker gives up its rights.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import numpy as np

from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.dry_run import dry_run
from sandbox.submissions.graph.terms import Node, Ref, Spec, Weight, WeightRef
from sandbox.submissions.graph.verify import verify


def warm_up() -> None:
    """Verifies and tries a small graph of our own."""
    graph = RecordGraph(
        inputs=(Spec("numbers", "float32", (1, 4)),),
        weights=(Weight("weight", "float32", (1, 4), trainable=True),),
        nodes=(
            Node("n0", "aten.dropout.default", (Ref("numbers"), 0.5)),
            Node("n1", "aten.linear.default", (Ref("n0"), WeightRef("weight"))),
        ),
        output="n1",
        values={"weight": np.zeros((1, 4), np.float32)},
    )
    verify(graph)
    dry_run(graph)
