"""Gradients compiled by torch's own compiler, with a real C++ compiler, are the engine's."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from sandbox.catalogue.inputs import Inputs
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import compiled
from sandbox.training.compiled import Compiled
from sandbox.training.engines import Tapped


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 1)

    def forward(self, numbers):
        return self.layer(numbers)


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_torchs_compiler_gives_what_the_engine_does():
    model = Model(export(Line(), Inputs("binary", 1, numbers=12)))
    made = Compiled(Tapped(model, "binary", training=False), 8, compiled.by_torch)
    assert made.prepare(model, model.weights, torch.zeros(1, dtype=torch.int64), 0.3) < 1e-6


COMPILES = """
import os
from pathlib import Path
from torch import _inductor
from sandbox.training.compiled import by_torch

_inductor.compile = lambda graph, given: Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "written").write_text("code")
by_torch(None, [])
by_torch(None, [])
"""


def test_what_was_compiled_is_gone_when_the_process_ends(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    command = [sys.executable, "-c", COMPILES]
    subprocess.run(command, env={**environment, "TMPDIR": str(tmp_path)}, check=True)
    assert not list(tmp_path.glob("ndl-compiled-*"))
