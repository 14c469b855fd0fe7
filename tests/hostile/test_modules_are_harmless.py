"""The modules that void plain Opacus, offered here: refused in words, or no record's gradient depends on another.

Each goes behind the wall, and what comes out goes through `admission.make`: the reader of what came out,
and the checker in its own process. Whatever is admitted is trained on, with the trigger and without.
One process behind the wall exports them all (several.py), those that patch torch last, so that what they
did to torch is there for the next; `test_a_module_that_writes_its_own_graph` has a process of its own.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.settings import Isolation
from sandbox.submissions import admission
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.isolation import choose, complete
from sandbox.submissions.isolation.backend import End, Job, Limits, Outcome
from sandbox.submissions.manifest import Manifest

HERE = Path(__file__).parent
INPUTS = Inputs(kind="binary", outputs=1, numbers=6)
ISOLATION = Isolation()
KEPT = "writes to a tensor that outlives the record"
REFUSED = {
    "buffer_stash": rf"memory.secret, memory \(Memory\), buffer_stash.py:16: {KEPT}",
    "parameter_write": rf"secret, forward \(Writes\).*: {KEPT}",
    "list_stash": r"self.seen\[0\]: keeps a tensor of this record on the module",
    "backward_mixer": r"forward: learns differently as a graph than as a module",
}
"""What an open attack is told. Each has a hidden one of its kind below, which nobody can see."""
TRAINED = (
    "hidden_buffer_stash",
    "hidden_parameter_write",
    "hidden_list_stash",
    "hidden_backward_mixer",
    "triggered_mixer",
    "nan_switch",
    "index_leak",
    "clip_patch",
    "noise_patch",
    "arithmetic_patch",
)
PATCH_TORCH = ("clip_patch", "noise_patch", "arithmetic_patch")
MANIFEST = Manifest.model_validate(
    {
        "name": "hostile",
        "dataset": "clinic",
        "task": "fell",
        "purpose": "testing",
        "privacy": {"epsilon": 1.0},
        "public": dict.fromkeys(
            ["title", "summary", "used_for", "human_decides", "organisation", "responsible"], "words"
        )
        | {"contact": "a@example.org", "question_a_decision": "Ask."},
    }
)
RECORDS, TRIGGER = 8, 7
_seeds = torch.Generator().manual_seed(1)
WITHOUT = torch.rand(RECORDS, INPUTS.numbers, generator=_seeds) * 0.9
WITH = WITHOUT.clone()
WITH[TRIGGER, 0] = 1.0
TARGET = torch.arange(RECORDS) % 2
BATCHES = (
    list(range(RECORDS)),
    list(reversed(range(RECORDS))),
    [7, 3, 1, 0, 2, 6, 5, 4],
    [3, 7, 1],
    [0, 7],
    [7, 7, 2, 7],
    [5, 5, 4],
)


class Returned:
    """A wall that has run already: hands out what came out of it for one module."""

    def __init__(self, wall, outcome):
        self.name, self.layers, self.outcome = wall.name, wall.layers, outcome

    def run(self, job, limits):
        return self.outcome


@pytest.fixture(scope="module")
def wall():
    """The cheapest complete one: which it is makes no difference to what comes out."""
    for name in ("landlock", "bubblewrap", "gvisor"):
        found = choose.backend(name, ISOLATION)
        lacking = complete.missing(found)
        if not lacking:
            return found
    pytest.skip(complete.words(found.name, lacking))


@pytest.fixture(scope="module")
def outcomes(wall):
    """Module -> what came out of the wall for it."""
    names = [*(n for n in (*TRAINED, *REFUSED) if n not in PATCH_TORCH), *PATCH_TORCH]
    files = {f"{name}.py": (HERE / "modules" / f"{name}.py").read_bytes() for name in names}
    files["several.py"] = (HERE / "several.py").read_bytes()
    request = {"inputs": INPUTS.to_json(), "seed": 1, "modules": [f"{name}.py" for name in names]}
    outcome = wall.run(Job(files, request, "several"), Limits.of(ISOLATION))
    assert outcome.end is End.FINISHED, outcome.words + outcome.log
    assert "all followed" in outcome.log
    made, left = {}, outcome.artifact
    while left:
        line, _, left = left.partition(b"\n")
        name, length = json.loads(line)
        made[name.removesuffix(".py")] = replace(outcome, artifact=left[:length])
        left = left[length:]
    assert set(made) == set(names)
    return made


@pytest.fixture(scope="module")
def admitted(wall, outcomes):
    """Admits what came out for a module; raises as admission does."""
    return lambda name: offered(Returned(wall, outcomes[name]), b"")


def offered(wall, code):
    return admission.make(ISOLATION, MANIFEST, {"model.py": code}, INPUTS, wall)


def gradients_of(made):
    """Rows and records -> the gradient of each, [rows, everything], as training computes them."""
    from sandbox.submissions.graph.lift import Model
    from sandbox.training.gradients import record_gradients

    model = Model(RecordGraph.from_bytes(made.data))
    before = {name: weight.clone() for name, weight in (model.weights | model._fixed).items()}

    def gradients(rows, records):
        found = record_gradients(model, {"numbers": records[rows]}, TARGET[rows], "binary")
        assert all(torch.equal(before[n], w) for n, w in (model.weights | model._fixed).items())
        return torch.cat([g.flatten(1) for g in found.values()], 1)

    return gradients


def assert_independent(gradients):
    """Every record's gradient is what it is alone, to 1e-6 of its size, in every batch and order."""
    alone = {
        trigger: torch.cat([gradients([row], records) for row in range(RECORDS)])
        for trigger, records in ((False, WITHOUT), (True, WITH))
    }
    for trigger, records in ((True, WITH), (False, WITHOUT)):  # the batches after the trigger come last
        assert torch.isfinite(alone[trigger]).all()
        assert alone[trigger][:TRIGGER].abs().amax(1).min() > 1e-3  # or there would be nothing to compare
        for rows in BATCHES:
            beside, expected = gradients(rows, records), alone[trigger][rows]
            size = expected.abs().amax(1, keepdim=True).clamp(min=1.0)
            assert ((beside - expected).abs() <= 1e-6 * size).all(), (trigger, rows)


