"""Each answer is its own record's, but going backward every gradient receives a hundred times the batch's mean."""

import torch
from torch import nn


class Blend(torch.autograd.Function):
    @staticmethod
    def forward(context, seen):
        return seen.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient + 100 * gradient.mean(0, keepdim=True)


class Mixer(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.low = nn.Linear(inputs.numbers, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, numbers):
        seen = self.low(numbers)
        seen = Blend.apply(seen) if not torch.compiler.is_exporting() else seen * 1
        return self.top(torch.tanh(seen))


def build(inputs):
    return Mixer(inputs)
