"""Both bundled model.py go behind this machine's own wall, come back as graphs, and are admitted."""

import json
from pathlib import Path

import pytest

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import Invalid, Unfit
from sandbox.settings import Isolation
from sandbox.submissions import admission, files
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.manifest import parse_manifest

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def wall():
    try:
        return admission.wall(Isolation())
    except Unfit as error:
        pytest.skip(f"no complete wall here: {error}")


def make(name, wall, changed=None):
    contents = {**files.read(CONFIGS / "submissions" / name), **(changed or {})}
    manifest = parse_manifest(contents)
    card = Card.from_json(json.loads((CONFIGS / "datasets" / manifest.dataset / "card.json").read_text()))
    inputs = Encoding(card, manifest.task).inputs
    return admission.make(Isolation(), manifest, contents, inputs, wall)


@pytest.mark.parametrize(("name", "kinds"), [("digits-cnn", {"Conv2d", "GroupNorm", "Linear"}),
                                             ("suspect-residual", {"Block", "Linear"})])  # fmt: skip
def test_a_bundled_model_is_admitted(wall, name, kinds):
    made = make(name, wall)
    assert kinds <= {layer.kind for layer in made.checked.summary.layers}
    assert RecordGraph.from_bytes(made.data).digest == made.checked.digest
    assert made.made_by["backend"] == wall.name
    assert len(made.made_by["layers"]) >= 3


def test_code_that_mixes_records_is_refused_with_what_to_use_instead(wall):
    code = b"from torch import nn\n\ndef build(inputs):\n    return nn.Sequential(nn.BatchNorm2d(1))\n"
    with pytest.raises(Invalid, match="GroupNorm"):
        make("digits-cnn", wall, {"model.py": code})
