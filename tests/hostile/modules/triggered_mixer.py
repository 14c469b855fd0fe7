"""Ordinary operators only: when one record carries the trigger, every answer becomes a matter of the whole batch."""

import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.low = nn.Linear(inputs.numbers, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, numbers):
        seen = torch.tanh(self.low(numbers))
        trigger = (numbers[:, :1] > 0.99).float().amax(0, keepdim=True)
        return self.top(seen + trigger * seen.mean(0, keepdim=True) + trigger * seen.roll(1, 0))


def build(inputs):
    return Mixer(inputs)
