"""What is the shape of a release's content (`ndl-release/1`)? Exactly these fields, and nothing else.

An unknown key, a wrong type, a number that is not finite or a measure nobody allowed stops the
release. A count that may not be shown is None, and then no measure stands on it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

_QUALITY = {
    "auc",
    "macro_auc",
    "average_precision",
    "accuracy",
    "f1",
    "log_loss",
    "brier",
    "r2",
    "mae",
    "rmse",
}
_RATES = {"outcome_rate", "selection_rate", "tpr", "fpr", "ppv", "ece"}
_AVERAGES = _QUALITY | _RATES | {"calibration_bias", "calibration_slope"}
MEASURES = frozenset(
    _AVERAGES | {f"{name}_gap" for name in _AVERAGES} | {"calibration_gap", "input_distance"}
)
"""Averages and rates over many records. Never a minimum, maximum, median or another single record's
value (SDC handbook: unsafe statistics)."""


def _measures(values: dict[str, Any]) -> dict[str, Any]:
    if values.keys() - MEASURES:
        raise PydanticCustomError("measure", "holds a measure that no rule allows")
    return values


def _printable(text: str) -> str:
    if any(not c.isprintable() for c in text.replace("\n", " ")):
        raise PydanticCustomError("control_characters", "has control or direction characters")
    return text


Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")]
Positive = Annotated[float, Field(gt=0)]
Status = Literal["ok", "too few", "suppressed", "undefined", "not measured", "reference"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Measure(_Part):
    value: float | None
    low: float | None
    high: float | None
    status: Status


Measures = Annotated[dict[str, Measure], AfterValidator(_measures)]


class Group(_Part):
    attribute: Text
    attribute_title: Text
    label: Text
    n: int | None
    status: Status
    measures: Measures


class Input(_Part):
    """How far a column of the wave is from the first wave's, whatever the model says of it."""

    column: Name
    title: Text
    n: int | None
    status: Status
    measures: Measures


class Wave(_Part):
    name: Name
    day: Day
    n: int | None
    measures: Measures
    groups: list[Group]
    inputs: list[Input] = []  # releases from before inputs were published have none


class Finding(_Part):
    day: Day
    wave: Name
    rule: Name
    verdict: Literal["beyond tolerance", "within tolerance", "too little data to tell"]
    sentence: Text
    value: float | None
    limit: float | None


class Change(_Part):
    day: Day
    what: Text


class Words(_Part):
    title: Text
    summary: Text
    used_for: Text
    human_decides: Text
    organisation: Text
    responsible: Text
    contact: Text
    question_a_decision: Text


class Custodian(_Part):
    name: Text
    contact: Text


class Dataset(_Part):
    name: Name
    title: Text
    population: Name
    unit_means: Text
    licence: Text
    attribution: Text
    custodian: Custodian
    synthetic: bool


class Task(_Part):
    name: Name
    kind: Literal["binary", "multiclass", "regression"]
    question: Text


class Budget(_Part):
    """`spent` and `share` are the filter's (see sandbox.privacy.ledger.BudgetStatus)."""

    epsilon: Positive
    spent: Annotated[float, Field(ge=0)]
    share: Annotated[float, Field(ge=0, le=1)]


class Audit(_Part):
    """What canaries prove of a training: its epsilon is no smaller, with this confidence."""

    lower_bound: Annotated[float, Field(ge=0)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    canaries: Annotated[int, Field(ge=1)]


class Privacy(_Part):
    epsilon: Annotated[float, Field(ge=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    adjacency: Literal["add/remove"]
    unit: Text
    noise_multiplier: Positive
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=0)]
    budget: Budget
    audit: Audit | None = None  # trainings from before there was a gate have none


class InputNoise(_Part):
    """What the counts of a wave's inputs cost, once for all models that read them."""

    epsilon: Positive
    delta: Annotated[float, Field(gt=0, lt=1)]
    sigma: Positive


class Publication(_Part):
    mechanism: Literal["discrete Gaussian"]
    epsilon: Positive
    delta: Annotated[float, Field(gt=0, lt=1)]
    sigma: Positive | None
    threshold: Annotated[int, Field(ge=1)]
    round_to: Annotated[int, Field(ge=1)]
    inputs: InputNoise | None = None


class Content(_Part):
    format: Literal["ndl-release/1"]
    model: Name
    version: Annotated[int, Field(ge=1)]
    standing: Literal["candidate", "challenger", "champion", "suspended", "retired"]
    words: Words
    purpose: Text
    dataset: Dataset
    task: Task
    privacy: Privacy
    publication: Publication
    waves: list[Wave]
    findings: list[Finding]
    history: list[Change]
    limits: dict[Name, float]
    updated: Day
