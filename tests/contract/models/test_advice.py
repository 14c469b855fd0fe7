"""What cannot be exported is named with the developer's line, and with what to write instead."""

import random
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions.export import places
from sandbox.submissions.export.exporter import export

INPUTS = Inputs("binary", 1, numbers=12, categories=(4, 5))


class Net(nn.Module):
    """A linear model whose forward, or whose making, does something of its own."""

    def __init__(self, forward=None, **parts):
        super().__init__()
        self.line = nn.Linear(12, 1)
        self.count = 0
        self.step = torch.ones(12)
        self.register_buffer("seen", torch.zeros(12))
        for name, part in parts.items():
            setattr(self, name, part)
        self.does = forward or (lambda m, x, c: m.line(x))

    def forward(self, numbers, categories):
        return self.does(self, numbers, categories)


def _if(m, x, c):
    return m.line(x) if x.sum() > 0 else m.line(-x)


def _writes_buffer(m, x, c):
    m.seen.add_(x[0])
    return m.line(x)


def _writes_weight(m, x, c):
    with torch.no_grad():
        m.line.weight.mul_(0.9)
    return m.line(x)


def _writes_constant(m, x, c):
    m.step.add_(1)
    return m.line(x * m.step)


def _keeps(m, x, c):
    m.last = x
    return m.line(x)


def _counts(m, x, c):
    m.count += 1
    return m.line(x) * m.count


def _no_grad(m, x, c):
    with torch.no_grad():
        y = m.line(x)
    return y + m.line(2 * x)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 5


def _exits(m, x, c):
    raise ValueError("no \x1b[2J")


def _autocast(m, x, c):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.line(x)


FORWARDS = {
    "branch on a value": (_if, "decides by a record's values", "torch.where"),
    "item": (lambda m, x, c: m.line(x) * x[0, 0].item(), "decides by a record's values", "torch.where"),
    "boolean index": (lambda m, x, c: m.line(x) + x[x > 0].sum(), "decides by a record's", "torch.where"),
    "nonzero": (lambda m, x, c: m.line(x) + torch.nonzero(x).sum(), "decides by a record's", "torch.where"),
    "open one-hot": (lambda m, x, c: m.line(x) + F.one_hot(c).sum(), "decides by a record's", "torch.where"),
    "noise": (lambda m, x, c: m.line(x + torch.randn_like(x)), "draws random numbers", "nn.Dropout"),
    "rand": (lambda m, x, c: m.line(x + torch.rand(1, 12)), "draws random numbers", "nn.Dropout"),
    "alpha dropout": (lambda m, x, c: m.line(F.alpha_dropout(x, 0.5, True)), "random", "nn.Dropout"),
    "python random": (lambda m, x, c: m.line(x) * random.random(), "answers differently", "counters"),
    "sort": (lambda m, x, c: m.line(x.sort()[0]), "sorts by a record's values", "softmax"),
    "topk": (lambda m, x, c: m.line(x) + x.topk(3)[0].sum(), "sorts by a record's values", "softmax"),
    "fourier": (lambda m, x, c: m.line(torch.fft.fft(x).abs()), "complex numbers", "conv1d"),
    "float64": (lambda m, x, c: m.line((x.double() * 2).float()), "works in float64", ".float()"),
    "half": (lambda m, x, c: m.line(x.half().float()), "works in float16", ".float()"),
    "autocast": (_autocast, "works in bfloat16", ".float()"),
    "numpy": (lambda m, x, c: m.line(torch.from_numpy(x.numpy())), "leaves torch", "torch operations"),
    "buffer": (_writes_buffer, "outlives the record", "register_buffer"),
    "weight": (_writes_weight, "outlives the record", "register_buffer"),
    "constant": (_writes_constant, "outlives the record", "register_buffer"),
    "kept": (_keeps, "keeps a tensor of this record", "register_buffer"),
    "counter": (_counts, "answers differently", "counters"),
    "no_grad": (_no_grad, "learns differently", ".detach()"),
    "own gradient": (lambda m, x, c: _Doubled.apply(m.line(x)), "learns differently", ".detach()"),
    "batch norm": (lambda m, x, c: m.line(F.batch_norm(x, None, None, training=True)), "batch", "group_norm"),
    "functional": (lambda m, x, c: m.line(F.batch_norm(x, m.seen, m.seen + 1)), "batch", "group_norm"),
    "svd": (lambda m, x, c: m.line(x) + torch.linalg.svd(x)[1].sum(), "decomposes a matrix", "buffer"),
    "unknown": (lambda m, x, c: m.line(torch.special.bessel_j0(x)), "not among the operators", "README.md"),
    "empty": (lambda m, x, c: m.line(x + torch.empty(1, 12)), "nobody has written", "torch.zeros"),
    "error": (_exits, "failed with ValueError: no", "Mend that line"),
    "mismatch": (lambda m, x, c: m.line(x[:, :3]), "failed with RuntimeError", "Mend that line"),
    "squeezed": (lambda m, x, c: m.line(x).squeeze(1), r"shape \[1\] for one record.*\[1, 1\]", "squeeze"),
    "too wide": (lambda m, x, c: x, r"shape \[1, 12\] .* \[1, 1\]: one logit", "squeeze nothing"),
    "tuple": (lambda m, x, c: (m.line(x), x), "something else than one tensor", "squeeze"),
    "nothing": (lambda m, x, c: None, "something else than one tensor", "squeeze"),
    "no weights": (lambda m, x, c: x[:, :1], "no weight that training could change", "nn.Parameter"),
}


