"""A record graph answers and learns exactly as the developer's module does, one record at a time."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.verify import verify, verify_again

CONFIGS = Path(__file__).parents[3] / "configs" / "submissions"
NUMBERS = Inputs("binary", 1, numbers=4)
TABLE = Inputs("binary", 1, numbers=3, categories=(4, 6, 3))
IMAGE = Inputs("multiclass", 3, arrays={"image": (1, 8, 8)})
TREND = Inputs("regression", 1, arrays={"trend": (6,)})
TEXT = Inputs("multiclass", 3, texts={"note": 5})
EVERYTHING = Inputs("multiclass", 3, 2, (4,), {"scan": (1, 4, 4), "trend": (5,)}, {"note": 7})
WIDTH = 8


class Linear(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.line = nn.Linear(inputs.numbers, inputs.outputs)

    def forward(self, numbers):
        return self.line(numbers)


class Mlp(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs.numbers, WIDTH), nn.ReLU(), nn.Dropout(0.2), nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Dropout(0.0),
            nn.Linear(WIDTH, inputs.outputs),
        )  # fmt: skip

    def forward(self, **batch):
        return self.layers(batch["numbers"])


class Embeddings(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, 4, padding_idx=0) for n in inputs.categories)
        self.head = nn.Linear(4 * len(inputs.categories) + inputs.numbers, inputs.outputs)

    def forward(self, numbers, categories):
        places = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        return self.head(torch.cat([numbers, *places], 1))


class GroupNormCnn(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2),
            nn.Conv2d(4, 4, 3, padding="same"), nn.InstanceNorm2d(4, affine=True), nn.Tanh(),
            nn.Upsample(scale_factor=2),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(16, inputs.outputs)

    def forward(self, image):
        return self.head(self.look(image))


class ResidualTable(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.stem = nn.Linear(inputs.numbers, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(0.1), nn.Linear(WIDTH, WIDTH))
            for _ in range(2)
        )
        self.head = nn.Linear(WIDTH, inputs.outputs)

    def forward(self, numbers):
        x = self.stem(numbers)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            x = x + block(norm(x))
        return self.head(F.relu(x))


class Recurrent(nn.Module):
    def __init__(self, inputs, kind, **settings):
        super().__init__()
        self.words = nn.Embedding(257, 4)
        self.read = kind(4, 5, batch_first=True, **settings)
        size = settings.get("proj_size") or 5
        self.head = nn.Linear(size * (2 if settings.get("bidirectional") else 1), inputs.outputs)

    def forward(self, note):
        states, _ = self.read(self.words(note))
        return self.head(states[:, -1])


class Encoder(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.words = nn.Embedding(257, WIDTH)
        places = torch.sin(torch.arange(5)[:, None] / 10 ** torch.linspace(0, 2, WIDTH))
        self.register_buffer("places", places)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.register_buffer("ahead", nn.Transformer.generate_square_subsequent_mask(5))
        self.head = nn.Linear(WIDTH, inputs.outputs)

    def forward(self, note):
        seen = self.encoder(self.words(note) * math.sqrt(WIDTH) + self.places, mask=self.ahead)
        return self.head(seen.mean(1))


class Tokens(nn.Module):
    """One token for each column, attention among them: FT-Transformer; with `numbers_apart`, TabTransformer."""

    def __init__(self, inputs, numbers_apart):
        super().__init__()
        self.apart = numbers_apart
        self.tables = nn.ModuleList(nn.Embedding(n, WIDTH) for n in inputs.categories)
        self.slope = nn.Parameter(torch.randn(inputs.numbers, WIDTH))
        self.answer = nn.Parameter(torch.randn(1, 1, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 2, 16, 0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(inputs.numbers)
        wide = WIDTH * len(inputs.categories) + inputs.numbers if numbers_apart else WIDTH
        self.head = nn.Sequential(nn.Linear(wide, WIDTH), nn.ReLU(), nn.Linear(WIDTH, inputs.outputs))

    def forward(self, numbers, categories):
        tokens = [table(categories[:, i : i + 1]) for i, table in enumerate(self.tables)]
        if self.apart:
            seen = self.encoder(torch.cat(tokens, 1)).flatten(1)
            return self.head(torch.cat([seen, self.norm(numbers)], 1))
        answer = self.answer.expand(len(numbers), -1, -1)
        seen = self.encoder(torch.cat([answer, numbers[:, :, None] * self.slope, *tokens], 1))
        return self.head(seen[:, 0])


class InPlace(nn.Module):
    """Writes into its own tensors of this record: allowed, as nothing of it outlives the record."""

    def __init__(self, inputs):
        super().__init__()
        self.first = nn.Linear(inputs.numbers, WIDTH)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3, inplace=True)
        self.head = nn.Linear(WIDTH, inputs.outputs)

    def forward(self, numbers):
        x = self.first(numbers)
        x = self.drop(self.act(x)) + 0
        x += 0.5
        x[:, 0] = x[:, 1] * 2
        x[:, 2:4].mul_(3.0)
        x[x > 2] = 2.0
        kept = torch.zeros_like(x)
        kept[:, ::2] = x[:, 1::2]
        return self.head(x.sub_(kept).clamp_(-1, 4))


class Shared(nn.Module):
    """Tied and frozen weights, a mask with infinities, constants, a detached branch, einsum."""

    def __init__(self, inputs):
        super().__init__()
        self.first = nn.Linear(inputs.numbers, inputs.numbers)
        self.second = nn.Linear(inputs.numbers, inputs.numbers)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(inputs.numbers, inputs.numbers)
        self.frozen.requires_grad_(False)
        self.unused = nn.Linear(3, 3)
        self.register_buffer("mask", torch.full((4, 4), -math.inf).triu(1))
        self.step = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float32)
        self.head = nn.Linear(inputs.numbers, inputs.outputs)

    def forward(self, numbers):
        x = self.second(torch.tanh(self.first(numbers))) + self.frozen(numbers)
        scores = torch.einsum("bi,bj->bij", x, x) + self.mask
        mixed = (scores.softmax(-1) @ x[:, :, None]).squeeze(-1)
        return self.head(mixed * self.step + x.detach() / (1 + torch.arange(4)))


ARCHITECTURES = {
    "linear": (NUMBERS, Linear),
    "mlp": (NUMBERS, Mlp),
    "embeddings": (TABLE, Embeddings),
    "cnn": (IMAGE, GroupNormCnn),
    "resnet": (NUMBERS, ResidualTable),
    "gru": (TEXT, lambda inputs: Recurrent(inputs, nn.GRU, bidirectional=True)),
    "lstm": (TEXT, lambda inputs: Recurrent(inputs, nn.LSTM, num_layers=2, dropout=0.1)),
    "projected_lstm": (TEXT, lambda inputs: Recurrent(inputs, nn.LSTM, proj_size=2, bidirectional=True)),
    "rnn": (TEXT, lambda inputs: Recurrent(inputs, nn.RNN)),
    "transformer": (TEXT, Encoder),
    "tab_transformer": (TABLE, lambda inputs: Tokens(inputs, numbers_apart=True)),
    "ft_transformer": (TABLE, lambda inputs: Tokens(inputs, numbers_apart=False)),
    "in_place": (NUMBERS, InPlace),
    "shared": (NUMBERS, Shared),
    "logistic_recipe": (EVERYTHING, lambda inputs: _recipe("logistic", inputs)),
    "mlp_recipe": (EVERYTHING, lambda inputs: _recipe("mlp", inputs)),
    "digits_cnn": (IMAGE, lambda inputs: _configured("digits-cnn", inputs)),
    "suspect_residual": (TABLE, lambda inputs: _configured("suspect-residual", inputs)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_graph_answers_and_learns_as_the_module_does(name):
    inputs, make = ARCHITECTURES[name]
    torch.manual_seed(7)
    module = make(inputs)
    for parameter in module.parameters():  # several start at zero, where gradients say nothing
        parameter.data += 0.1 * torch.randn(parameter.shape)
    graph = RecordGraph.from_bytes(export(module, inputs).to_bytes())
    assert verify_again(graph, inputs) == verify(graph, inputs).values_per_record
    model = Model(graph)
    features, target = _records(inputs)
    module.eval()
    with torch.no_grad():
        assert torch.allclose(model.answers(features), module(**features), atol=1e-5)
    ours = _gradients(model, features, target, inputs.kind)
    theirs = _gradients_one_by_one(module, features, target, inputs.kind)
    assert set(ours) == set(theirs) == set(model.trainable)
    for weight, gradient in theirs.items():
        assert (ours[weight] - gradient).abs().max() < 1e-5, weight


def _gradients(model, features, target, kind):
    def loss(weights, record, answer):
        return _loss(model.one(weights, record, training=False)[None], answer[None], kind)

    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(model.weights, features, target)


def _gradients_one_by_one(module, features, target, kind):
    """The slow truth: one record, one backward pass. Weights that never get a gradient are left out."""
    found = {name: [] for name, parameter in module.named_parameters() if parameter.requires_grad}
    for i in range(len(target)):
        module.zero_grad()
        answer = module(**{name: tensor[i : i + 1].clone() for name, tensor in features.items()})
        _loss(answer, target[i : i + 1], kind).backward()
        for name, parameter in module.named_parameters():
            if name in found and parameter.grad is not None:
                found[name].append(parameter.grad.clone())
    return {name: torch.stack(gradients) for name, gradients in found.items() if gradients}


def _loss(logits, target, kind):
    if kind == "multiclass":
        return F.cross_entropy(logits, target)
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(logits[:, 0], target.float())
    return F.smooth_l1_loss(logits[:, 0], target)


def _records(inputs, n=7):
    """Seven records; the first two have every value at its lowest and at its highest."""
    generator = torch.Generator().manual_seed(3)
    features = {}
    for name, (dtype, shape) in inputs.tensors.items():
        if dtype == "float32":
            low, high = torch.tensor(0.0 if name in inputs.arrays else -1.0), torch.tensor(1.0)
            made = low + torch.rand(n, *shape, generator=generator) * (high - low)
        else:
            sizes = torch.tensor(inputs.categories if name == "categories" else (257,))
            low, high = torch.tensor(0), (sizes - 1).expand(shape)
            made = torch.rand(n, *shape, generator=generator).mul(sizes).long()
        made[0], made[1] = low, high
        features[name] = made
    kinds = inputs.outputs if inputs.kind == "multiclass" else 2
    target = torch.arange(n) % kinds
    return features, target / 2 if inputs.kind == "regression" else target


def _recipe(name, inputs):
    return recipes.build(name, recipes.complete(name, {}), inputs)


def _configured(name, inputs):
    spec = importlib.util.spec_from_file_location("model", CONFIGS / name / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build(inputs)
