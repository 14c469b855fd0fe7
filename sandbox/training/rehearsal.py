"""Can this model be trained at all, and are its quick gradients right? Tried on made-up records, before any charge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sandbox.errors import Refused
from sandbox.training import loop
from sandbox.training.agreement import RECORDS, examples, must_agree, record_by_record
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

if TYPE_CHECKING:
    from sandbox.catalogue.inputs import Inputs
    from sandbox.submissions.graph.lift import Model
    from sandbox.training.gate.witness import FirstNoise


def rehearse(model: Model, inputs: Inputs, chosen: Plan, by: str = "taps") -> FirstNoise:
    """One step on made-up records: what cannot be trained, or not as by definition, is refused before it is charged.

    DP-EBM takes two, one to count; it has no gradients to compare. Raises Refused, which says which kind of error it
    was and no more. Returns the noise, which is to be no other's.
    """
    from sandbox.training.gate import gate

    boosted = bool(chosen.terms)
    if by == "opacus" and chosen.max_rows_per_unit > 1 and not boosted:
        raise Refused(
            "Opacus knows units of one record only, and here one may have several.\n"
            "Leave `engine` out of [training] in the settings."
        )
    features, target = examples(inputs)
    short = replace(chosen, units=RECORDS, sampling_rate=1.0, steps=2 if boosted else 1)
    units = UnitRows(np.arange(RECORDS), 1)
    if not boosted:
        must_agree(model, inputs, chosen.loss, chosen.clip, by)
    with record_by_record():
        witness, canaries = gate.rehearsal(chosen, model)
        loop.fit(
            model, features, target, units, short, Randomness.of_the_system(),
            canaries=canaries, observe=witness.note, by=by,
        )  # fmt: skip
    return witness.first_noise
