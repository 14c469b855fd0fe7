"""What is a registered model, as files? A description in JSON and raw weights; nothing that could run.

`model.json` says how to build the module and how to encode a record; `weights.safetensors` holds the
numbers. Reading one back needs this package and nothing of the submission.
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
from sandbox.records import Json
from sandbox.submissions import admission
from sandbox.threads import one_thread

if TYPE_CHECKING:
    from torch import nn

FORMAT = "ndl-model/1"
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
_AT_ONCE = 65_536


@dataclass(frozen=True)
class Scorer:
    """A trained model, ready to answer."""

    encoding: Encoding
    module: nn.Module
    digest: str

    def probabilities(self, features: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Of encoded records: binary [n], multiclass [n, classes]; regression [n] on the scale [-1, 1]."""
        parts = [self._some(features, at) for at in range(0, max(1, self._rows(features)), _AT_ONCE)]
        return np.concatenate(parts)

    def _rows(self, features: Mapping[str, NDArray[Any]]) -> int:
        return len(features[self.encoding.inputs.names[0]])

    def _some(self, features: Mapping[str, NDArray[Any]], at: int) -> NDArray[np.float32]:
        import torch

        inputs = self.encoding.inputs
        batch = {
            n: torch.from_numpy(np.ascontiguousarray(features[n][at : at + _AT_ONCE])) for n in inputs.names
        }
        with torch.inference_mode(), one_thread():
            logits = self.module(**batch)
            if inputs.kind == "multiclass":
                answer = torch.softmax(logits, 1)
            else:
                single = logits.squeeze(1)
                answer = torch.sigmoid(single) if inputs.kind == "binary" else single.clamp(-1, 1)
        return np.asarray(answer.numpy(), np.float32)


def write(
    folder: Path, module: nn.Module, architecture: Json, card: Card, task: str, certificate: Json
) -> str:
    """Writes both files into `folder` and returns the sha256 of the weights."""
    from safetensors.torch import save

    weights = save({name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    description = {
        "format": FORMAT,
        "architecture": architecture,
        "card": card.document,
        "task": task,
        "columns": list(Encoding(card, task).feature_columns),
        "weights_sha256": digest,
        "certificate": certificate,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Keys keep their order: the order of a card's columns is the order of a record's tensors.
    (folder / MODEL).write_text(json.dumps(description, indent=1, allow_nan=False))
    (folder / WEIGHTS).write_bytes(weights)
    return digest


def read(folder: Path, digest: str = "") -> Scorer:
    """The model in `folder`; raises Refused unless its weights have the digest (else that of its model.json)."""
    from safetensors.torch import load

    description = json.loads((folder / MODEL).read_text())
    if description.get("format") != FORMAT:
        raise Refused(f"{folder / MODEL} is not in the format {FORMAT}.")
    weights = (folder / WEIGHTS).read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found not in (digest or description["weights_sha256"],) or found != description["weights_sha256"]:
        raise Refused(
            f"The weights in {folder} are not those that were registered, so nothing is scored with them.\n"
            "Restore the folder from a backup, or train the model again."
        )
    encoding = Encoding(Card.from_json(description["card"]), description["task"])
    if list(encoding.feature_columns) != description["columns"]:
        raise Refused(f"{folder / MODEL} lists its columns in another order than its card, so it is damaged.")
    module = admission.build(description["architecture"], encoding.inputs)
    module.load_state_dict(load(weights), strict=True)
    return Scorer(encoding, module.eval(), found)
