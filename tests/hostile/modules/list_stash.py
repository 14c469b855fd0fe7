"""Remembers batches in a Python list: an answer depends on who was in the batch before."""

import torch
from torch import nn


class Remembers(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.seen = []
        self.layer = nn.Linear(inputs.numbers, 1)

    def forward(self, numbers):
        earlier = [kept.mean(0) for kept in self.seen[-1:]]
        self.seen.append(numbers.detach())
        return self.layer(numbers + torch.tanh(sum(earlier)) if earlier else numbers)


def build(inputs):
    return Remembers(inputs)
