"""Are the quick gradients of a model those of the definition? Compared on made-up records, where there is no data.

At admission, and again before a training is charged: with its clip and engine, on the machine that trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandbox.catalogue import made_up
from sandbox.errors import Refused
from sandbox.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.catalogue.inputs import Inputs
    from sandbox.submissions.graph.lift import Model

RECORDS = 8
"""Records made up to try a model on."""
_MOST_APART = 1e-4
"""Relative to the largest; float32 sums in another order differ by 1e-7 to 2e-6 on twelve architectures."""


def examples(inputs: Inputs) -> tuple[dict[str, Tensor], Tensor]:
    """Made-up records and their answers, always the same."""
    import torch

    return made_up.records(inputs, RECORDS, torch.Generator().manual_seed(0)), made_up.targets(
        inputs, RECORDS
    )


def must_agree(model: Model, inputs: Inputs, loss: str, clip: float = 1.0, by: str = "taps") -> None:
    """Raises Refused where the chosen engine's clipped gradients are not those that every record has by itself."""
    from sandbox.training import engines

    with one_thread(), record_by_record():
        apart = engines.difference(model, loss, *examples(inputs), clip, by)
    if not apart <= _MOST_APART:
        raise Refused(
            f"On made-up records the quick gradients of this model are {apart:.1e} from those by definition, more than "
            f"{_MOST_APART:.0e}, so it is refused and nothing is charged.\n"
            "Scale its layers so that values stay near 1, and tell an operator: it may be a fault of ours."
        )


@contextmanager
def record_by_record() -> Iterator[None]:
    """Raises Refused, which says which kind of error it was and no more, for what torch says to a model."""
    try:
        yield
    except (NotImplementedError, RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        raise Refused(f"This model cannot be trained record by record ({type(error).__name__}).") from None
