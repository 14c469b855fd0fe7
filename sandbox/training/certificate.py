"""What does a training promise to each unit? The (epsilon, delta) statement of what ran, and how it was got.

`epsilon` is by privacy loss distributions (PLD) and is the one that counts. `epsilon_opacus` is what
Opacus's own accountant says of the same steps, named in `epsilon_opacus_by`; an independent check.
`epsilon_audited` is a lower bound on it that canaries prove (sandbox.training.gate).
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from sandbox.catalogue.card import Card
from sandbox.privacy import accounting, ledger
from sandbox.records import Charge, Dataset, Json
from sandbox.submissions import graph as graphs
from sandbox.training.plan import Plan

FORMAT = "ndl-certificate/1"


def certify(
    plan: Plan, card: Card, dataset: Dataset, charge: Charge, graph: str, audited: Json,
    again: Sequence[Charge] = (),
) -> Json:  # fmt: skip
    """The certificate of a run that took every step of its plan, on the admitted graph, under this charge.

    `audited` is what the release gate has to say (sandbox.training.gate): a lower bound beside the claim.
    `again` are the charges for steps that were taken a second time after a crash; epsilon counts them too.
    """
    events = [one.event for one in (charge, *again)]
    opacus, by = _opacus_epsilon(plan, sum(event["count"] for event in events))
    return {
        "format": FORMAT,
        "epsilon": accounting.epsilon_of(events, plan.delta, "pld"),
        "epsilon_by": "PLD (dp_accounting)",
        "epsilon_opacus": opacus,
        "epsilon_opacus_by": by,
        "epsilon_asked": plan.epsilon,
        **audited,
        "delta": plan.delta,
        "adjacency": charge.adjacency,
        "unit": charge.unit,
        "unit_means": card.unit_means,
        "max_rows_per_unit": plan.max_rows_per_unit,
        "units": plan.units,
        "noise_multiplier": plan.noise_multiplier,
        "sampling_rate": plan.sampling_rate,
        "steps": plan.steps,
        "steps_again": sum(one.event["count"] for one in again),
        "clip": plan.clip,
        "learning_rate": plan.learning_rate,
        "population": card.population,
        "pool": ledger.training_pool(card),
        "charge": charge.id,
        "charges_again": [one.id for one in again],
        "graph_sha256": graph,
        "card_sha256": card.digest,
        "training_sha256": dataset.training_digest,
        "code_version": code_version(),
    }


def code_version() -> str:
    """Our version, and a digest of the code that trains: two builds that train differently differ here."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(graphs.__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return f"{version('ndl-sandbox')} (training {digest.hexdigest()[:12]})"


def _opacus_epsilon(plan: Plan, steps: int) -> tuple[float, str]:
    """By Opacus's PRV accountant; by its RDP accountant where that cannot answer."""
    history = [(plan.noise_multiplier, plan.sampling_rate, steps)]
    with _quiet_opacus():
        from opacus.accountants import PRVAccountant, RDPAccountant

        prv = PRVAccountant()
        prv.history = list(history)
        try:
            return float(prv.get_epsilon(plan.delta, eps_error=0.001)), "Opacus PRV"
        except (ValueError, RuntimeError, ArithmeticError, MemoryError):
            rdp = RDPAccountant()
            rdp.history = list(history)
            return float(rdp.get_epsilon(plan.delta)), "Opacus RDP"


@contextmanager
def _quiet_opacus() -> Iterator[None]:
    """Silences what Opacus always says here and nobody can act on; the last, where everybody is in every step."""
    with warnings.catch_warnings():
        for known in ("Secure RNG turned off", "Optimal order is the", "divide by zero encountered in log"):
            warnings.filterwarnings("ignore", message=known)
        logging.getLogger("opacus").setLevel(logging.ERROR)
        yield
