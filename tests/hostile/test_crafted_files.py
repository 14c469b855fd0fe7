"""Saved models (.pt2, .pt, pickles) that would run code when opened: refused by name, and never opened.

Each carries an object that makes a marker when it is unpickled. One test opens a pickle and a file of
torch.save, to show that they would; the .pt2 has only the layout of one, since a name is all that is read.
"""

import ast
import io
import os
import pickle  # noqa: TID251  to make what must be refused
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sandbox
from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.records import Submission
from sandbox.submissions import files
from sandbox.submissions.graph import checker
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.intake import submit
from sandbox.submissions.isolation import choose

MODEL = "def build(inputs):\n    raise AssertionError\n"
INPUTS = Inputs("binary", 1, numbers=4)
TODO = r"Remove it, and hand in model\.py with build\(inputs\), or a recipe"


class Opened:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def pickled(marker, protocol=4):
    return pickle.dumps({"weight": Opened(marker)}, protocol=protocol)


def archive(**entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def exported(marker):
    """The layout of a .pt2 of torch.export, with a pickle of ours where its sample inputs are."""
    return archive(
        archive__archive_format="pt2",
        archive__data__sample_inputs__model="",
        archive__data__sample_inputs__model_pt=pickled(marker),
    )


def saved(marker):
    import torch

    buffer = io.BytesIO()
    torch.save({"weight": Opened(marker)}, buffer)
    return buffer.getvalue()


KINDS = {
    "model.pt2": exported,
    "model.pt": saved,
    "weights.pkl": pickled,
    "weights.pickle": lambda marker: pickled(marker, 0),
    "Weights.PTH": saved,
    "model.joblib": pickled,
}
"""A name, and what its contents are made of."""
UNDER_ANOTHER_NAME = {
    "a pickle": pickled,
    "an old pickle": lambda marker: pickled(marker, 2),
    "the newest pickle": lambda marker: pickled(marker, 5),
    "a zip of torch.save": saved,
    "a zip of torch.export": exported,
    "an empty zip": lambda marker: archive(),
}


@pytest.fixture
def marker(tmp_path):
    """Where a crafted file would leave its mark; no test that refuses one may end with it there."""
    path = tmp_path / "opened"
    yield path
    assert not path.exists()


@pytest.fixture
def offer(clinic, monkeypatch):
    """Offers a folder of these files beside a sound manifest; nothing may be kept, nor reach a wall."""
    monkeypatch.setattr(choose, "choose", lambda _: pytest.fail("it was to be run"))
    monkeypatch.setattr("sandbox.submissions.admission.wall", lambda _: pytest.fail("it was to be run"))

    def refused(words, code="", **contents):
        folder = clinic.write(code="#" if code else None)
        (folder / "model.py").unlink(missing_ok=True)
        if not code:  # neither a recipe nor code: the crafted file is all there is
            manifest = folder / "submission.toml"
            manifest.write_text(manifest.read_text().replace('recipe = "logistic"\n', ""))
        for name, content in (({"model.py": code.encode()} if code else {}) | contents).items():
            (folder / name).write_bytes(content)
        with pytest.raises(Invalid, match=words) as caught:
            submit(clinic.store, clinic.settings, folder, clinic.person("dev"))
        assert clinic.store.all(Submission) == []
        assert not (clinic.folder / "submissions").exists()
        return str(caught.value)

    return refused


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("code", ["", MODEL], ids=["alone", "beside a model.py"])
def test_a_saved_model_is_refused_by_name_and_told_what_to_hand_in(offer, marker, name, code):
    said = offer(
        rf"{name}: a saved model, which is never opened here\. {TODO}", code, **{name: KINDS[name](marker)}
    )
    assert len(said.splitlines()) == 2


def test_a_saved_model_is_not_even_opened(tmp_path, marker, monkeypatch):
    for name, make in KINDS.items():
        (tmp_path / name).write_bytes(make(marker))
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(Invalid) as caught:
        files.read(tmp_path)
    assert {problem.where for problem in caught.value.problems} == set(KINDS)


@pytest.mark.parametrize("kind", UNDER_ANOTHER_NAME)
@pytest.mark.parametrize("name", ["model.py", "notes.txt"])
def test_a_saved_model_under_another_name_is_known_by_how_it_begins(offer, marker, kind, name):
    content = UNDER_ANOTHER_NAME[kind](marker)
    offer(rf"{name}: a pickle or an archive, which is never opened here\. {TODO}", MODEL, **{name: content})


@pytest.mark.parametrize("kind", [*UNDER_ANOTHER_NAME, "a pickle in letters"])
def test_a_saved_model_in_place_of_a_graph_is_refused_by_reading_alone(marker, kind):
    make = UNDER_ANOTHER_NAME | {"a pickle in letters": lambda marker: pickled(marker, 0)}
    with pytest.raises(Invalid, match="This record graph has 1 problem"):
        RecordGraph.from_bytes(make[kind](marker))


def test_a_saved_model_in_place_of_a_graph_is_refused_by_the_checker(marker):
    """In its own process, too; the other kinds differ only in their first bytes, see above."""
    with pytest.raises(Invalid, match="This record graph has 1 problem"):
        checker.check(saved(marker), INPUTS)


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (pickled, "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"),
        (saved, "import torch, sys; torch.load(sys.argv[1], weights_only=False)"),
    ],
    ids=["pickle", "torch.save"],
)
def test_whoever_opened_one_would_have_run_it(tmp_path, make, how):
    (tmp_path / "file").write_bytes(make(tmp_path / "opened"))
    subprocess.run([sys.executable, "-c", how, str(tmp_path / "file")], timeout=60, check=False)
    assert (tmp_path / "opened").exists()