WITHOUT_A_LINE = {
    "python random", "counter", "no_grad", "own gradient", "kept", "nothing", "no weights", "weight", "autocast",
}  # fmt: skip
"""What torch notices only afterwards; the message names the tensor, or the whole of forward."""


@pytest.mark.parametrize("name", FORWARDS)
def test_what_forward_may_not_do_is_named_with_advice(name):
    forward, what, todo = FORWARDS[name]
    with pytest.raises(Invalid, match=f"(?s){what}.*{todo}") as raised:
        export(Net(forward), INPUTS)
    if name not in WITHOUT_A_LINE:
        assert any("test_advice.py:" in p.where or p.where == "forward" for p in raised.value.problems)


MODULES = {
    "batch norm": (lambda: nn.BatchNorm1d(12), "BatchNorm1d", "GroupNorm for images"),
    "sync batch norm": (lambda: nn.SyncBatchNorm(12), "SyncBatchNorm", "LayerNorm for tables"),
    "running statistics": (
        lambda: nn.InstanceNorm1d(12, track_running_stats=True), "InstanceNorm1d", "track_running_stats",
    ),
    "lazy": (lambda: nn.LazyLinear(3), "LazyLinear", "without Lazy"),
    "bag": (lambda: nn.EmbeddingBag(4, 2), "EmbeddingBag", "nn.Embedding"),
    "rrelu": (lambda: nn.RReLU(), "RReLU", "nn.LeakyReLU"),
    "alpha dropout": (lambda: nn.AlphaDropout(), "AlphaDropout", "nn.Dropout"),
    "spectral norm": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)), "SpectralNorm", "clipping",
    ),
    "parallel": (lambda: nn.DataParallel(nn.Linear(2, 2)), "DataParallel", "module inside"),
    "compiled": (lambda: torch.compile(nn.Linear(2, 2)), "OptimizedModule", "without torch.compile"),
    "scripted": (lambda: torch.jit.script(nn.Linear(2, 2)), "RecursiveScriptModule", "without torch.jit"),
    "quantised": (lambda: torch.ao.nn.quantized.Linear(2, 2), "Linear", "torch.nn"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_cannot_be_trained_is_named_before_anything_runs(name):
    make, kind, todo = MODULES[name]
    with places.origins() as origins:
        part = make()
    with pytest.raises(Invalid) as raised:
        export(Net(look=nn.Sequential(nn.Identity(), part)), INPUTS, origins)
    first = raised.value.problems[0]
    assert first.where.startswith("look.1")
    assert kind in first.where
    assert todo in first.todo


def test_the_line_that_made_a_module_is_named():
    with places.origins() as origins:
        net = Net(look=nn.Sequential(nn.ReLU(),
                                     nn.BatchNorm1d(12)))  # fmt: skip
        line = sys._getframe().f_lineno - 1
    with pytest.raises(Invalid) as raised:
        export(net, INPUTS, origins)
    assert raised.value.problems[0].where == f"look.1 (BatchNorm1d), test_advice.py:{line}"


def test_every_problem_is_listed_at_once():
    def forward(m, x, c):
        return m.line(x.sort()[0]) + torch.rand(1, 1) + m.line(x.double().float())

    with pytest.raises(Invalid) as raised:
        export(Net(forward), INPUTS)
    assert [p.what.split()[0] for p in raised.value.problems] == ["sorts", "draws", "works"]


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (None, "build returned a NoneType, and the task needs a torch.nn.Module"),
        (nn.Linear, "build returned a type"),
        (nn.Linear(12, 1), "cannot be called with numbers, categories"),
        (Net().double(), "works in float64"),
        (Net().requires_grad_(False), "no weight that training could change"),
        (Net(extra=nn.Parameter(torch.tensor([float("nan")]))), "not a number"),
    ],
)
def test_what_build_returned_is_checked_first(module, what):
    with pytest.raises(Invalid, match=what):
        export(module, INPUTS)


def test_making_modules_is_watched_only_for_a_while():
    before = nn.Module.__init__
    with pytest.raises(RuntimeError), places.origins():
        raise RuntimeError
    assert nn.Module.__init__ is before
