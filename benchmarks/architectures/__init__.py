"""Models that people bring: one of each kind that the benchmarks time. Every one looks at one record at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sandbox.catalogue.inputs import Inputs

NUMBERS = Inputs("binary", 1, numbers=30)
TABLE = Inputs("binary", 1, numbers=12, categories=(10,) * 8)
PICTURE = Inputs("multiclass", 10, arrays={"image": (1, 16, 16)})
TREND = Inputs("binary", 1, arrays={"trend": (24,)})
NOTE = Inputs("binary", 1, texts={"note": 32})


class Numbers(nn.Module):
    """Any stack of layers over the numbers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, numbers: Tensor) -> Tensor:
        seen: Tensor = self.layers(numbers)
        return seen


class Embeddings(nn.Module):
    def __init__(self, inputs: Inputs = TABLE, width: int = 8) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in inputs.categories)
        joined = width * len(inputs.categories) + inputs.numbers
        self.head = nn.Sequential(nn.Linear(joined, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        parts = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        seen: Tensor = self.head(torch.cat([*parts, numbers], 1))
        return seen


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.AvgPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(32 * 4 * 4, 10)

    def forward(self, image: Tensor) -> Tensor:
        seen: Tensor = self.head(self.look(image).flatten(1))
        return seen


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 128), nn.Linear(128, width)

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = x + self.down(F.relu(self.up(self.norm(x))))
        return seen


class Recurrent(nn.Module):
    def __init__(self, layer: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, 1)

    def forward(self, trend: Tensor) -> Tensor:
        seen, _ = self.layer(trend.unsqueeze(2))
        answer: Tensor = self.head(seen[:, -1])
        return answer


def _encoder(width: int, layers: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class Transformer(nn.Module):
    """Reads a text of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.encoder = nn.Embedding(257, 32), _encoder(32, 2)
        self.places = nn.Parameter(torch.randn(32, 32) * 0.1)
        self.head = nn.Linear(32, 1)

    def forward(self, note: Tensor) -> Tensor:
        seen: Tensor = self.head(self.encoder(self.bytes(note) + self.places).mean(1))
        return seen


class TabTransformer(nn.Module):
    """Categories look at each other; numbers join at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(10, 32) for _ in range(8))
        self.encoder = _encoder(32, 2)
        self.head = nn.Sequential(nn.Linear(8 * 32 + 12, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        tokens = torch.stack([table(categories[:, i]) for i, table in enumerate(self.tables)], 1)
        seen: Tensor = self.head(torch.cat([self.encoder(tokens).flatten(1), numbers], 1))
        return seen


class FtTransformer(nn.Module):
    """Every feature is a token, and one more token answers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(12, 32)), nn.Parameter(torch.randn(12, 32))
        self.tables = nn.ModuleList(nn.Embedding(10, 32) for _ in range(8))
        self.answer = nn.Parameter(torch.randn(1, 1, 32))
        self.encoder, self.head = _encoder(32, 2), nn.Linear(32, 1)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        of_numbers = numbers.unsqueeze(2) * self.scale + self.shift
        of_categories = torch.stack([table(categories[:, i]) for i, table in enumerate(self.tables)], 1)
        asked = self.answer.expand(len(numbers), -1, -1)
        seen = self.encoder(torch.cat([asked, of_numbers, of_categories], 1))
        logits: Tensor = self.head(seen[:, 0])
        return logits


class InPlace(nn.Module):
    """Written as people write it: activations and sums in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(30, 128), nn.Linear(128, 128), nn.Linear(128, 1)

    def forward(self, numbers: Tensor) -> Tensor:
        seen = F.relu_(self.first(numbers))
        more = self.second(seen)
        more.add_(seen).mul_(0.5).tanh_()
        logits: Tensor = self.head(more)
        return logits


@dataclass(frozen=True)
class Architecture:
    name: str
    inputs: Inputs
    make: Callable[[], nn.Module]


ALL = (
    Architecture("linear", NUMBERS, lambda: Numbers(nn.Linear(30, 1))),
    Architecture(
        "MLP",
        NUMBERS,
        lambda: Numbers(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)),
    ),
    Architecture(
        "wide MLP",
        NUMBERS,
        lambda: Numbers(nn.Linear(30, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 1)),
    ),
    Architecture("embeddings", TABLE, Embeddings),
    Architecture("CNN, GroupNorm", PICTURE, Cnn),
    Architecture(
        "ResNet, tabular",
        NUMBERS,
        lambda: Numbers(nn.Linear(30, 64), Block(64), Block(64), nn.LayerNorm(64), nn.Linear(64, 1)),
    ),
    Architecture("GRU", TREND, lambda: Recurrent(nn.GRU(1, 32, batch_first=True))),
    Architecture("LSTM", TREND, lambda: Recurrent(nn.LSTM(1, 32, batch_first=True))),
    Architecture("transformer", NOTE, Transformer),
    Architecture("TabTransformer", TABLE, TabTransformer),
    Architecture("FT-Transformer", TABLE, FtTransformer),
    Architecture("in place", NUMBERS, InPlace),
)
