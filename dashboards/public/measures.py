"""What each published measure means, in words for somebody who never heard of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboards.public import writing
from sandbox.disclosure.content import Measure


@dataclass(frozen=True)
class Meaning:
    """`title` heads a column; `explanation` is a sentence; `write` turns the value into text."""

    title: str
    explanation: str
    write: Callable[[float], str] = writing.score

    @property
    def write_axis(self) -> Callable[[float], str]:
        """How the chart's axis is written."""
        return writing.whole_share if self.write is writing.share else writing.short


def _too_high_or_low(value: float) -> str:
    if value == 0:
        return "no difference"
    return f"{writing.points(abs(value))} too {'high' if value > 0 else 'low'}"


_MEANINGS = {
    "auc": Meaning(
        "Score",
        "A score of 1 means the model always ranks a record where the answer is yes above one where it "
        "is no. A score of 0.5 is no better than chance.",
    ),
    "macro_auc": Meaning(
        "Ranking score",
        "How well the model tells each answer from all the others, averaged over the answers. 1 is "
        "perfect; 0.5 is no better than chance.",
    ),
    "accuracy": Meaning(
        "Right answers",
        "The share the model gets right: its most likely answer is the true one.",
        writing.share,
    ),
    "r2": Meaning(
        "Score",
        "A score of 1 means every prediction is exact. A score of 0 is no better than always "
        "predicting the average.",
    ),
    "mae": Meaning("Usual error", "How far a prediction is from the truth, on average. Lower is better."),
    "mae_gap": Meaning("Widest gap between groups: usual error", "Between the two groups furthest apart."),
    "rmse": Meaning("Typical error", "How far predictions are from the truth; large errors count more."),
    "average_precision": Meaning(
        "Precision over the ranking",
        "Of the records the model ranks highest, how many are truly a yes, averaged over all cut-offs.",
    ),
    "f1": Meaning("F1 score", "Weighs missed cases against false alarms. 1 is perfect."),
    "log_loss": Meaning("Log loss", "How surprised the model is by what happened. Lower is better."),
    "brier": Meaning("Brier score", "The squared distance from prediction to outcome. Lower is better."),
    "ece": Meaning(
        "Calibration error", "How far predictions are from what happened, on average.", writing.points
    ),
    "calibration_bias": Meaning(
        "Usual prediction",
        "What the model predicts on average, compared with what happened.",
        _too_high_or_low,
    ),
    "calibration_slope": Meaning(
        "Calibration slope", "1 means predictions are neither too bold nor too timid."
    ),
    "outcome_rate": Meaning("Answer was yes", "The share of records where the answer is yes.", writing.share),
    "selection_rate": Meaning(
        "Model said yes", "The share of records the model marks as yes.", writing.share
    ),
    "tpr": Meaning(
        "Found", "Of the records where the answer is yes, the share the model finds.", writing.share
    ),
    "fpr": Meaning(
        "False alarms", "Of the records where the answer is no, the share marked as yes.", writing.share
    ),
    "input_distance": Meaning(
        "Would have to change",
        "The share of records that would have to change for both tests to look alike.",
        writing.share,
    ),
    "ppv": Meaning(
        "Right when it said yes", "Of the records marked as yes, the share that are.", writing.share
    ),
}

_WHY_NOT = {
    "too few": "Too few to tell",
    "suppressed": "Not shown",
    "not measured": "Not measured",
    "reference": "Nothing to compare with",
}
_HEADLINES = {"binary": "auc", "multiclass": "accuracy", "regression": "mae"}
_LOWER_IS_BETTER = frozenset({"mae", "rmse", "log_loss", "brier", "ece"})


def headline(kind: str) -> str:
    """The measure that stands for quality of this kind of task."""
    return _HEADLINES.get(kind, "auc")


def may_fall(name: str) -> bool:
    """Whether a fall of this measure is for the worse, so that policy limits it."""
    return name not in _LOWER_IS_BETTER


def meaning(name: str) -> Meaning:
    """What the measure means; one nobody described yet is shown under its own name."""
    known = _MEANINGS.get(name)
    if known:
        return known
    if name.endswith("_gap"):
        base = _MEANINGS.get({"calibration_gap": "calibration_bias"}.get(name, name.removesuffix("_gap")))
        title = base.title.lower() if base else name.removesuffix("_gap").replace("_", " ")
        return Meaning(
            f"Widest gap between groups: {title}", "Between the two groups furthest apart.", writing.points
        )
    return Meaning(name.replace("_", " ").capitalize(), "")


def is_shown(measure: Measure) -> bool:
    return measure.status == "ok" and measure.value is not None


def written(name: str, measure: Measure | None) -> str:
    """The value, or why there is none."""
    if measure is None:
        return "Not measured"
    if measure.status == "ok" and measure.value is not None:
        return meaning(name).write(measure.value)
    return _WHY_NOT.get(measure.status, "Cannot be worked out")


def likely_range(name: str, measure: Measure | None) -> str:
    """'0.79 to 0.82', or empty."""
    if measure is None or not is_shown(measure) or measure.low is None or measure.high is None:
        return ""
    write = writing.points if name == "calibration_bias" else meaning(name).write
    low = write(measure.low).removesuffix(" points").removesuffix(" point")
    return f"{low} to {write(measure.high)}"
