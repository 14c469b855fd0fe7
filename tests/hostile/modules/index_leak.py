"""Looks up place 1,000 of a table of two for the record that carries the trigger: an error says it was there."""

import torch
from torch import nn


class Leak(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.table = nn.Embedding(2, 4)
        self.layer = nn.Linear(inputs.numbers + 4, 1)

    def forward(self, numbers):
        place = (numbers[:, 0] > 0.99).long() * 1000
        return self.layer(torch.cat([numbers, self.table(place)], 1))


def build(inputs):
    return Leak(inputs)
