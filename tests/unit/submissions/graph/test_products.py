"""Products are the same by whoever makes them, and another library makes them only where it is right and MKL slow."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from sandbox.catalogue.inputs import Inputs
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph import products
from sandbox.submissions.graph.lift import Model

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
SIDES = st.sampled_from([1, 2, 30, 64, 200])


@pytest.fixture
def asked_anew():
    products.quicker.cache_clear()
    yield
    products.quicker.cache_clear()


@needs_onednn
@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_product_is_the_same_however_the_matrices_lie(m, k, n, turned, other_turned, quick):
    a = torch.rand(k, m).t() if turned else torch.rand(m, k)
    b = torch.rand(n, k).t() if other_turned else torch.rand(k, n)
    found = products.product(a, b, quick)
    if found is not NotImplemented:
        assert found.is_contiguous()
        assert torch.allclose(found, a @ b, atol=1e-4)


@needs_onednn
def test_a_traced_graph_holds_the_quicker_product_and_gives_the_same(monkeypatch):
    monkeypatch.setattr(products, "quicker", lambda: True)
    given = torch.rand(300, 40), torch.rand(300, 50)
    traced = make_fx(lambda a, b: a.t() @ b, products.decomposition())(*given)
    targets = {node.target for node in traced.graph.nodes}
    assert torch.ops.ndl.by_rows.default in targets
    assert torch.ops.prims.inductor_force_stride_order.default in targets  # else oneDNN copies what is turned
    assert torch.ops.aten.mm.default not in targets
    assert torch.allclose(traced(*given), given[0].t() @ given[1], atol=1e-4)


def missing(a, b, bias=None):
    raise AttributeError("no such operator")


def wrong(a, b, bias=None):
    return 1.001 * products.by_torch(a, b)


@pytest.mark.parametrize("library", [missing, wrong])
def test_a_library_that_is_missing_or_wrong_is_not_used(library, monkeypatch, asked_anew):
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)
    monkeypatch.setattr(products, "by_onednn", library)
    assert not products.quicker()


@pytest.mark.parametrize("slow", [True, False])
def test_one_that_is_right_is_used_where_mkl_is_slow_whatever_the_clock_says(slow, monkeypatch, asked_anew):
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: slow)
    monkeypatch.setattr(products, "by_onednn", products.by_torch)
    assert products.quicker() is slow


@pytest.mark.parametrize(("maker", "capability", "slow"), [
    ("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False),
])  # fmt: skip
def test_mkl_is_slow_on_processors_with_avx512_that_are_not_intels(
    maker, capability, slow, monkeypatch, tmp_path
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch._C, "has_mkl", True)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {maker}\n")
    monkeypatch.setattr(products, "Path", lambda _: tmp_path / "cpuinfo")
    assert products._mkl_is_slow() is slow


class Net(nn.Module):
    """A layer that is large enough, one without a bias over places of its own, and one that is too small."""

    def __init__(self):
        super().__init__()
        self.first, self.places = nn.Linear(30, 40), nn.Linear(20, 30, bias=False)
        self.last = nn.Linear(60, 1)

    def forward(self, numbers):
        hidden = torch.relu(self.first(numbers)).reshape(-1, 2, 20)
        return self.last(torch.relu(self.places(hidden)).flatten(1))


@needs_onednn
def test_large_layers_answer_by_the_quicker_library_and_say_the_same(monkeypatch):
    torch.manual_seed(1)
    graph, numbers = export(Net(), Inputs("binary", 1, numbers=30)), {"numbers": torch.rand(5_000, 30)}
    answers = []
    for quick, layers in ((False, 0), (True, 2)):
        monkeypatch.setattr(products, "quicker", lambda quick=quick: quick)
        assert len(products.layers(graph)) == layers
        answers.append(Model(graph).answers(numbers))
    assert torch.allclose(*answers, atol=1e-6)


@given(st.integers(1, 10_000))
def test_any_number_of_records_is_filled_up_by_little_to_one_of_few_sizes(n):
    filled = products.filled(n)
    assert n <= filled <= min(2 * n, n + 1023)
    assert filled % 1024 == 0 or filled.bit_count() == 1


@needs_onednn
@pytest.mark.parametrize("n", [1, 3, 700, 4_095, 4_097, 9_000])
def test_records_that_fill_up_a_portion_are_not_in_the_answers(n, monkeypatch):
    torch.manual_seed(2)
    graph, numbers = export(Net(), Inputs("binary", 1, numbers=30)), torch.rand(n, 30)
    answers = []
    for quick in (False, True):
        monkeypatch.setattr(products, "quicker", lambda quick=quick: quick)
        answers.append(Model(graph).answers({"numbers": numbers}))
        assert answers[-1].shape == (n, 1)
    assert torch.allclose(*answers, atol=1e-6)
