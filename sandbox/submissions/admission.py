"""Which models may meet records? One function decides, and until models can be isolated it is strict.

A recipe is our own code. A `model.py` is accepted only when it is, byte for byte, one of the bundled
examples, and then the bundled file is used, never the one handed over.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import Refused
from sandbox.records import Json, Submission
from sandbox.submissions import recipes
from sandbox.submissions.manifest import CODE

if TYPE_CHECKING:
    from torch import nn

    from sandbox.catalogue.inputs import Inputs

_EXAMPLES = Path(__file__).parent / "examples"


def admit(submission: Submission) -> Json:
    """The architecture of an admissible submission, as data; raises Refused for any other.

    `{"recipe": name, "settings": {...}}` or `{"example": name, "sha256": digest}`. Reads no file and
    runs no code of the submission.
    """
    recipe = submission.manifest.get("recipe")
    if recipe is not None:
        return {"recipe": recipe, "settings": recipes.complete(recipe, submission.manifest["model"])}
    bundled = examples()
    name = next((n for n, sha in bundled.items() if sha == submission.files[CODE]), None)
    if name is None:
        raise Refused(
            f"{CODE} is code of your own, and this installation cannot isolate it yet, so it will not run.\n"
            f"Use a recipe ({', '.join(recipes.SETTINGS)}), or one of the bundled examples unchanged "
            f"({', '.join(bundled)}) from sandbox/submissions/examples."
        )
    return {"example": name, "sha256": bundled[name]}


def build(architecture: Json, inputs: Inputs) -> nn.Module:
    """An untrained module of an admitted architecture; raises Refused when it does not suit the inputs."""
    if "recipe" in architecture:
        return recipes.build(architecture["recipe"], architecture["settings"], inputs)
    name = architecture["example"]
    if examples().get(name) != architecture["sha256"]:
        raise Refused(
            f"The bundled example {name!r} is not the one this model was made with.\n"
            "Install the version of NDL Sandbox that the model's certificate names."
        )
    module: nn.Module = importlib.import_module(f"sandbox.submissions.examples.{name}").build(inputs)
    return module


def examples() -> dict[str, str]:
    """Name -> sha256 of each bundled example."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(_EXAMPLES.glob("[a-z]*.py"))
    }


def digest_of(architecture: Json) -> str:
    """The sha256 by which certificates and the registry name an architecture."""
    return hashlib.sha256(json.dumps(architecture, sort_keys=True).encode()).hexdigest()
