"""What is due? A pure function of what is hosted, what has arrived and what is done.

Nothing depends on when it is asked: missed ticks, double ticks and clock changes change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from evaluators.base import Evaluator
from sandbox.lifecycle import Standing, WaveState
from sandbox.records import ModelVersion, Wave


@dataclass(frozen=True)
class Pair:
    """One model version and wave, and the evaluators that have no result on it yet.

    `reference` is the wave it is compared with; the same as `wave` for the dataset's first. `earlier` are
    those before this wave, the last first, without the reference.
    """

    model_version: ModelVersion
    wave: Wave
    reference: Wave
    evaluators: tuple[Evaluator, ...]
    earlier: tuple[Wave, ...] = ()


def due(
    versions: Iterable[ModelVersion],
    waves: Iterable[Wave],
    done: Collection[str],
    evaluators_of: Callable[[ModelVersion], Sequence[Evaluator]],
) -> list[Pair]:
    """Every hosted (not retired) version x accepted wave of its dataset x evaluator version without a
    result, oldest wave first. `done` holds the ids of the evaluations there are."""
    arrived: dict[str, list[Wave]] = {}
    for wave in waves:
        if wave.state is WaveState.ACCEPTED:
            arrived.setdefault(wave.dataset, []).append(wave)
    pairs = []
    for version in versions:
        if version.standing is Standing.RETIRED or version.dataset not in arrived:
            continue
        of_dataset = arrived[version.dataset]
        for wave in sorted(of_dataset, key=lambda w: (w.day, w.id)):
            left = tuple(e for e in evaluators_of(version) if evaluation_id(version, wave, e) not in done)
            if left:
                earlier = earlier_of(of_dataset, wave)
                pairs.append(Pair(version, wave, reference_of(of_dataset), left, earlier))
    return sorted(pairs, key=lambda pair: (pair.wave.day, pair.wave.id, pair.model_version.id))


def reference_of(waves: Iterable[Wave]) -> Wave:
    """The wave that a dataset's later ones are compared with: the first that was accepted, for ever."""
    return min(waves, key=lambda wave: (wave.arrived_at, wave.day, wave.id))


def earlier_of(waves: Iterable[Wave], wave: Wave, at_most: int = 12) -> tuple[Wave, ...]:
    """The waves before this one, the last first, without the reference; those that arrived later than it are
    left out, so that what is said of a wave does not depend on when it is asked."""
    arrived = [w for w in waves if w.arrived_at <= wave.arrived_at]
    if not arrived:
        return ()
    reference = reference_of(arrived)
    before = [w for w in arrived if (w.day, w.id) < (wave.day, wave.id) and w.id != reference.id]
    return tuple(sorted(before, key=lambda w: (w.day, w.id), reverse=True)[:at_most])


def evaluation_id(version: ModelVersion, wave: Wave, evaluator: Evaluator) -> str:
    """The key that makes an evaluation happen once."""
    return f"{version.id}|{wave.id}|{evaluator.name}|{evaluator.version}"
