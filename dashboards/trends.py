"""What did the evaluators measure of one model version, wave by wave?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dashboards.panels import Point, Trend, Unit
from sandbox.records import Evaluation, Measurement, Wave

HEADLINE: dict[str, tuple[str, str]] = {
    "binary": ("auc", "auc_gap"),
    "multiclass": ("accuracy", "accuracy_gap"),
    "regression": ("r2", ""),
}
"""For each kind of task: the measure a model is judged by, and the gap between groups in it."""

WORDS: dict[str, tuple[str, Unit]] = {
    "auc": ("AUC", "score"),
    "accuracy": ("Accuracy", "share"),
    "macro_auc": ("Mean AUC over classes", "score"),
    "r2": ("R²", "score"),
    "average_precision": ("Average precision", "score"),
    "f1": ("F1", "score"),
    "log_loss": ("Log loss", "score"),
    "brier": ("Brier score", "score"),
    "auc_gap": ("AUC", "score"),
    "accuracy_gap": ("accuracy", "share"),
    "calibration_bias": ("Calibration bias", "score"),
    "calibration_slope": ("Calibration slope", "score"),
    "ece": ("Expected calibration error", "score"),
    "outcome_rate": ("Outcome rate", "share"),
    "selection_rate": ("Selected", "share"),
    "tpr": ("Recall", "share"),
    "fpr": ("False alarms", "share"),
    "ppv": ("Precision", "share"),
    "score_distance": ("Scores", "score"),
    "outcome_distance": ("Outcomes", "score"),
}
"""What a measure is called on the pages, and how its values are written."""


SHORT = {"calibration_bias": "Bias"}
"""Where a column has little room."""


class Readings:
    """The measurements of one model version on waves given in order; the newest evaluator version counts."""

    def __init__(self, rows: Iterable[tuple[Evaluation, Measurement]], waves: Sequence[Wave]) -> None:
        self.waves = waves
        self._kept: dict[tuple[str, str, str, str], tuple[int, Measurement]] = {}
        for evaluation, m in rows:
            key = (m.name, m.group, m.feature, evaluation.wave)
            if key not in self._kept or self._kept[key][0] <= evaluation.evaluator_version:
                self._kept[key] = (evaluation.evaluator_version, m)

    def point(self, wave: Wave, name: str, group: str = "", feature: str = "") -> Point | None:
        """The value on one wave, or None when it was not measured."""
        kept = self._kept.get((name, group, feature, wave.id))
        if kept is None:
            return None
        m = kept[1]
        return Point(wave.name, wave.day, m.value, m.low, m.high, m.n, m.status)

    def points(self, name: str, group: str = "", feature: str = "") -> tuple[Point, ...]:
        found = (self.point(wave, name, group, feature) for wave in self.waves)
        return tuple(point for point in found if point is not None)

    def trend(
        self, name: str, group: str = "", feature: str = "", limits: tuple[float, ...] = (), words: str = ""
    ) -> Trend:
        label, unit = WORDS.get(name, (name.replace("_", " ").capitalize(), "score"))
        return Trend(name, label, unit, self.points(name, group, feature), limits, words)

    def on(self, wave: Wave) -> list[Measurement]:
        """Everything measured on one wave."""
        return [m for (_, _, _, at), (_, m) in self._kept.items() if at == wave.id]

    def features(self, name: str) -> list[str]:
        """The features this measure was taken of, on any wave."""
        return sorted({feature for (kind, _, feature, _) in self._kept if kind == name})

    def groups(self, name: str) -> list[str]:
        """The groups this measure was taken of, on any wave."""
        return sorted({group for (kind, group, _, _) in self._kept if kind == name and group})
