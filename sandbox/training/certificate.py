"""What does a training promise to each unit? The (epsilon, delta) statement of what ran, and how it was got.

`epsilon` is by privacy loss distributions (PLD) and is the one that counts. `epsilon_opacus` is what
Opacus's own accountant says of the same steps, named in `epsilon_opacus_by`; an independent check.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from sandbox.catalogue.card import Card
from sandbox.privacy import accounting, ledger
from sandbox.records import Charge, Dataset, Json
from sandbox.submissions import admission
from sandbox.training.plan import Plan

FORMAT = "ndl-certificate/1"


def certify(plan: Plan, card: Card, dataset: Dataset, charge: Charge, architecture: Json) -> Json:
    """The certificate of a run that took every step of its plan under this charge."""
    opacus, by = _opacus_epsilon(plan)
    return {
        "format": FORMAT,
        "epsilon": accounting.epsilon_of([charge.event], plan.delta, "pld"),
        "epsilon_by": "PLD (dp_accounting)",
        "epsilon_opacus": opacus,
        "epsilon_opacus_by": by,
        "epsilon_asked": plan.epsilon,
        "delta": plan.delta,
        "adjacency": charge.adjacency,
        "unit": charge.unit,
        "unit_means": card.unit_means,
        "max_rows_per_unit": plan.max_rows_per_unit,
        "units": plan.units,
        "noise_multiplier": plan.noise_multiplier,
        "sampling_rate": plan.sampling_rate,
        "steps": plan.steps,
        "clip": plan.clip,
        "learning_rate": plan.learning_rate,
        "population": card.population,
        "pool": ledger.training_pool(card),
        "charge": charge.id,
        "architecture_sha256": admission.digest_of(architecture),
        "card_sha256": card.digest,
        "training_sha256": dataset.training_digest,
        "code_version": code_version(),
    }


def code_version() -> str:
    """Our version, and a digest of the code that trains: two builds that train differently differ here."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return f"{version('ndl-sandbox')} (training {digest.hexdigest()[:12]})"


def _opacus_epsilon(plan: Plan) -> tuple[float, str]:
    """By Opacus's PRV accountant; by its RDP accountant where that cannot answer."""
    from sandbox.training.loop import quiet_opacus

    history = [(plan.noise_multiplier, plan.sampling_rate, plan.steps)]
    with quiet_opacus():
        from opacus.accountants import PRVAccountant, RDPAccountant

        prv = PRVAccountant()
        prv.history = list(history)
        try:
            return float(prv.get_epsilon(plan.delta, eps_error=0.001)), "Opacus PRV"
        except (ValueError, RuntimeError, ArithmeticError, MemoryError):
            rdp = RDPAccountant()
            rdp.history = list(history)
            return float(rdp.get_epsilon(plan.delta)), "Opacus RDP"
