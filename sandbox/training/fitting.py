"""How is a recipe trained on records that somebody holds themselves, outside every ledger?

By the same path as a submission: recipe, record graph, checker, plan, loop. What is missing is what a
vault adds: nothing is charged, so nothing stops a second fit on the same people; no release gate audits
the result; no certificate is signed. Epsilons of several fits add up, and adding them is the caller's task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sandbox.catalogue.inputs import Inputs
from sandbox.privacy import accounting
from sandbox.records import Json
from sandbox.submissions import admission
from sandbox.submissions.manifest import Wishes
from sandbox.threads import one_thread
from sandbox.training import plan
from sandbox.training.sampler import Randomness, UnitRows

if TYPE_CHECKING:
    from sandbox.submissions.graph.document import RecordGraph

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Asked:
    """What to train and what it may cost. `max_rows_per_unit`: so many rows of a unit count, the first ones."""

    recipe: str
    settings: Json
    epsilon: float
    delta: float
    wishes: Wishes
    max_rows_per_unit: int


@dataclass(frozen=True)
class Fitted:
    """A trained graph, the plan that ran, and the epsilon by PLD of what ran, for adding or removing a unit."""

    graph: RecordGraph
    plan: plan.Plan
    epsilon: float

    def answers(self, features: Arrays) -> NDArray[np.float32]:
        """[records, outputs]: the graph's logits."""

        from sandbox.submissions.graph.lift import Model

        with one_thread():
            found = Model(self.graph).answers(tensors(features))
        return np.asarray(found.detach().numpy(), np.float32)


def fit(asked: Asked, inputs: Inputs, features: Arrays, target: NDArray[Any], units: NDArray[Any]) -> Fitted:
    """Trains on encoded records (see sandbox.catalogue.encoding); `units` says whose each row is, by any code.

    How many units there are is treated as public. Raises Invalid when the recipe is not for these inputs.
    """
    import torch

    from sandbox.submissions.graph.document import RecordGraph
    from sandbox.submissions.graph.lift import Model
    from sandbox.training import loop

    with one_thread():
        data = _checked_graph(asked.recipe, json.dumps(asked.settings), json.dumps(inputs.to_json()))
        model = Model(RecordGraph.from_bytes(data))
        rows = UnitRows(np.unique(units, return_inverse=True)[1], asked.max_rows_per_unit)
        chosen = plan.choose(
            inputs, asked.recipe, asked.wishes, units=len(rows), max_rows_per_unit=asked.max_rows_per_unit,
            epsilon=asked.epsilon, budget_delta=asked.delta, settings=asked.settings,
        ).calibrated(accounting.noise_for)  # fmt: skip
        answers = torch.from_numpy(np.ascontiguousarray(target))
        weights = loop.fit(model, tensors(features), answers, rows, chosen, Randomness.of_the_system())
        event = accounting.dp_sgd_event(chosen.noise_multiplier, chosen.sampling_rate, chosen.steps)
        return Fitted(model.graph_with(weights), chosen, accounting.epsilon_of([event], chosen.delta, "pld"))


@lru_cache(maxsize=64)
def _checked_graph(recipe: str, settings: str, inputs: str) -> bytes:
    """The recipe's graph, untrained, as the checker let it through; made once, since that takes a second."""
    from sandbox.submissions.graph import verify
    from sandbox.submissions.graph.document import RecordGraph

    expected = Inputs.from_json(json.loads(inputs))
    data, _ = admission.from_recipe(recipe, json.loads(settings), expected)
    verify.verify(RecordGraph.from_bytes(data), expected)
    return data


def tensors(features: Arrays) -> dict[str, Any]:
    """The same arrays as torch tensors."""
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in features.items()}
