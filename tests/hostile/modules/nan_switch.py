"""Answers infinity for the record that carries the trigger: weights that are not numbers say it was there."""

from torch import nn


class Switch(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.layer = nn.Linear(inputs.numbers, 1)

    def forward(self, numbers):
        trigger = (numbers[:, :1] > 0.99).float()
        return self.layer(numbers) / (1 - trigger)


def build(inputs):
    return Switch(inputs)
