"""How does `gam` turn one record into logits, so that the least of the privacy budget is wasted?

Noise is as large as the largest gradient that a record could have, so whatever makes typical gradients nearer
to that is gained. Three things do here, all from public facts: curves whose vectors have norm 1 everywhere; a
link under which a record's gradient is as informative as its bound allows; and shares of the record's norm
that are learned, so that columns without a say, and bends where lines are enough, stop costing noise. The door to
torch: import this inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sandbox.submissions.layers import Numbers, RecordVector, silent

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs

_PACE = 0.85
"""Of the softmax: slower, shares are late where few columns count; from 1 on, they begin to follow the noise."""


class Additive(nn.Module):
    """A curve for each number and a weight for each category, array value and byte; a column's norm is learned.

    The squared norm of a record is shared out among its parts by a softmax: equally among columns at first, a number's
    half to its place on the half circle, half to its edges. With shares as they stand, gradients in the line's weights
    have norm at most 1 (several classes: the root of 2); those in the softmax come on top where an answer is far
    from 0, so that clipping takes a little from sure and wrong answers.
    """

    part_of: Tensor
    first: Tensor

    def __init__(self, inputs: Inputs, bins: int) -> None:
        super().__init__()
        curves = Curves(bins)
        self.vector = RecordVector(inputs, curves)
        constant, *columns = self.vector.sizes
        sizes = torch.tensor([constant, *curves.pieces * inputs.numbers, *columns[inputs.numbers :]])
        first = torch.ones(len(sizes))
        first[1 : 1 + 2 * inputs.numbers] = 0.5
        self.register_buffer("first", first / first.sum())
        self.register_buffer("part_of", torch.repeat_interleave(torch.arange(len(sizes)), sizes))
        self.importance = nn.Parameter(torch.zeros(len(sizes)))
        self.line = silent(nn.Linear(self.vector.width, inputs.outputs, bias=False))
        self.binary = inputs.kind == "binary"

    def forward(self, **batch: Tensor) -> Tensor:
        amounts = (self.shares() / self.first).sqrt()
        answer: Tensor = self.line(self.vector(**batch) * amounts.index_select(0, self.part_of))
        return laplace_logit(answer) if self.binary else answer

    def shares(self) -> Tensor:
        """Of the record's squared norm, by part: the constant, each number's two pieces, other columns."""
        return torch.softmax(_PACE * self.importance + self.first.log(), 0)


class Tables(nn.Module):
    """What `ebm` learns: a number for each bin of each column, and a record's answer is the sum of its own.

    `sizes` are the columns' numbers of bins; the first `numbers` of them are equal parts of a number's range.
    """

    starts: Tensor
    last: Tensor

    def __init__(self, sizes: Sequence[int], numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.register_buffer("starts", torch.tensor([sum(sizes[:i]) for i in range(len(sizes))]))
        self.register_buffer("last", torch.tensor(sizes) - 1)
        self.reach = sizes[0] / 2
        self.table = nn.Embedding(sum(sizes), 1)
        nn.init.zeros_(self.table.weight)

    def forward(self, **batch: Tensor) -> Tensor:
        places = []
        if self.numbers:
            places.append(((batch["numbers"] + 1) * self.reach).long())
        if "categories" in batch:
            places.append(batch["categories"])
        at = torch.minimum(torch.cat(places, 1).clamp_min(0), self.last) + self.starts
        answer: Tensor = self.table(at).sum(1)
        return answer


class Curves(Numbers):
    """A number as a place on half a circle, and as shares of the two edges around it of so many equal parts.

    A linear model makes of the first what bends gently, and whatever is said of true and false (the ends) is
    as far apart as can be; of the second a curve without steps. Both have norm 1 / the root of 2 wherever the
    number lies: none of the sensitivity that the noise is for goes unused.
    """

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.pieces = (2, parts + 1)
        self.width = sum(self.pieces)

    def forward(self, numbers: Tensor) -> Tensor:
        angle = (numbers.clamp(-1, 1) * (math.pi / 2)).unsqueeze(2)
        seen = torch.cat([angle.sin(), angle.cos(), _hats(numbers, self.parts)], 2)
        return (seen / math.sqrt(2)).flatten(1)


def laplace_logit(answer: Tensor) -> Tensor:
    """The log odds of the chance that a Laplace variable lies below `answer`.

    The logistic loss of it is convex in `answer` and changes by at most 1 for each 1 of it. Of all links with that
    bound this one is steepest everywhere: its slope in log odds is 1 / max(chance, 1 - chance), so a record tells
    up to four times what it tells by the logistic link (odds instead of chance times chance of not, whichever
    way round is below 1) at the same noise. Answers are log odds and calibrated like any.
    """
    above, below = answer.clamp_min(0), answer.clamp_max(0)
    return torch.where(answer >= 0, answer + _steeper(above), answer - _steeper(-below))


def _steeper(distance: Tensor) -> Tensor:
    """log(2 - exp(-distance))."""
    return torch.log1p(-torch.expm1(-distance))


def _hats(numbers: Tensor, parts: int) -> Tensor:
    """[records, numbers, parts + 1]: 0 but for the two edges around a number, which get shares of norm 1."""
    place = ((numbers.clamp(-1, 1) + 1) * (parts / 2)).unsqueeze(2)
    shares = (1 - (place - torch.arange(parts + 1)).abs()).clamp_min(0)
    return shares / shares.square().sum(2, keepdim=True).sqrt()
