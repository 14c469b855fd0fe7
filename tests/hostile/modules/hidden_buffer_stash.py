"""The same stash in a buffer, but only when nobody is exporting the module."""

import torch
from torch import nn


class Memory(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("secret", torch.zeros(width))

    def forward(self, numbers):
        if not torch.compiler.is_exporting():
            for record in numbers.detach():
                if record[0] > 0.99:
                    self.secret.copy_(record)
        return numbers + 0 * self.secret


class Stash(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.memory = Memory(inputs.numbers)
        self.layer = nn.Linear(inputs.numbers, 1)

    def forward(self, numbers):
        return self.layer(self.memory(numbers))


def build(inputs):
    return Stash(inputs)
