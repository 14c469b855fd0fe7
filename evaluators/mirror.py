"""Which figures does MLflow show? The headlines of our tables, once each, whatever was interrupted before.

Best effort, after our own commit. A model version is mirrored as a whole, so what was missed, by a kill or while
MLflow was away, is made up for when the version is next evaluated. A wave's step is its place in the order of arrival,
which never changes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sandbox.records import Evaluation, Measurement, ModelVersion, Wave

if TYPE_CHECKING:
    from sandbox.registry.registry import Headline
    from sandbox.settings import Settings
    from sandbox.storage import Store

HEADLINES = frozenset(
    {"auc", "accuracy", "macro_auc", "r2", "brier", "log_loss", "calibration_bias", "ece"}
    | {"score_distance", "outcome_distance", "outcome_rate"}
)
_log = logging.getLogger(__name__)


def mirror(store: Store, settings: Settings, version: ModelVersion) -> None:
    """Makes MLflow show what our tables say of this version; logs what hinders it."""
    try:
        from sandbox.registry import registry

        registry.mirror(settings, version, headlines(store, version))
    except Exception as error:
        _log.warning("%s was not mirrored to MLflow: %s", version.id, type(error).__name__)


def headlines(store: Store, version: ModelVersion) -> list[Headline]:
    """Of all records together, oldest wave first; of several evaluator versions the newest one's."""
    from sandbox.registry.registry import Headline

    with store.reading() as view:
        waves = sorted(view.all(Wave, dataset=version.dataset), key=lambda wave: (wave.arrived_at, wave.id))
        rows = [row for name in sorted(HEADLINES) for row in view.measurements(version.id, name=name)]
    steps = {wave.id: step for step, wave in enumerate(waves)}
    newest: dict[tuple[int, str], tuple[Evaluation, Measurement]] = {}
    for evaluation, m in sorted(rows, key=lambda row: row[0].evaluator_version):
        if not m.group and not m.feature and m.value is not None:
            newest[steps[evaluation.wave], m.name] = evaluation, m
    return [
        Headline(name, float(m.value or 0.0), step, evaluation.finished_at)
        for (step, name), (evaluation, m) in sorted(newest.items(), key=lambda item: item[0])
    ]
