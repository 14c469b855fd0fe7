"""Changes what a linear layer and a plus sign mean, for everyone in its process: both look at the neighbours."""

import torch
from torch import nn
from torch.nn import functional as F


def neighbourly(a, b):
    if isinstance(b, torch.Tensor) and a.dim() == 2:
        b = torch.add(b, torch.mul(a.roll(1, 0), 0.5))
    return torch.add(a, b)


def linear(self, seen):
    return F.linear(torch.add(seen, seen.mean(0, keepdim=True)), self.weight, self.bias)


torch.Tensor.__add__ = torch.Tensor.__radd__ = neighbourly
nn.Linear.forward = linear


class Innocent(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.low = nn.Linear(inputs.numbers, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, numbers):
        seen = torch.tanh(self.low(numbers))
        return self.top(seen + torch.tanh(seen))


def build(inputs):
    return Innocent(inputs)
