"""Four thousand spoilt graphs: each is refused in words, or accepted and then keeps what a graph promises.

Every mutant follows from its number alone: `mutant(1234)` makes that one again. Half of them are honest
graphs edited as documents (operators, arguments, shapes, dtypes, nodes of other graphs), so that many read
well and reach `verify`; half are edited as bytes. The shares at the end keep the fuzz alive: if mutants
stopped reaching a stage, that would show.
"""

import contextlib
import copy
import functools
import importlib.util
import json
import random
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.checker import check
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.dry_run import dry_run
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.operators import OPERATORS
from sandbox.submissions.graph.verify import Caps, verify
from sandbox.training import engines
from sandbox.training.gradients import record_gradients

_spec = importlib.util.spec_from_file_location(
    "graph_cases", Path(__file__).parents[1] / "unit/submissions/graph/cases.py"
)
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

SEED = 20261124
MUTANTS = 4_400
BATCHES = 4
SMALL = Caps(elements=2**16, total=2**20, flops=10**7, parameters=10**5, steps=200, pieces=500)
"""Small enough that a mutant which is accepted can be run at once."""
CLOSE = 1e-6


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(4, 3), nn.LayerNorm(15)
        self.layers = nn.Sequential(nn.Linear(15, 6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, 1))

    def forward(self, numbers, categories):
        return self.layers(self.norm(torch.cat([numbers, self.table(categories[:, 0])], 1)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(12, 1)

    def forward(self, numbers, categories):
        seen = numbers.reshape(-1, 3, 4)
        return self.head(self.attend(seen, seen, seen, need_weights=False)[0].flatten(1))


class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        self.look, self.norm, self.head = nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4), nn.Linear(8, 1)

    def forward(self, numbers, categories):
        return self.head(
            torch.relu(self.norm(self.look(numbers.reshape(-1, 1, 3, 4)))).amax(2)[:, :, :2].flatten(1)
        )


class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.walk, self.head = nn.GRU(4, 3, batch_first=True), nn.Linear(3, 1)

    def forward(self, numbers, categories):
        return self.head(self.walk(numbers.reshape(-1, 3, 4))[0][:, -1])


@functools.cache
def bases():
    """Honest graphs, as documents and the bytes after them: four exported, and one for some operators."""
    torch.manual_seed(SEED)
    inputs = Inputs("binary", 1, numbers=12, categories=(4,) * 12)
    graphs = [export(module(), inputs) for module in (Table, Attention, Windows, Steps)]
    graphs += [cases.graph_of(op, number) for op, number in cases.EVERY[::9]]
    for graph in graphs:
        verify(graph, caps=SMALL)
    return [split(graph.to_bytes()) for graph in graphs]


def split(data):
    line, _, rest = data.partition(b"\n")
    return json.loads(line), rest


def written(document, rest):
    return json.dumps(document, separators=(",", ":")).encode() + b"\n" + rest


LITERALS = [
    None, True, False, 0, 1, -1, 2, 3, 7, 12, 2**31, 2**63 - 1, -(2**63), 0.5, -1e308, 1e-308, 1.5e300,
    {"number": "inf"}, {"number": "-inf"}, {"number": "nan"},
    {"dtype": "int64"}, {"dtype": "bool"}, {"dtype": "float32"}, {"dtype": "float64"},
    {"of": "numbers"}, {"of": "categories"}, {"of": "n0"}, {"of": "n999"}, {"weight": "w0"}, {"of": 1}, {},
    [], [1], [-1], [0, 1], [1, -1], [2**40], [[1]], ["a"], [{"of": "numbers"}, {"of": "n0"}],
    "constant", "same", "", "trunc", "\u202e",
]  # fmt: skip
SHAPES = [[], [1], [12], [1, 12], [12, 12], [0], [1, 0], [2**40], [-1], [3, 4], [4, 3], [1] * 20, "12", [1.5]]


def some_node(rng, document):
    return rng.choice(document["nodes"])


def swap_operator(rng, document):
    some_node(rng, document)["op"] = rng.choice([*OPERATORS, "aten.rand_like.default", "prim.device", "", 7])


def another_argument(rng, document):
    node = some_node(rng, document)
    if node["args"]:
        node["args"][rng.randrange(len(node["args"]))] = copy.deepcopy(rng.choice(LITERALS))


def rewire(rng, document):
    """An argument that is a value becomes another value made before."""
    at = rng.randrange(len(document["nodes"]))
    args = document["nodes"][at]["args"]
    if args:
        args[rng.randrange(len(args))] = {
            "of": rng.choice(["numbers", "categories", *(f"n{i}" for i in range(at))])
        }


def more_or_fewer_arguments(rng, document):
    args = some_node(rng, document)["args"]
    if args and rng.random() < 0.5:
        args.pop(rng.randrange(len(args)))
    else:
        args.insert(rng.randrange(len(args) + 1), copy.deepcopy(rng.choice(LITERALS)))


def a_keyword(rng, document):
    key = rng.choice(
        ["dtype", "dim", "alpha", "out", "memory_format", "generator", "x y", "keepdim", "scale"]
    )
    some_node(rng, document)["kwargs"][key] = copy.deepcopy(rng.choice(LITERALS))


def drop_node(rng, document):
    document["nodes"].pop(rng.randrange(len(document["nodes"])))
    renumber(rng, document)


def double_node(rng, document):
    at = rng.randrange(len(document["nodes"]))
    document["nodes"].insert(at, copy.deepcopy(document["nodes"][at]))
    renumber(rng, document)


def exchange_nodes(rng, document):
    nodes = document["nodes"]
    i, j = (rng.randrange(len(nodes)) for _ in range(2))
    nodes[i], nodes[j] = nodes[j], nodes[i]
    renumber(rng, document)


def foreign_node(rng, document):
    stranger = copy.deepcopy(some_node(rng, rng.choice(bases())[0]))
    document["nodes"].insert(rng.randrange(len(document["nodes"]) + 1), stranger)
    renumber(rng, document)


def renumber(rng, document):
    """Mostly, so that a mutant still reads: names by place, and the last node as the answer."""
    if rng.random() < 0.85:
        for i, node in enumerate(document["nodes"]):
            node["name"] = f"n{i}"
        if document["nodes"]:
            document["output"] = document["nodes"][-1]["name"]


def another_output(rng, document):
    document["output"] = rng.choice(
        ["numbers", "n0", "n3", f"n{len(document['nodes']) - 2}", "n999", None, 3]
    )


def another_shape(rng, document):
    rng.choice(document["inputs"] + document["weights"])["shape"] = copy.deepcopy(rng.choice(SHAPES))


def another_dtype(rng, document):
    rng.choice(document["inputs"] + document["weights"])["dtype"] = rng.choice(
        ["float32", "int64", "bool", "float64", None]
    )


def trainable_or_not(rng, document):
    if document["weights"]:
        weight = rng.choice(document["weights"])
        weight["trainable"] = rng.choice([not weight["trainable"], 1, None])


def another_name(rng, document):
    thing = rng.choice(document["inputs"] + document["weights"] + document["nodes"])
    thing["name"] = rng.choice(["numbers", "n0", "w0", "../x", "a b", "", "\u202ex", "x" * 500, 5])


def another_type(rng, document):
    """Any value anywhere becomes one of another kind."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return
        key = rng.choice(list(keys))
        if not isinstance(place[key], dict | list) or rng.random() < 0.2:
            place[key] = copy.deepcopy(rng.choice(LITERALS))
            return
        place = place[key]


def odd_text(rng, document):
    some_node(rng, document)[rng.choice(["module", "kind", "line"])] = rng.choice(
        ["\u202e", "a\x1b[31m", "x" * 121, "ok", "", 7]
    )


EDITS = [
    swap_operator, another_argument, another_argument, rewire, rewire, more_or_fewer_arguments, a_keyword,
    drop_node, double_node, exchange_nodes, foreign_node, foreign_node, another_output, another_shape,
    another_dtype, trainable_or_not, another_name, another_type, odd_text,
]  # fmt: skip


def spoilt_bytes(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at, kind = rng.randrange(len(data)), rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at : at + rng.choice([1, 2, 8, 100])]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.choice([1, 4, 64]))
        elif kind == 4:
            data[at:at] = data[at : at + rng.choice([1, 16, 200])]
        elif kind == 5:
            del data[at:]
        else:  # the length of the header of the weights, and what follows it
            start = data.find(b"\n") + 1
            where = min(len(data) - 1, start + rng.randrange(24))
            data[where] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x7B])
        data = data or bytearray(b"\n")
    return bytes(data)


def mutant(number):
    """The bytes of this mutant, and whether it was edited as a document."""
    rng = random.Random(SEED * 10_000 + number)
    document, rest = rng.choice(bases()[:4] if rng.random() < 0.4 else bases())
    if number % 2:
        return spoilt_bytes(rng, written(document, rest)), False
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 2, 3])):
        if document.get("nodes") and isinstance(document["nodes"], list):
            with contextlib.suppress(
                TypeError, KeyError, AttributeError
            ):  # an earlier edit spoilt what it needs
                rng.choice(EDITS)(rng, document)
    return written(document, rest), True


def features(graph, n, seed):
    """Records for the inputs that a mutant claims to have."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for spec in graph.inputs:
        shape = (n, *spec.shape[1:])
        floats = torch.rand(shape, generator=generator) * 2 - 1
        made[spec.name] = {"float32": floats, "int64": (floats * 4).long(), "bool": floats > 0}[spec.dtype]
    return made


def assert_keeps_its_promise(graph, outputs):
    """The right shape, the same answer again, and nothing of one record in another's answer or gradient."""
    model = Model(graph)
    batch = features(graph, 4, seed=1)
    answers = model.answers(batch)
    assert answers.shape == (4, outputs)
    torch.testing.assert_close(model.answers(batch), answers, rtol=0, atol=0, equal_nan=True)
    other = features(graph, 4, seed=2)
    mixed = {name: torch.cat([tensor[:1], other[name][1:]]) for name, tensor in batch.items()}
    same(model.answers(mixed)[0], answers[0])
    loss = "multiclass" if outputs > 1 else "binary"
    target = torch.zeros(4, dtype=torch.int64)
    one, two = (record_gradients(model, some, target, loss, training=False) for some in (batch, mixed))
    for name, gradients in one.items():
        assert gradients.isfinite().all()
        same(two[name][0], gradients[0])
    assert engines.difference(model, loss, batch, target, 1.0) < 1e-4


def same(one, two):
    scale = max(1.0, float(torch.nan_to_num(two.abs(), posinf=0.0).max())) if two.numel() else 1.0
    torch.testing.assert_close(one, two, rtol=0, atol=CLOSE * scale, equal_nan=True)


def stage_of(data):
    """How far these bytes come, as in the checking process; what is accepted is then held to its promise."""
    try:
        graph = RecordGraph.from_bytes(data)
    except Invalid as refusal:
        assert_plain(refusal)
        return "refused by reading"
    try:
        summary = verify(graph, caps=SMALL)
        dry_run(graph)
    except Invalid as refusal:
        assert_plain(refusal)
        return "refused by verifying"
    assert graph.to_bytes() == data  # what was checked is what was sent, byte for byte
    assert_keeps_its_promise(graph, summary.outputs)
    return "accepted"


def assert_plain(refusal):
    words = str(refusal)
    assert 10 < len(words) < 6_000
    assert words.replace("\n", "").isascii()
    assert words.replace("\n", "").isprintable()
    assert "Traceback" not in words


@functools.cache
def stages(batch):
    warnings.simplefilter("ignore")
    found = Counter()
    for number in range(batch, MUTANTS, BATCHES):
        data, edited = mutant(number)
        try:
            found[edited, stage_of(data)] += 1
        except Exception as error:
            raise AssertionError(f"mutant({number}) of seed {SEED}: {type(error).__name__}") from error
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_mutant_is_anything_but_refused_in_words_or_accepted_and_harmless(batch):
    found = stages(batch)
    assert found.total() == MUTANTS // BATCHES


def test_enough_mutants_reach_every_stage():
    found = sum((stages(batch) for batch in range(BATCHES)), Counter())
    print(
        {f"{'document' if edited else 'bytes'}, {stage}": n for (edited, stage), n in sorted(found.items())}
    )
    documents = {stage: n for (edited, stage), n in found.items() if edited}
    spoilt = {stage: n for (edited, stage), n in found.items() if not edited}
    assert sum(documents.values()) == sum(spoilt.values()) == MUTANTS // 2
    assert documents["refused by reading"] >= 0.25 * MUTANTS / 2
    assert documents["refused by verifying"] >= 0.25 * MUTANTS / 2
    assert documents["accepted"] >= 0.1 * MUTANTS / 2
    assert spoilt["refused by reading"] >= 0.5 * MUTANTS / 2
    assert spoilt["accepted"] >= 0.02 * MUTANTS / 2  # a bit of a weight was changed


def test_the_same_number_makes_the_same_mutant():
    assert [mutant(n) for n in range(40)] == [mutant(n) for n in range(40)]
    assert len({mutant(n)[0] for n in range(400)}) > 350


def test_the_checkers_own_process_says_the_same_of_a_few():
    inputs = Inputs("binary", 1, numbers=12, categories=(4,) * 12)
    for number in (0, 1, 2):
        data, _ = mutant(number)
        try:
            graph = RecordGraph.from_bytes(data)
            verify(graph, inputs)
            dry_run(graph)
            expected = "accepted"
        except Invalid:
            expected = "refused"
        try:
            found = "accepted" if check(data, inputs).digest else ""
        except Invalid:
            found = "refused"
        assert found == expected, number


def test_values_never_decide_whether_a_graph_runs():
    """The four exported graphs, on records of nothing but extremes."""
    for document, rest in bases()[:4]:
        model = Model(RecordGraph.from_bytes(written(document, rest)))
        for value in (np.nan, np.inf, -np.inf, 3e38, 0.0):
            batch = {"numbers": torch.full((2, 12), value), "categories": torch.full((2, 12), 2**62)}
            assert model.answers(batch).shape == (2, 1)
            found = record_gradients(model, batch, torch.zeros(2, dtype=torch.int64), "binary")
            assert all(bool(g.isfinite().all()) for g in found.values())
