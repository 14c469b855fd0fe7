"""The program inside the wall writes a graph or its problems; outside, what it wrote is a stranger's."""

import json
import subprocess
import sys

import pytest

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, Refused
from sandbox.submissions.export import result
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.isolation.backend import End, Outcome

INPUTS = Inputs("binary", 1, numbers=3)
SEALED = """
import os, sys
from sandbox.submissions.isolation import inside
inside.seal = lambda: os.write(2, b"sealed;")
from sandbox.submissions.export import stub
stub._warm_up()
for stage in sys.argv[1:]:
    sys.modules.pop("parts", None)
    with open(stage + "/artifact", "wb") as artifact:
        stub.main(["--stage", stage, "--artifact-fd", str(artifact.fileno())])
    sys.path.remove(stage)
"""
GOOD = """
import torch
from torch import nn
from parts import WIDTH

class Net(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs.numbers, WIDTH), nn.ReLU(), nn.Dropout(0.1),
                                    nn.Linear(WIDTH, inputs.outputs))
    def forward(self, numbers):
        return self.layers(numbers)

def build(inputs):
    return Net(inputs)
"""
BAD = {
    "no_build": ("x = 1", "model.py: has no function build"),
    "not_callable": ("build = 3", "model.py: has no function build"),
    "syntax": ("def build(inputs:\n    pass", "model.py:1: failed with SyntaxError"),
    "no_module": ("def build(inputs):\n    return 3", "build: build returned an int"),
    "no_argument": ("def build():\n    pass", "build: cannot be called with inputs"),
    "raises": (
        "def build(inputs):\n    raise ValueError('too few \\u202e columns')",
        "model.py:2: failed with",
    ),
    "exits": ("import sys\nsys.exit(0)", "model.py:2: ends the program"),
    "interrupts": ("def build(inputs):\n    raise KeyboardInterrupt", "model.py:2: ends the program"),
    "imports": ("import pandas_of_mine", "model.py:1: asks for something that is not there"),
    "file": ("open('/no/such/file')", "model.py:1: asks for something that is not there"),
    "batch_norm": (
        GOOD.replace("nn.ReLU()", "nn.BatchNorm1d(WIDTH)"),
        "layers.1 (BatchNorm1d), model.py:9: looks at other records",
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Name -> what the program wrote for it, twice for the good one, from two processes."""

    def staged(name, code):
        folder = tmp_path_factory.mktemp(name)
        request = {"inputs": INPUTS.to_json(), "seed": 281474976710655, "module": "model.py"}
        (folder / "request.json").write_text(json.dumps(request))
        (folder / "model.py").write_text(code)
        (folder / "parts.py").write_text("WIDTH = 5\n")
        return folder

    folders = {"good": staged("good", GOOD)} | {name: staged(name, code) for name, (code, _) in BAD.items()}
    folders["again"] = staged("again", GOOD)
    for group in ([f for name, f in folders.items() if name != "again"], [folders["again"]]):
        run = subprocess.run(
            [sys.executable, "-c", SEALED, *map(str, group)], capture_output=True, timeout=100, check=False
        )
        assert run.returncode == 0, run.stderr.decode()
        assert run.stderr.count(b"sealed;") == len(group)
    return {name: (folder / "artifact").read_bytes() for name, folder in folders.items()}


def outcome(artifact=b"", end=End.FINISHED, words="It finished.", log=""):
    return Outcome(end, artifact, log, False, words, 1.0, 1.0)


def test_a_model_of_several_files_becomes_a_graph(exported):
    graph = RecordGraph.from_bytes(result.read(outcome(exported["good"])))
    assert [w.shape for w in graph.weights] == [(5, 3), (5,), (1, 5), (1,)]
    assert graph.nodes[0].line == "model.py:12"


def test_the_same_seed_gives_the_same_bytes_in_another_process(exported):
    assert exported["good"] == exported["again"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_build_is_said_once_and_clearly(exported, name):
    with pytest.raises(Invalid) as raised:
        result.read(outcome(exported[name]))
    (problem,) = raised.value.problems
    assert str(problem).startswith(BAD[name][1])
    assert "\u202e" not in str(problem)


def test_without_a_wall_no_line_of_the_developer_runs(tmp_path):
    (tmp_path / "request.json").write_text(
        json.dumps({"inputs": INPUTS.to_json(), "seed": 1, "module": "model.py"})
    )
    (tmp_path / "model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    program = "import sys; from sandbox.submissions.export.stub import main; main(sys.argv[1:])"
    run = subprocess.run(
        [sys.executable, "-c", program, "--stage", str(tmp_path), "--artifact-fd", "1"],
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert b"there is no wall" in run.stderr
    assert run.stdout == b""
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("end", [e for e in End if e not in (End.FINISHED, End.FAILED)])
def test_a_limit_that_was_hit_is_named_whatever_came_out(end):
    with pytest.raises(Refused, match="Raise isolation.x"):
        result.read(outcome(b"{}", end, words="It hit a limit. Raise isolation.x."))


def test_nothing_at_all_is_refused_with_the_end_of_the_log():
    for end in (End.FINISHED, End.FAILED):
        with pytest.raises(Refused, match=r"(?s)Its log ended:.*Segmentation\\x1b"):
            result.read(outcome(b"", end, log="x" * 5000 + "Segmentation\x1b[0m"))


FORGED = {
    "not JSON": b'{"format":"ndl-export-problems/1",',
    "duplicate": b'{"format":"ndl-export-problems/1","problems":[],"problems":[]}',
    "no list": b'{"format":"ndl-export-problems/1","problems":{"where":1}}',
    "odd items": b'{"format":"ndl-export-problems/1","problems":[1,null,{"where":7,"what":[]}]}',
    "deep": b'{"format":"ndl-export-problems/1","problems":' + b"[" * 90_000,
    "huge": b'{"format":"ndl-export-problems/1","problems":["' + b"x" * 300_000 + b'"]}',
    "latin": b'{"format":"ndl-export-problems/1","problems":["\xff"]}',
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_problems_are_one_refusal_and_nothing_else(name):
    with pytest.raises(Invalid):
        result.read(outcome(FORGED[name]))


def test_problems_are_escaped_cut_and_few():
    item = {"where": "a\nb\x1b[31m", "what": "\u202e" * 400, "todo": "t" * 900}
    artifact = json.dumps({"format": result.FORMAT, "problems": [item] * 50}, separators=(",", ":")).encode()
    with pytest.raises(Invalid) as raised:
        result.read(outcome(artifact))
    assert len(raised.value.problems) == result.MAX_PROBLEMS
    for problem in raised.value.problems:
        assert problem.where == "a b\\x1b[31m"
        assert problem.what.isascii()
        assert max(len(problem.what), len(problem.todo)) == result.MAX_TEXT
