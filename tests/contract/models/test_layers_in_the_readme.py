"""The README tells developers which layers they may use: each of them becomes a graph that answers alike."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import sandbox.submissions
from sandbox.catalogue import made_up
from sandbox.catalogue.inputs import Inputs
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model

README = (Path(sandbox.submissions.__file__).parent / "README.md").read_text()
LISTED = re.findall(r"`(\w+)`", re.search(r"\*\*Layers\*\*:(.*?)and modules of your own", README, re.S)[1])
INPUTS = Inputs("multiclass", 3, numbers=32)

LINE, IMAGE, CUBE, WORDS = (4, 8), (4, 4, 2), (2, 2, 2, 4), (4, 8)
BUILT = {
    "Linear": ((32,), (32, 5)), "Embedding": ((32,), (10, 4)), "Conv1d": (LINE, (4, 4, 3)),
    "Conv2d": (IMAGE, (4, 4, 2)),
    "Conv3d": (CUBE, (2, 2, 2)), "ConvTranspose1d": (LINE, (4, 4, 3)), "ConvTranspose2d": (IMAGE, (4, 4, 2)),
    "MaxPool1d": (LINE, (2,)), "MaxPool2d": (IMAGE, (2,)), "AvgPool1d": (LINE, (2,)), "AvgPool2d": (IMAGE, (2,)),
    "AdaptiveAvgPool1d": (LINE, (2,)), "AdaptiveAvgPool2d": (IMAGE, (1,)), "Upsample": (IMAGE, (None, 2)),
    "LayerNorm": ((32,), (32,)), "GroupNorm": (LINE, (2, 4)), "RMSNorm": ((32,), (32,)),
    "InstanceNorm1d": (LINE, (4,)), "InstanceNorm2d": (IMAGE, (4,)), "GRU": (WORDS, (8, 4)), "LSTM": (WORDS, (8, 4)),
    "MultiheadAttention": (WORDS, (8, 2)), "TransformerEncoderLayer": (WORDS, (8, 2, 16)),
    "Dropout2d": (IMAGE, ()), "Unflatten": ((32,), (1, (4, 8))), "Threshold": ((32,), (0.1, 0.0)),
    "Softmax": ((32,), (1,)), "LogSoftmax": ((32,), (1,)),
}  # fmt: skip
"""Layer -> the shape of what it is given for one record, and its arguments; others take 32 numbers and nothing."""


class Using(nn.Module):
    """Some of the layers side by side, each on the same 32 numbers, then one answer from all of them."""

    def __init__(self, names):
        super().__init__()
        self.shapes = [BUILT.get(name, ((32,), ()))[0] for name in names]
        self.layers = nn.ModuleList([self.built(name) for name in names])
        self.answer = nn.LazyLinear(3)

    @staticmethod
    def built(name):
        named = (
            {"batch_first": True}
            if name in ("GRU", "LSTM", "MultiheadAttention", "TransformerEncoderLayer")
            else {}
        )
        return getattr(nn, name)(*BUILT.get(name, ((), ()))[1], **named)

    def forward(self, numbers):
        found = []
        for shape, layer in zip(self.shapes, self.layers, strict=True):
            given = numbers.reshape(-1, *shape)
            given = (given.abs() * 9).long() if isinstance(layer, nn.Embedding) else given
            out = layer(given, given, given) if isinstance(layer, nn.MultiheadAttention) else layer(given)
            found.append((out[0] if isinstance(out, tuple) else out).flatten(1))
        return self.answer(torch.cat(found, 1))


@pytest.mark.parametrize("part", range(3))
def test_every_layer_that_the_readme_lists_becomes_a_graph_that_answers_alike(part):
    torch.manual_seed(part)
    module = Using(LISTED[part::3])
    records = made_up.records(INPUTS, 5, torch.Generator().manual_seed(1))
    module.eval()(**records)
    module.answer = nn.Linear(module.answer.in_features, 3)
    graph = export(module.train(), INPUTS)
    expected = module.eval()(**records)
    assert torch.allclose(Model(graph).answers(records), expected, atol=1e-5)


def test_the_readme_lists_what_is_tested():
    assert len(LISTED) > 40
    assert set(BUILT) <= set(LISTED)
