"""How do workers evaluate? Each model version on each wave is one job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.catalogue import evaluators_for
from evaluators.counting import EVERYDAY, builder_of
from evaluators.harness import JOB, arguments_of, evaluate_pair, job_key, pairs_due
from evaluators.policy import load_policy
from evaluators.tallies import Tallies, row_groups
from sandbox.jobs.kinds import Kind
from sandbox.records import Json, ModelVersion, Wave
from sandbox.roles import Role

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.jobs.presence import Hand

SHARD_ROWS = 500_000
"""A second of counting or more, so that handing a shard out costs little beside it."""


def _due(box: Sandbox) -> list[Json]:
    return [arguments_of(pair) for pair in pairs_due(box.store, Tallies(box.store, box.settings))]


def _run(box: Sandbox, arguments: Json, hand: Hand) -> None:
    box.person.must_be(Role.OPERATOR, Role.OVERSEER, to="run evaluations")
    tallies, policy = Tallies(box.store, box.settings), load_policy(box.settings.evaluation.policy)
    for pair in pairs_due(box.store, tallies, only=arguments):
        evaluate_pair(box.store, box.settings, tallies, policy, pair, box.person.name, hand.progress)


def _plan(box: Sandbox, arguments: Json) -> list[Json]:
    """A wave of several shards of row groups is counted by whichever workers are free; a small one is none."""
    wave = box.store.get(Wave, arguments["wave"])
    if wave.rows < 2 * SHARD_ROWS:
        return []
    groups = list(row_groups(Path(wave.path)))
    shards = min(wave.rows // SHARD_ROWS, len(groups))
    return [{**arguments, "groups": groups[number::shards]} for number in range(shards)]


def _shard(box: Sandbox, arguments: Json) -> None:
    version, wave = (
        box.store.get(ModelVersion, arguments["model_version"]),
        box.store.get(Wave, arguments["wave"]),
    )
    tallies = Tallies(box.store, box.settings)
    kind = tallies.encoding(version.dataset, version.task).task.kind
    builders = [EVERYDAY, *(made for e in evaluators_for(kind) if (made := builder_of(e)))]
    tallies.count_ahead(version, wave, arguments["groups"], builders)


KIND = Kind(
    name=JOB, queue="evaluations", when="evaluate", key=lambda a: job_key(a).removeprefix(f"{JOB}|"),
    due=_due, run=_run, plan=_plan, shard=_shard,
)  # fmt: skip
