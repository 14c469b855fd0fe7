"""How much change is tolerated? The limits, read from TOML, and the three answers they allow.

A verdict is `beyond tolerance` when the whole interval lies past the limit, `within tolerance` when the
whole interval lies inside it, and else `too little data to tell`: never a guess.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluators.intervals import Estimate
from sandbox.errors import Invalid, NotFound, Problem
from sandbox.lifecycle import Verdict
from sandbox.settings import Evaluation, problems_of

Level = Literal["High", "Medium", "Low"]
Limit = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Kind = Literal["binary", "multiclass", "regression"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quality(_Section):
    measure: dict[Kind, str] = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}
    fall: Limit = 0.03
    level: Level = "High"


class Calibration(_Section):
    bias: Limit = 0.05
    level: Level = "High"


class Fairness(_Section):
    gap: Limit = 0.10
    level: Level = "High"


class Drift(_Section):
    distance: Limit = 0.20
    false_alarms_a_year: Limit = 0.05
    waves_a_year: Annotated[int, Field(ge=1, le=366)] = 52
    level: Level = "Medium"

    def p_limit(self, streams: int) -> float:
        """How small a p-value must be so that the promise holds over this many streams (Bonferroni)."""
        return self.false_alarms_a_year / (self.waves_a_year * max(streams, 1))


class Volume(_Section):
    """`change` is a factor: 2 tolerates from half to twice as many records as in the reference wave."""

    change: Annotated[float, Field(gt=1, le=100, allow_inf_nan=False)] = 2.0
    level: Level = "Medium"


class Monitoring(_Section):
    """Watching every model for ever. `alarms_a_year` without any change is what the whole estate may have
    (on average, over all its streams together), if each stream is checked `checks_a_year` times."""

    alarms_a_year: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0
    checks_a_year: Annotated[int, Field(ge=1, le=8784)] = 52
    fall: Limit = 0.02
    level: Level = "High"

    def threshold(self, streams: int) -> float:
        """The evidence (see evaluators.change) at which a stream alarms, so that the promise holds."""
        return self.checks_a_year * max(streams, 1) / self.alarms_a_year


class Robustness(_Section):
    """What may be lost where one input is missing, noisy or another: of AUC or accuracy, or of error more."""

    fall: Limit = 0.10
    level: Level = "Low"


class Stability(_Section):
    """The share of records for which a version may decide otherwise than the champion (where there is none, than the
    version before); of numbers, how far apart."""

    change: Limit = 0.10
    level: Level = "Medium"


class Expected(_Section):
    """On what share of waves the estimate without outcomes has to hold to be relied on; it aims at 95 %."""

    held: Limit = 0.80
    level: Level = "Medium"


class Membership(_Section):
    """An attack on the training's records is held against what epsilon allows: there is no limit to choose."""

    level: Level = "High"


class Policy(_Section):
    quality: Quality = Quality()
    calibration: Calibration = Calibration()
    fairness: Fairness = Fairness()
    input_drift: Drift = Drift()
    score_drift: Drift = Drift()
    outcome_drift: Drift = Drift()
    relation_drift: Drift = Drift(distance=0.05)
    volume: Volume = Volume()
    monitoring: Monitoring = Monitoring()
    robustness: Robustness = Robustness()
    stability: Stability = Stability()
    expected: Expected = Expected()
    membership: Membership = Membership()

    @property
    def limits(self) -> dict[str, float]:
        """The limit of each rule that the public is told of, by the rule's name."""
        return {
            "quality": self.quality.fall,
            "calibration": self.calibration.bias,
            "fairness": self.fairness.gap,
            "input drift": self.input_drift.distance,
            "score drift": self.score_drift.distance,
            "outcome drift": self.outcome_drift.distance,
        }


def load_policy(path: Path) -> Policy:
    """Raises NotFound, or Invalid naming every wrong key.

    Where the settings leave the policy at its default and no such file is here, the built-in values
    (the same as that file's) hold.
    """
    if not path.is_file():
        if path == Evaluation().policy:
            return Policy()
        raise NotFound("policy file", str(path))
    try:
        return Policy.model_validate(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise Invalid(str(path), [Problem("file", f"not TOML: {error}", "Mend the line it names.")]) from None
    except ValidationError as error:
        raise Invalid(str(path), problems_of(error)) from None


def above(estimate: Estimate, limit: float) -> Verdict:
    """Is it above the limit?"""
    if estimate.low > limit:
        return Verdict.BEYOND
    return Verdict.WITHIN if estimate.high < limit else Verdict.UNKNOWN


def off_centre(estimate: Estimate, limit: float) -> Verdict:
    """Is it further from zero than the limit, either way?"""
    if estimate.low > limit or estimate.high < -limit:
        return Verdict.BEYOND
    return Verdict.WITHIN if -limit < estimate.low and estimate.high < limit else Verdict.UNKNOWN
