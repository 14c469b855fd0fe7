"""What is a registered model, as files? A description in JSON and a record graph; nothing that could run.

`model.json` says which card, task and certificate; `model.ndlgraph` is the admitted graph with trained
weights, in the same container. Reading one back needs this package and nothing of the submission.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import Refused
from sandbox.loading import loading
from sandbox.records import Json
from sandbox.submissions.graph.document import RecordGraph
from sandbox.threads import one_thread

if TYPE_CHECKING:
    from sandbox.submissions.graph.lift import Model

FORMAT = "ndl-model/2"
MODEL = "model.json"
GRAPH = "model.ndlgraph"
_AT_ONCE = 65_536
_VALUE_FLOATS = 2**24
"""Numbers computed on the way to the answers and held at once: 64 MB."""


@dataclass(frozen=True)
class Scorer:
    """A trained model, ready to answer; each record is answered for by itself."""

    encoding: Encoding
    model: Model
    digest: str
    at_once: int = _AT_ONCE

    def probabilities(self, features: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Of encoded records: binary [n], multiclass [n, classes]; regression [n] on the scale [-1, 1]."""
        rows = len(features[self.encoding.inputs.names[0]])
        return np.concatenate([self._some(features, at) for at in range(0, max(1, rows), self.at_once)])

    def _some(self, features: Mapping[str, NDArray[Any]], at: int) -> NDArray[np.float32]:
        import torch

        inputs = self.encoding.inputs
        batch = {
            n: torch.from_numpy(np.ascontiguousarray(features[n][at : at + self.at_once]))
            for n in inputs.names
        }
        with torch.inference_mode(), one_thread():
            logits = self.model.answers(batch)
            if inputs.kind == "multiclass":
                answer = torch.softmax(logits, 1)
            else:
                single = logits.squeeze(1)
                answer = torch.sigmoid(single) if inputs.kind == "binary" else single.clamp(-1, 1)
        return np.asarray(answer.numpy(), np.float32)


def write(folder: Path, graph: RecordGraph, card: Card, task: str, certificate: Json) -> str:
    """Writes both files into `folder` and returns the sha256 of the graph with its weights."""
    data = graph.to_bytes()
    digest = hashlib.sha256(data).hexdigest()
    description = {
        "format": FORMAT,
        "card": card.document,
        "task": task,
        "columns": list(Encoding(card, task).feature_columns),
        "graph_sha256": digest,
        "certificate": certificate,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Keys keep their order: the order of a card's columns is the order of a record's tensors.
    (folder / MODEL).write_text(json.dumps(description, indent=1, allow_nan=False))
    (folder / GRAPH).write_bytes(data)
    return digest


def certificate(folder: Path) -> Json:
    """The certificate that was written with the model in `folder`."""
    found: Json = json.loads((folder / MODEL).read_text())["certificate"]
    return found


def read(folder: Path, digest: str = "") -> Scorer:
    """The model in `folder`; raises Refused unless its graph has the digest (else that of its model.json),
    Invalid when the graph is none that the checker would let through.

    `digest`: as in our records, so that these are the bytes that were verified before they were registered.
    """
    with loading():
        from sandbox.submissions.graph.lift import Model
        from sandbox.submissions.graph.verify import verify, verify_again

    description = json.loads((folder / MODEL).read_text())
    if description.get("format") != FORMAT:
        raise Refused(f"{folder / MODEL} is not in the format {FORMAT}. Train the model again.")
    data = (folder / GRAPH).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found not in (digest or description["graph_sha256"],) or found != description["graph_sha256"]:
        raise Refused(
            f"The weights in {folder} are not those that were registered, so nothing is scored with them.\n"
            "Restore the folder from a backup, or train the model again."
        )
    encoding = Encoding(Card.from_json(description["card"]), description["task"])
    if list(encoding.feature_columns) != description["columns"]:
        raise Refused(f"{folder / MODEL} lists its columns in another order than its card, so it is damaged.")
    graph = RecordGraph.from_bytes(data)
    with loading():  # torch brings its compiler with the first graph that it verifies
        inputs = encoding.inputs
        values = verify_again(graph, inputs) if digest else verify(graph, inputs).values_per_record
    at_once = min(_AT_ONCE, max(1, _VALUE_FLOATS // max(1, values)))
    return Scorer(encoding, Model(graph), found, at_once)
