"""How do workers evaluate? Each model version on each wave is one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluators.harness import JOB, arguments_of, evaluate_pair, job_key, pairs_due
from evaluators.policy import load_policy
from evaluators.tallies import Tallies
from sandbox.jobs.kinds import Kind
from sandbox.records import Json
from sandbox.roles import Role

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.jobs.presence import Hand


def _due(box: Sandbox) -> list[Json]:
    return [arguments_of(pair) for pair in pairs_due(box.store, Tallies(box.store, box.settings))]


def _run(box: Sandbox, arguments: Json, hand: Hand) -> None:
    box.person.must_be(Role.OPERATOR, Role.OVERSEER, to="run evaluations")
    tallies, policy = Tallies(box.store, box.settings), load_policy(box.settings.evaluation.policy)
    for pair in pairs_due(box.store, tallies, only=arguments):
        evaluate_pair(box.store, box.settings, tallies, policy, pair, box.person.name, hand.progress)


KIND = Kind(
    name=JOB, queue="evaluations", when="evaluate", key=lambda a: job_key(a).removeprefix(f"{JOB}|"),
    due=_due, run=_run,
)  # fmt: skip
