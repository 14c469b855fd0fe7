"""The nouns of the sandbox, as frozen records. Storage keeps them; everyone else passes them on.

Times are timezone-aware UTC. Digests are lower-case hex sha256. Every record has a single-string
key in its first field. JSON-valued fields hold plain dicts and lists only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sandbox.lifecycle import (
    ChargeState,
    FindingState,
    IncidentState,
    JobState,
    RunState,
    Standing,
    SubmissionState,
    Verdict,
    WaveState,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A dataset a custodian brought in. `training_rows` and `training_digest` describe the training side."""

    name: str
    title: str
    population: str
    card: Json
    card_digest: str
    training_path: str
    training_rows: int
    training_units: int
    training_digest: str
    added_at: datetime
    added_by: str


@dataclass(frozen=True)
class Wave:
    """One dated, immutable slice of held-out data. `id` is `<dataset>/<name>`; `day` orders the waves."""

    id: str
    dataset: str
    name: str
    day: date
    rows: int
    units: int
    digest: str
    path: str
    state: WaveState
    report: Json
    arrived_at: datetime
    added_by: str


@dataclass(frozen=True)
class Submission:
    """A model offered for training. `files` maps a relative path to its sha256.

    `graph` is the admitted graph that is trained; empty until there is one. `note` says why it was
    refused or failed.
    """

    id: str
    model: str
    dataset: str
    task: str
    developer: str
    manifest: Json
    files: Json
    digest: str
    path: str
    state: SubmissionState
    note: str
    received_at: datetime
    graph: str = ""


@dataclass(frozen=True)
class AdmittedGraph:
    """A model as data, checked: what trusted code trains. `id` is the sha256 of its bytes, kept at `path`.

    `summary` is what sandbox.submissions.graph.summary counted. `made_by` is `{"recipe": name,
    "settings": ...}` for our own code, or `{"backend": name, "layers": [...]}`: the wall behind which a
    developer's code made it.
    """

    id: str
    path: str
    summary: Json
    made_by: Json
    admitted_at: datetime


@dataclass(frozen=True)
class Charge:
    """What a mechanism did to a population: an event, never an epsilon.

    `pool` says which people: `training:<population>` or `held-out:<population>[/<wave>]`.
    `event` is a DpEvent as JSON (see sandbox.privacy.accounting); `purpose` says what for. `slot` is the
    slot it takes where the pool has a plan of slots, else "".
    """

    id: str
    pool: str
    event: Json
    unit: str
    adjacency: str
    purpose: str
    state: ChargeState
    reserved_at: datetime
    reserved_by: str
    slot: str = ""


@dataclass(frozen=True)
class TrainingRun:
    """One training of one submission. `certificate` is what sandbox.training.certificate wrote."""

    id: str
    submission: str
    charge: str
    state: RunState
    plan: Json
    certificate: Json
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Incident:
    """A training that did not pass the release gate, so that no model came of it. `id` is the run's.

    `test` is the surest of those it failed, `sentence` says it in plain words, and `tests` is how each
    went (sandbox.training.gate). `resolved_by` and `reason` are empty while it is open.
    """

    id: str
    submission: str
    test: str
    sentence: str
    tests: Json
    state: IncidentState
    opened_at: datetime
    resolved_by: str = ""
    reason: str = ""
    resolved_at: datetime | None = None


@dataclass(frozen=True)
class NoiseMark:
    """Signs of the first noise that only canaries met in a run, as hex: no two runs may share them.

    Of chance alone, and of no record; kept inside nevertheless.
    """

    run: str
    signs: str


@dataclass(frozen=True)
class ModelVersion:
    """A registered, trained model. `id` is `<model>/<version>`. `digest` is of its trained record graph."""

    id: str
    model: str
    version: int
    dataset: str
    task: str
    run: str
    developer: str
    standing: Standing
    logged_model: str
    digest: str
    registered_at: datetime


@dataclass(frozen=True)
class Evaluation:
    """One evaluator on one model version and wave: done once, whatever is killed when.

    `id` is `<model>/<version>|<wave id>|<evaluator>|<evaluator version>`. `failure` is a code, empty
    when it worked.
    """

    id: str
    model_version: str
    wave: str
    evaluator: str
    evaluator_version: int
    failure: str
    finished_at: datetime


@dataclass(frozen=True)
class Measurement:
    """A number with what stands behind it.

    `name` such as `auc`; `group` such as `district=Leeds`, or empty for everyone; `feature` such as
    `longitude` for drift of one input, else empty. `low` and `high` are a 95 % interval. `value` is
    None unless `status` is `ok`; other statuses say why: `too few`, `undefined`.
    """

    name: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    group: str = ""
    feature: str = ""
    status: str = "ok"


@dataclass(frozen=True)
class Finding:
    """A judgement of policy on measurements. `id` is `<evaluation id's version>|<wave>|<rule>|<subject>`."""

    id: str
    model_version: str
    wave: str
    rule: str
    subject: str
    verdict: Verdict
    level: str
    sentence: str
    value: float | None
    limit: float | None
    state: FindingState
    found_at: datetime


@dataclass(frozen=True)
class Decision:
    """By a named person with a reason."""

    id: str
    model_version: str
    action: str
    person: str
    reason: str
    decided_at: datetime


@dataclass(frozen=True)
class Comparison:
    """A paired test of a challenger against a champion, declared before the wave arrives that it is about."""

    id: str
    challenger: str
    champion: str
    dataset: str
    measure: str
    reason: str
    declared_by: str
    declared_at: datetime


@dataclass(frozen=True)
class ComparisonResult:
    """What a declared test said: the challenger's measure less the champion's. `id` is the declaration's."""

    id: str
    wave: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    status: str
    finished_at: datetime


@dataclass(frozen=True)
class Release:
    """What may leave: immutable content, its sha256 as `id`. Stored before it is shown."""

    id: str
    model: str
    model_version: str
    content: Json
    released_at: datetime
    released_by: str


@dataclass(frozen=True)
class Job:
    """Work that somebody or the schedule asked for, done once by whoever is free. `key` is `<kind>|<what>`.

    `attempt` grows when it is asked for anew; `deaths` counts the workers that died on this attempt.
    `queued`: a worker may do it; else one process is doing it by itself. `worker` is the holder while it
    runs. `again_at` is when it may be tried again. `done` of `total` says how far it is.
    """

    key: str
    kind: str
    arguments: Json
    state: JobState
    attempt: int
    deaths: int
    queued: bool
    note: str
    worker: str
    done: int
    total: int
    doing: str
    asked_by: str
    asked_at: datetime
    again_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Worker:
    """A process that does jobs. It lives while `beat` grows; `machine` and `process` say where it is.

    `ended`: it said itself that it is leaving. `name` is for people.
    """

    id: str
    name: str
    machine: str
    process: str
    beat: int
    ended: bool
    started_at: datetime
    beat_at: datetime


@dataclass(frozen=True)
class Event:
    """Who did what, and why; one is appended to the audit log with every change of state."""

    by: str
    action: str
    subject: str
    reason: str = ""
    details: Json = field(default_factory=dict)
