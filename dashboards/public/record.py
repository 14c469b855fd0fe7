"""What a release holds, as typed records: the only thing a public page is made from."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sandbox.errors import Invalid, Problem
from sandbox.lifecycle import Standing, Verdict
from sandbox.records import Release
from sandbox.settings import problems_of

_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


def _first_ten(value: Any) -> Any:
    return value[:10] if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_first_ten)]


class _Part(BaseModel):
    """Later versions of the format may say more; what we do not know is not drawn."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Measure(_Part):
    """`value` is None unless `status` is `ok`; other statuses say why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    status: str = "ok"

    @property
    def shown(self) -> bool:
        return self.status == "ok" and self.value is not None


class Group(_Part):
    attribute: str
    attribute_title: str = ""
    label: str
    n: int | None = None
    status: str = "ok"
    measures: dict[str, Measure] = {}


class Wave(_Part):
    name: str
    day: Day
    n: int | None = None
    measures: dict[str, Measure] = {}
    groups: tuple[Group, ...] = ()


class Finding(_Part):
    day: Day
    wave: str = ""
    rule: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    limit: float | None = None


class Change(_Part):
    day: Day
    what: str


class Words(_Part):
    title: str
    summary: str
    used_for: str
    human_decides: str
    organisation: str
    responsible: str
    contact: str
    question_a_decision: str


class Dataset(_Part):
    name: str
    title: str
    population: str = ""
    unit_means: str
    licence: str = ""
    attribution: str = ""
    custodian: str | dict[str, Any] = ""
    synthetic: bool


class Task(_Part):
    name: str
    kind: str
    question: str = ""


class Budget(_Part):
    epsilon: float
    spent: float
    share: float


class Privacy(_Part):
    epsilon: float
    delta: float
    adjacency: str
    unit: str
    noise_multiplier: float | None = None
    sampling_rate: float | None = None
    steps: int | None = None
    budget: Budget


class Publication(_Part):
    mechanism: str
    epsilon: float
    delta: float
    sigma: float | None = None
    threshold: int
    round_to: int


class Record(_Part):
    """The content of one release (`ndl-release/1`), with its waves and history in order of their days."""

    format: Literal["ndl-release/1"]
    model: str = Field(pattern=f"^{_MODEL_NAME.pattern}$")
    version: int
    standing: Standing
    words: Words
    purpose: str = ""
    dataset: Dataset
    task: Task
    privacy: Privacy
    publication: Publication
    waves: tuple[Wave, ...] = ()
    findings: tuple[Finding, ...] = ()
    history: tuple[Change, ...] = ()
    limits: dict[str, float] = {}
    updated: Day


def read(release: Release) -> Record:
    """The release's content; raises Invalid naming every wrong part, or a content that is not what was cleared."""
    subject = f"Release {release.id[:16]}"
    try:
        record = Record.model_validate(release.content)
    except ValidationError as error:
        raise Invalid(subject, problems_of(error)) from None
    if hashlib.sha256(document(release)).hexdigest() != release.id:
        raise Invalid(subject, [Problem("content", "does not have the digest it was cleared with")])
    return record


def document(release: Release) -> bytes:
    """The bytes of `record.json`: canonical JSON, whose sha256 is the release's id."""
    return json.dumps(release.content, sort_keys=True, separators=(",", ":")).encode()