OPENERS = (
    "torch.load", "torch.export.load", "torch.jit.load", "torch.package", "torch.hub", "torch.serialization",
    "pickle", "_pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve", "pandas.read_pickle",
    "numpy.lib.format", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.UnsafeLoader", "yaml.Loader",
    "mlflow.pytorch", "mlflow.sklearn", "skops.io.load",
)  # fmt: skip
"""What runs code that its file brings. A name stands for itself and everything below it."""


def opens(source):
    """Where a source uses one of OPENERS, by whatever name it imported it; or unpickles by np.load."""
    tree = ast.parse(source)
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                known[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            known |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}

    def full(node):
        if isinstance(node, ast.Name):
            return known.get(node.id, "")
        above = full(node.value) if isinstance(node, ast.Attribute) else ""
        return f"{above}.{node.attr}" if above else ""

    for node in ast.walk(tree):
        names = [full(node)] if isinstance(node, ast.Name | ast.Attribute) else []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Call) and full(node.func) in ("__import__", "importlib.import_module"):
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
        elif isinstance(node, ast.Call):
            for word in node.keywords:
                safe = isinstance(word.value, ast.Constant) and word.value.value is False
                if word.arg == "allow_pickle" and not safe:
                    yield f"line {node.lineno}: allow_pickle"
        for name in names:
            if any(f"{name}.".startswith(f"{opener}.") for opener in OPENERS):
                yield f"line {node.lineno}: {name}"


ROOT = Path(sandbox.__file__).parents[1]


@pytest.mark.parametrize("package", ["sandbox", "evaluators", "dashboards"])
def test_nothing_here_can_open_a_saved_model(package):
    sources = list((ROOT / package).rglob("*.py"))
    assert len(sources) > 20
    found = {path.name: list(opens(path.read_text())) for path in sources}
    assert {name: uses for name, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x')",
        "import torch as t\nt.jit.load('x')",
        "from torch import load as kind\nkind('x')",
        "import torch.export\nopen_it = torch.export.load",
        "def f():\n    from torch.export import load",
        "import pickle",
        "import joblib as j",
        "from dill import loads",
        "import marshal, shelve",
        "import importlib\nimportlib.import_module('pickle')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=asked)",
        "import yaml\nyaml.load('x', yaml.Loader)",
        "import pandas as pd\npd.read_pickle('x')",
    ],
)
def test_a_source_that_could_is_found(source):
    assert list(opens(source))


def test_a_source_that_cannot_is_left_alone():
    sound = "import numpy as np, tomllib, torch\nnp.load('x', allow_pickle=False)\ntorch.export.export\nself.load('x')"
    assert list(opens(sound)) == []