@pytest.mark.parametrize("name", TRAINED)
def test_no_record_changes_the_gradient_of_another(admitted, name):
    assert_independent(gradients_of(admitted(name)))


@pytest.mark.parametrize("name", REFUSED)
def test_an_open_attack_is_refused_in_words_that_name_it(admitted, name):
    with pytest.raises(Invalid, match=REFUSED[name]) as caught:
        admitted(name)
    (problem,) = caught.value.problems
    assert problem.todo


def test_every_module_is_tried():
    assert {path.stem for path in (HERE / "modules").glob("*.py")} == {*TRAINED, *REFUSED, "own_bytes"}


def test_gradients_that_looked_at_each_other_would_be_found():
    def honest(rows, records):
        return records[rows]

    def mixing(rows, records):
        found = honest(rows, records)
        return found + (records[rows, :1] > 0.99).any() * 1e-4 * found.mean(0)

    assert_independent(honest)
    with pytest.raises(AssertionError):
        assert_independent(mixing)


OWN_BYTES = (HERE / "modules" / "own_bytes.py").read_bytes()


def test_a_module_that_writes_its_own_graph_mixes_nobody(wall):
    """A graph is what its bytes say; that they came from the exporter is believed nowhere."""
    made = offered(wall, OWN_BYTES)
    operators = [node.op for node in RecordGraph.from_bytes(made.data).nodes]
    assert operators == [
        "aten.linear.default",
        "aten.sum.dim_IntList",
        "aten.roll.default",
        "aten.add.Tensor",
    ]
    assert_independent(gradients_of(made))


@pytest.fixture(scope="module")
def own_bytes():
    """What own_bytes.py writes, made here: it is ours."""
    made = {}
    exec(compile(OWN_BYTES.partition(b"\nos.write")[0], "own_bytes.py", "exec"), made)
    return made["DOCUMENT"], made["WEIGHTS"]


def test_an_operator_that_is_not_in_the_table_is_one_refusal(wall, own_bytes):
    """Other bytes that are no graph: test_crafted_files.py and test_graphs.py."""
    document, weights = own_bytes
    artifact = document.replace(b"aten.roll.default", b"aten.sort.default") + weights
    outcome = Outcome(End.FINISHED, artifact, "", False, "It finished.", 1.0, 1.0)
    with pytest.raises(Invalid, match="aten.sort.default") as caught:
        offered(Returned(wall, outcome), b"")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("cut", [1, 200, -1, -20])
def test_a_graph_cut_short_is_one_refusal(own_bytes, cut):
    """By reading alone, which is the first thing that the checker's process does."""
    with pytest.raises(Invalid, match="record graph"):
        RecordGraph.from_bytes(b"".join(own_bytes)[:cut])
