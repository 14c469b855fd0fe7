"""The quick engine against the one that holds every record's gradient: the same sums, whatever the graph."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sandbox.catalogue import made_up
from sandbox.catalogue.inputs import Inputs
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import engines, taps
from sandbox.training.engines import Plain, Tapped

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from architectures import ALL

NUMBERS = Inputs("binary", 1, numbers=12)
PICTURE = Inputs("binary", 1, arrays={"image": (2, 9, 7)})
TREND = Inputs("binary", 1, arrays={"trend": (20,)})
CHOICES = Inputs("binary", 1, categories=(5, 5, 5))
CLOSE = 1e-5


class Net(nn.Module):
    """Some layers, and how to use them."""

    def __init__(self, use, **layers):
        super().__init__()
        self.use = use
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, **record):
        return self.use(self, *record.values())


def conv2d(*args, **kwargs):
    return lambda: (
        Net(lambda m, x: m.c(x).flatten(1).tanh().mean(1, True), c=nn.Conv2d(2, 4, *args, **kwargs)),
        PICTURE,
    )


def conv1d(*args, **kwargs):
    return lambda: (
        Net(lambda m, x: m.c(x[:, None]).flatten(1).tanh().mean(1, True), c=nn.Conv1d(1, 3, *args, **kwargs)),
        TREND,
    )


def embedding(*args, **kwargs):
    return lambda: (
        Net(
            lambda m, c: m.line(m.table(c).tanh().flatten(1)),
            table=nn.Embedding(5, 4, **kwargs),
            line=nn.Linear(12, 1),
        ),
        CHOICES,
    )


def _tied(m, x):
    return m.out(m.a(m.a(x).tanh()))


def _places(m, x):
    """A linear layer over several places of one record: few of them, then many."""
    return m.out(m.few(x.reshape(-1, 2, 6)).tanh().reshape(-1, 6, 2) @ torch.ones(2, 1))[:, :, 0].mean(
        1, True
    )


CASES = {
    "conv2d": conv2d(3),
    "conv2d, oblong": conv2d((2, 3), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    "conv2d, without bias": conv2d(3, padding=1, bias=False),
    "conv2d, in groups": conv2d(3, groups=2),
    "conv2d, same": conv2d(3, padding="same"),
    "conv1d": conv1d(5),
    "conv1d, strided": conv1d(4, stride=2, padding=3, dilation=2),
    "embedding": embedding(),
    "embedding with padding": embedding(padding_idx=2),
    "a weight used twice": lambda: (Net(_tied, a=nn.Linear(12, 12), out=nn.Linear(12, 1)), NUMBERS),
    "a weight also used otherwise": lambda: (
        Net(lambda m, x: m.a(x) + m.a.weight.sum(), a=nn.Linear(12, 1)), NUMBERS
    ),
    "a bias of another layer": lambda: (
        Net(lambda m, x: F.linear(x, m.a.weight, m.b.bias) + m.b(x), a=nn.Linear(12, 1), b=nn.Linear(12, 1)), NUMBERS
    ),
    "few places": lambda: (
        Net(lambda m, x: m.a(x.reshape(-1, 2, 6)).tanh().mean((1, 2))[:, None], a=nn.Linear(6, 9)), NUMBERS
    ),
    "many places": lambda: (
        Net(lambda m, x: m.a(x.reshape(-1, 6, 2)).tanh().mean((1, 2))[:, None], a=nn.Linear(2, 3)), NUMBERS
    ),
    "an unused result": lambda: (
        Net(lambda m, x: (m.a(x), m.b(x))[1], a=nn.Linear(12, 3), b=nn.Linear(12, 1)), NUMBERS
    ),
    "only a scale": lambda: (Net(lambda m, x: m.n(x).sum(1, True), n=nn.LayerNorm(12)), NUMBERS),
}  # fmt: skip


def both(model, loss, features, target, owners, clip, weights=None):
    given = (weights or dict(model.weights)), features, target, owners, clip
    return [make(model, loss, training=False).sums(*given) for make in (Plain, Tapped)]


def apart(one, other):
    assert one.keys() == other.keys()
    largest = max(float(total.abs().max()) for total in one.values())
    return max(float((one[name] - other[name]).abs().max()) for name in one) / largest


def drawn(inputs, n=9, seed=3):
    features = made_up.records(inputs, n, torch.Generator().manual_seed(seed))
    return features, made_up.targets(inputs, n)


@pytest.mark.parametrize("clip", [0.01, 1e6])
@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_whole_gradients_for_single_records_and_for_units(name, clip):
    torch.manual_seed(1)
    module, inputs = CASES[name]()
    model = Model(export(module, inputs))
    features, target = drawn(inputs)
    for owners in (torch.arange(9), torch.tensor([0, 0, 0, 1, 2, 2, 3, 4, 4])):
        assert apart(*both(model, "binary", features, target, owners, clip)) < CLOSE


@pytest.mark.parametrize("architecture", ALL, ids=lambda a: a.name)
def test_every_kind_of_model_gives_the_same_sums(architecture):
    torch.manual_seed(2)
    model = Model(export(architecture.make(), architecture.inputs))
    features, target = drawn(architecture.inputs)
    assert engines.difference(model, architecture.inputs.kind, features, target, 0.5) < 1e-4
    owners = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5])
    assert apart(*both(model, architecture.inputs.kind, features, target, owners, 0.5)) < 1e-4


@pytest.mark.parametrize(
    ("name", "tapped"),
    [("conv2d, oblong", 1), ("conv1d", 1), ("embedding with padding", 2), ("a weight used twice", 1),
     ("a weight also used otherwise", 0), ("conv2d, in groups", 0), ("an unused result", 1)],
)  # fmt: skip
def test_only_layers_whose_weights_nothing_else_uses_are_tapped(name, tapped):
    module, inputs = CASES[name]()
    model = Model(export(module, inputs))
    assert len(taps.find(model.graph, model.shapes())) >= tapped
    if not tapped:
        assert not taps.find(model.graph, model.shapes())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("owners", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2]])
def test_a_record_that_is_not_finite_counts_as_zeros_and_touches_no_other(value, owners):
    torch.manual_seed(1)
    inputs = NUMBERS
    model = Model(export(Net(lambda m, x: m.a(x.square()), a=nn.Linear(12, 1)), inputs))
    features, target = drawn(inputs, 5)
    features["numbers"][1, 3] = value
    plain, quick = both(model, "binary", features, target, torch.tensor(owners), 0.5)
    assert all(bool(torch.isfinite(total).all()) for total in quick.values())
    assert apart(plain, quick) < CLOSE


def test_what_was_given_is_left_as_it_was():
    module, inputs = CASES["few places"]()
    model = Model(export(module, inputs))
    features, target = drawn(inputs)
    features["numbers"][2] = float("nan")
    before = {name: tensor.clone() for name, tensor in features.items()}
    Tapped(model, "binary").sums(dict(model.weights), features, target, torch.arange(9), 0.5)
    assert all(torch.equal(features[name], before[name]) or name == "numbers" for name in features)
    assert torch.equal(features["numbers"][3:], before["numbers"][3:])
    assert bool(features["numbers"][2].isnan().all())


def test_one_record_moves_the_sums_by_at_most_the_clip():
    inputs = PICTURE
    model = Model(export(Net(lambda m, x: m.c(x).flatten(1).mean(1, True), c=nn.Conv2d(2, 4, 3)), inputs))
    features, target = drawn(inputs)
    target[0] = 1 - (model.answers(features)[0, 0] > 0).long()  # far from right, so far over the clip
    features = {name: tensor * 1e4 for name, tensor in features.items()}
    engine = Tapped(model, "binary", training=False)
    whole = engine.sums(dict(model.weights), features, target, torch.arange(9), 0.3)
    fewer = engine.sums(
        dict(model.weights), {n: f[1:] for n, f in features.items()}, target[1:], torch.arange(8), 0.3
    )
    moved = sum(float((whole[name] - fewer[name]).square().sum()) for name in whole) ** 0.5
    assert 0.299 < moved <= 0.3 * (1 + 1e-5)


def test_dropout_is_drawn_for_each_record():
    module = Net(lambda m, x: m.a(m.d(x)), d=nn.Dropout(0.5), a=nn.Linear(12, 1, bias=False))
    model = Model(export(module, NUMBERS))
    features, target = {"numbers": torch.ones(2, 12)}, torch.zeros(2, dtype=torch.int64)
    engine = Tapped(model, "binary")
    found = engine.sums(dict(model.weights), features, target, torch.arange(2), 1e6)["a.weight"]
    assert len(set(found.flatten().round(decimals=4).tolist())) > 2  # both, one or none of the two


def test_recurrent_graphs_keep_the_plain_engine():
    by_name = {a.name: a for a in ALL}
    chosen = {
        name: type(engines.choose(Model(export(by_name[name].make(), by_name[name].inputs)), "binary"))
        for name in ("GRU", "LSTM", "MLP")
    }
    assert chosen == {"GRU": Plain, "LSTM": Plain, "MLP": Tapped}
