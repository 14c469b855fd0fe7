"""What did the evaluators measure of one model version, wave by wave?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dashboards.panels import Point, Trend, Unit
from sandbox.records import Measurement, Wave
from sandbox.storage.results import Series

HEADLINE: dict[str, tuple[str, str]] = {
    "binary": ("auc", "auc_gap"),
    "multiclass": ("accuracy", "accuracy_gap"),
    "regression": ("r2", "mae_gap"),
}
"""For each kind of task: the measure a model is judged by, and the gap between groups in it."""

_WORSE: tuple[tuple[str, str, Unit], ...] = (
    ("flips", "Decisions that flip", "share"),
    ("auc_fall", "AUC lost", "score"),
    ("accuracy_fall", "Accuracy lost", "share"),
    ("shift", "Prediction moves by", "score"),
    ("rmse_rise", "Root mean square error more", "score"),
)
_HOW = {"missing": "input missing", "noise": "noise of 5 % of its range", "swap": "another category"}

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
    "macro_auc_gap": ("mean AUC over classes", "score"),
    "accuracy_gap": ("accuracy", "share"),
    "mae": ("Mean absolute error", "score"),
    "mae_gap": ("mean absolute error", "score"),
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
    "relation_distance": ("How outcomes follow from scores", "score"),
    "answer_ms_per_1000": ("Time to answer for 1,000 records, ms", "amount"),
    "evaluation_cpu_seconds": ("Evaluation of this wave, CPU seconds", "amount"),
    "evaluation_joules": ("Evaluation of this wave, joules (estimate)", "amount"),
    "training_cpu_seconds": ("Training, CPU seconds", "amount"),
    "training_joules": ("Training, joules (estimate)", "amount"),
    "parameters": ("Parameters, fixed ones included", "number"),
    "expected_auc": ("AUC to expect, without outcomes", "score"),
    "expected_auc_error": ("AUC to expect less the true one, where known", "score"),
    "expected_auc_held": ("Waves where the true AUC lay in the interval", "share"),
    "expected_accuracy": ("Accuracy to expect, without outcomes", "share"),
    "expected_accuracy_error": ("Accuracy to expect less the true one, where known", "share"),
    "expected_accuracy_held": ("Waves where the true accuracy lay in the interval", "share"),
    "epsilon_claimed": ("ε claimed, by accounting", "score"),
    "epsilon_audited": ("ε proved at least, by canaries", "amount"),
    "epsilon_audited_gaussian": ("The same, if the noise is Gaussian", "amount"),
    "membership_auc": ("AUC of telling members", "score"),
    "membership_tpr_1": ("Members found at 1 % false alarms", "share"),
    "membership_tpr_01": ("Members found at 0.1 % false alarms", "share"),
    "membership_auc_allowed": ("AUC that ε allows anybody", "score"),
    "membership_tpr_1_allowed": ("Found at 1 % that ε allows anybody", "share"),
    "membership_tpr_01_allowed": ("Found at 0.1 % that ε allows anybody", "share"),
    "version_flips": ("Decisions that differ from the version before", "share"),
    "version_shift": ("Answers lie apart from the version before by", "score"),
    "version_ranks": ("Rank correlation with the version before", "score"),
    "champion_flips": ("Decisions that differ from the champion’s", "share"),
    "champion_shift": ("Answers lie apart from the champion’s by", "score"),
    "champion_ranks": ("Rank correlation with the champion", "score"),
    **{
        f"{name}_{change}": (f"{words}, {how}", unit)
        for name, words, unit in _WORSE
        for change, how in _HOW.items()
    },
}
"""What a measure is called on the pages, and how its values are written."""


DRAWN = frozenset(
    {
        "discrimination",
        "calibration",
        "groups",
        "input_drift",
        "score_drift",
        "outcome_drift",
        "relation_drift",
    }
    | {"volume", "membership"}
)
"""Evaluators whose measurements have a place of their own on a model's page; the others' are listed."""

SHORT = {"calibration_bias": "Bias"}
"""Where a column has little room."""


def words_of(name: str) -> tuple[str, Unit]:
    """What a measure is called, and how its values are written; another package's by its name."""
    return WORDS.get(name, (name.replace("_", " ").capitalize(), "score"))


class Readings:
    """The measurements of one model version on waves given in order."""

    def __init__(self, lines: Iterable[Series], waves: Sequence[Wave]) -> None:
        self.waves = waves
        self._lines: dict[tuple[str, str, str], Series] = {}
        self._by: dict[str, dict[tuple[str, str, str], None]] = {}
        for line in lines:
            key = (line.name, line.group, line.feature)
            before = self._lines.get(key)
            self._lines[key] = replace(line, rows={**before.rows, **line.rows}) if before else line
            self._by.setdefault(line.evaluator, {})[key] = None

    def point(self, wave: Wave, name: str, group: str = "", feature: str = "") -> Point | None:
        """The value on one wave, or None when it was not measured."""
        line = self._lines.get((name, group, feature))
        return _point(line, wave) if line and wave.id in line.rows else None

    def points(self, name: str, group: str = "", feature: str = "") -> tuple[Point, ...]:
        found = (self.point(wave, name, group, feature) for wave in self.waves)
        return tuple(point for point in found if point is not None)

    def trend(
        self, name: str, group: str = "", feature: str = "", limits: tuple[float, ...] = (), words: str = ""
    ) -> Trend:
        label, unit = words_of(name)
        return Trend(name, label, unit, self.points(name, group, feature), limits, words)

    def on(self, wave: Wave) -> list[Measurement]:
        """Everything measured on one wave."""
        return [line.on(wave.id) for line in self._lines.values() if wave.id in line.rows]

    def evaluators(self) -> list[str]:
        """Whose measurements there are."""
        return sorted(self._by)

    def newest(self, evaluator: str) -> list[tuple[Measurement, Point]]:
        """What an evaluator measured on the last wave that it was asked about, in the order of its measures; where
        that only refers to the reference wave, with the last value there is."""
        lines = [self._lines[key] for key in self._by.get(evaluator, ())]
        asked = [(line, [wave for wave in self.waves if wave.id in line.rows]) for line in lines]
        last = max((waves[-1].day for _, waves in asked if waves), default=None)
        found = []
        for line, waves in asked:
            if waves and waves[-1].day == last:
                points = (_point(line, wave) for wave in reversed(waves))
                point = next(points)
                if point.status == "reference":
                    point = next((p for p in points if p.value is not None), point)
                m = Measurement(line.name, point.value, point.n, group=line.group, feature=line.feature)
                found.append((m, point))
        return found

    def features(self, name: str) -> list[str]:
        """The features this measure was taken of, on any wave."""
        return sorted({line.feature for line in self._lines.values() if line.name == name})

    def groups(self, name: str) -> list[str]:
        """The groups this measure was taken of, on any wave."""
        return sorted({line.group for line in self._lines.values() if line.name == name and line.group})


def _point(line: Series, wave: Wave) -> Point:
    return Point(wave.name, wave.day, *line.rows[wave.id][:5])
