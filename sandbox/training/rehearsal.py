"""Can this model be trained at all, and are its quick gradients right? Tried on made-up records, before any charge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sandbox.catalogue import made_up
from sandbox.errors import Refused
from sandbox.training import loop
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs
    from sandbox.submissions.graph.lift import Model
    from sandbox.training.gate.witness import FirstNoise

_REHEARSED = 8
"""Records made up for a rehearsal."""
_MOST_APART = 1e-4
"""Relative to the largest; float32 sums in another order differ by 1e-7 to 2e-6 on twelve architectures."""


def rehearse(model: Model, inputs: Inputs, chosen: Plan, by: str = "taps") -> FirstNoise:
    """One step on made-up records: what cannot be trained, or not as by definition, is refused before it is charged.

    DP-EBM takes two, one to count; it has no gradients to compare. Raises Refused, which says which kind of error it
    was and no more. Returns the noise, which is to be no other's.
    """
    import torch

    from sandbox.training import engines
    from sandbox.training.gate import gate

    boosted = bool(chosen.terms)
    if by == "opacus" and chosen.max_rows_per_unit > 1 and not boosted:
        raise Refused(
            "Opacus knows units of one record only, and here one may have several.\n"
            "Leave `engine` out of [training] in the settings."
        )
    features = made_up.records(inputs, _REHEARSED, torch.Generator().manual_seed(0))
    target = made_up.targets(inputs, _REHEARSED)
    short = replace(chosen, units=_REHEARSED, sampling_rate=1.0, steps=2 if boosted else 1)
    units = UnitRows(np.arange(_REHEARSED), 1)
    try:
        apart = 0.0 if boosted else engines.difference(model, chosen.loss, features, target, chosen.clip, by)
        witness, canaries = gate.rehearsal(chosen, model)
        loop.fit(
            model, features, target, units, short, Randomness.of_the_system(),
            canaries=canaries, observe=witness.note, by=by,
        )  # fmt: skip
    except (NotImplementedError, RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        raise Refused(f"This model cannot be trained record by record ({type(error).__name__}).") from None
    if not apart <= _MOST_APART:
        raise Refused(
            f"On made-up records the quick gradients of this model are {apart:.1e} from those by definition, more than "
            f"{_MOST_APART:.0e}, so it is not trained and nothing is charged.\n"
            "Scale its layers so that values stay near 1, and tell an operator: it may be a fault of ours."
        )
    return witness.first_noise
