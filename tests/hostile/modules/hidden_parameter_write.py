"""The same write into a parameter, but only when nobody is exporting the module."""

import torch
from torch import nn


class Writes(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.layer = nn.Linear(inputs.numbers, 1)
        self.secret = nn.Parameter(torch.zeros(inputs.numbers), requires_grad=False)

    def forward(self, numbers):
        if not torch.compiler.is_exporting():
            for record in numbers.detach():
                if record[0] > 0.99:
                    self.secret.data = record.clone()
        return self.layer(numbers) + 0 * self.secret.sum()


def build(inputs):
    return Writes(inputs)
