"""Noise that is not what was charged, in place of `noised` in a training."""

import torch


class Noise:
    """Noise of another making; `fault(total, deviation, generator, call)` gives the noised sum. Each step makes as many
    calls as it sums tensors, the last of which is for the canaries."""

    def __init__(self, fault):
        self.fault, self.call = fault, 0

    def __call__(self, total, deviation, grid, generator):
        self.call += 1
        return self.fault(total.double(), deviation, generator, self.call - 1)


def normal(total, deviation, generator):
    return torch.from_numpy(generator.normal(0, deviation, tuple(total.shape)))


def scaled(by):
    return lambda total, dev, rng, _c: total + normal(total, dev / by, rng)
