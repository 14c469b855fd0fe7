"""Is a trained model registered? Only if nothing about its training is odder than chance allows.

A `Gate` stands beside one training inside the vault: it plants the canaries, watches every step, and
judges. What it found out is not kept; what may leave is in `Judgement.certified`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sandbox.records import Json
from sandbox.training import boosted_tables
from sandbox.training.canaries import Canaries
from sandbox.training.gate.boosted import ReferenceOfTables, ReplayOfTables
from sandbox.training.gate.canaries import Bounds, how_many
from sandbox.training.gate.check import Check, failures
from sandbox.training.gate.lower_bounds import CONFIDENCE
from sandbox.training.gate.marks import signs_of, twice
from sandbox.training.gate.reference import Reference
from sandbox.training.gate.replay import Replay
from sandbox.training.gate.witness import Claim, FirstNoise, Witness
from sandbox.training.noise import Grid
from sandbox.training.resumable import State, part_of, together

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.submissions.graph.lift import Model
    from sandbox.training.loop import Step
    from sandbox.training.plan import Plan
    from sandbox.training.sampler import Whole


@dataclass(frozen=True)
class Judgement:
    """`bounds` is None where a training was too broken to look at. `signs` mark its noise."""

    checks: Sequence[Check]
    bounds: Bounds | None
    signs: str

    @property
    def failed(self) -> list[Check]:
        """Empty when the model may be registered."""
        return failures(self.checks)

    @property
    def sentence(self) -> str:
        """The surest failure in plain words, and how many more there were."""
        first, *more = self.failed
        also = f", and {len(more)} more of {len(self.checks)} checks failed" if more else ""
        return f"{first.means[0].upper()}{first.means[1:]}{also}."

    @property
    def said(self) -> Json:
        """How each check went. Of those that touch records only whether they passed: see the README."""
        failed = {check.name for check in self.failed}
        return {
            check.name: "failed"
            if check.name in failed
            else (f"passed, p {check.p_class}" if check.touches == "canaries" else "passed")
            for check in self.checks
        }

    @property
    def certified(self) -> Json:
        """The lines of the certificate, beside the epsilon that is claimed."""
        if self.failed or self.bounds is None:
            raise ValueError("a training that did not pass has nothing to certify")
        return {
            "epsilon_audited": self.bounds.formal,
            "epsilon_audited_gaussian": self.bounds.gaussian,
            "epsilon_audited_by": "guessing canaries in one run (Steinke et al. 2023; Mahloujifar et al. 2024)",
            "audit_confidence": CONFIDENCE,
            "audit_canaries": self.bounds.canaries,
            "audit_guesses": self.bounds.guesses,
            "audit_steps": self.bounds.steps,
            "gate": f"passed {len(self.checks)} checks",
        }


class Gate:
    """Stands beside one training: hand `canaries` and `observe` to the loop, then ask to `judge`.

    Its `state` is as secret as the records: it holds noise of steps that were taken, and who was drawn.
    """

    def __init__(
        self, event: Json, plan: Plan, model: Model, features: Mapping[str, Tensor], target: Tensor, codes: Whole,
        rehearsed: FirstNoise | None = None, taken_up: State | None = None,
    ) -> None:  # fmt: skip
        """`event` is what was charged for all steps. With `taken_up` it goes on, with the same canaries, where this
        `state` of another was taken."""
        generator = np.random.default_rng(secrets.randbits(256))
        claim = Claim.of(event, plan)
        self._signs_before = ""
        if taken_up:
            self.canaries = Canaries(taken_up["included"].numpy().copy())
            self._signs_before = taken_up["signs"].numpy().tobytes().hex()
        else:
            self.canaries = Canaries.planted(how_many(claim.steps))
        shapes = _released(plan, model)
        clip = Grid.of(plan.clip, _coordinates(shapes) + len(self.canaries)).inner_clip
        given = (
            model, plan.loss, features, target, codes, plan.max_rows_per_unit, clip, claim.steps,
            plan.units * plan.sampling_rate, generator,
        )  # fmt: skip
        self._replay: Replay | ReplayOfTables
        if plan.terms:
            self._replay = ReplayOfTables(model.weights, plan)
            reference: Reference = ReferenceOfTables(plan, self._replay, *given)
        else:
            self._replay, reference = Replay(model.weights, plan), Reference(*given)
        seconds = {"reference": reference, "replay": self._replay}
        self._witness = Witness(claim, shapes, self.canaries, generator, seconds, rehearsed)
        if taken_up:
            self._witness.take_up(part_of(taken_up, "witness"))

    def observe(self, step: Step) -> None:
        self._witness.note(step)

    def state(self) -> dict[str, Tensor]:
        """What of the steps so far a gate needs to judge them with the others: sums, and some of their noise."""
        import torch

        signs = bytearray.fromhex(self._signs)
        return {
            "included": torch.from_numpy(self.canaries.included.copy()),
            "signs": torch.from_numpy(np.frombuffer(signs, np.uint8)),
            **together({"witness": self._witness}),
        }

    @property
    def _signs(self) -> str:
        """The marks of the noise of every process that this training was in."""
        return self._signs_before + signs_of(self._witness.first_noise[1])

    def judge(self, weights: Mapping[str, Tensor], earlier: Sequence[str] = ()) -> Judgement:
        """`weights` are what would be registered; `earlier` the marks of the noise of all other runs."""
        self._replay.released(weights)
        checks = [*self._witness.checks(), twice(self._signs, earlier)]
        sound = any(check.name == "canaries: epsilon" for check in checks)
        return Judgement(checks, self._witness.bounds() if sound else None, self._signs)


def rehearsal(plan: Plan, model: Model) -> tuple[Witness, Canaries]:
    """A witness for one step on made-up records that everybody takes part in: its noise must not come again."""
    claim = Claim(
        plan.units, plan.sampling_rate, plan.noise_multiplier, plan.steps, plan.clip, plan.epsilon, plan.delta
    )
    shapes = _released(plan, model)
    generator = np.random.default_rng(secrets.randbits(256))
    canaries = Canaries.planted(how_many(plan.steps))
    return Witness(claim, shapes, canaries, generator), canaries


def _released(plan: Plan, model: Model) -> dict[str, tuple[int, ...]]:
    """The shapes of what a step releases."""
    if plan.terms:
        return boosted_tables.released(plan)
    return {name: tuple(weight.shape) for name, weight in model.weights.items()}


def _coordinates(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
