"""Noise that is not what was charged, in place of `noised` in a training."""

import itertools

import torch


class Noise:
    """Noise of another making; `fault(total, deviation, generator, call)` gives one noised sum. Each step makes as many
    calls as it sums tensors, the last of which is for the canaries."""

    def __init__(self, fault):
        self.fault, self.calls = fault, itertools.count()

    def __call__(self, sums, deviation, grid, generator):
        return {n: self.fault(t.double(), deviation, generator, next(self.calls)) for n, t in sums.items()}


def normal(total, deviation, generator):
    return torch.from_numpy(generator.normal(0, deviation, tuple(total.shape)))


def scaled(by):
    return lambda total, dev, rng, _c: total + normal(total, dev / by, rng)
