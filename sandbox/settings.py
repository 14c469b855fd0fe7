"""How this installation is set up: a TOML file, then the environment; a misspelt key is refused.

`NDL_CONFIG` names the file (else `ndl.toml` here, else defaults). Any setting can be given as
`NDL_<SECTION>__<KEY>`, e.g. `NDL_STORAGE__FOLDER=/srv/ndl`.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sandbox.errors import Invalid, NotFound, Problem
from sandbox.roles import Person, Role

_OTHER_VARIABLES = frozenset({"NDL_CONFIG", "NDL_AS"})


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Storage(_Section):
    """Where things are kept. Empty URLs mean SQLite files inside `folder`."""

    folder: Path = Path("var")
    database: str = ""
    mlflow: str = ""


class Serving(_Section):
    """Addresses of the three faces; loopback unless changed."""

    host: str = "127.0.0.1"
    live_port: int = Field(default=8501, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    public_port: int = Field(default=8080, ge=1, le=65535)


class Evaluation(_Section):
    """`policy` names a TOML file with the limits that turn measurements into findings. `watts_a_core` turns
    CPU seconds into an estimate of energy: what one busy core of this machine draws, memory and cooling included."""

    policy: Path = Path("configs/policies/default.toml")
    watts_a_core: float = Field(default=10.0, gt=0, le=1_000)


class Schedule(_Section):
    """When to look for what is due: five fields of cron, in UTC; empty for never.

    `evaluate`: evaluations without a result. `train`: submissions that wait; empty leaves each training
    to a person. What is missed is caught up with, and nothing is done twice.
    """

    evaluate: str = "* * * * *"
    train: str = ""

    @field_validator("evaluate", "train")
    @classmethod
    def _is_cron(cls, text: str) -> str:
        from sandbox.jobs.cron import is_expression

        if text and not is_expression(text):
            raise ValueError(
                "not five fields of cron in UTC: '*/15 * * * *' is every quarter of an hour, '0 2 * * *' at two"
            )
        return text


class Workers(_Section):
    """How many workers `ndl up` starts (each does one training and one evaluation at a time), and as which
    operator they act; empty means whoever starts it."""

    count: int = Field(default=1, ge=0, le=64)
    person: str = ""


class Training(_Section):
    """What takes the gradients: our `taps`, or `opacus`, a slower peer for units of one record. And whether they
    are compiled: where it pays, `never`, or `always`."""

    engine: Literal["taps", "opacus"] = "taps"
    compile: Literal["auto", "never", "always"] = "auto"


class Publication(_Section):
    """What a public release may say and what it costs each wave's budget.

    `input_epsilon` is paid once a wave by all models that read the same columns; 0 publishes nothing of inputs.
    """

    epsilon: float = Field(default=1.0, gt=0, le=10)
    input_epsilon: float = Field(default=0.5, ge=0, le=10)
    delta: float = Field(default=1e-6, gt=0, lt=1)
    threshold: int = Field(default=10, ge=1)
    round_to: int = Field(default=5, ge=1)


class Isolation(_Section):
    """Walls around developers' code, and how much of the machine one submission may use.

    `backend`: bubblewrap, landlock, gvisor, or auto for the strongest that is complete here. There is
    no way to run without one. Started as root, each run gets a uid of its own from `uid_first` on.
    """

    backend: Literal["auto", "bubblewrap", "landlock", "gvisor"] = "auto"
    uid_first: int = Field(default=61_184, ge=1_000, le=2_000_000_000)
    uid_count: int = Field(default=512, ge=1, le=65_536)
    cgroup: str = Field(default="ndl-sandbox", pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")
    cpu_seconds: int = Field(default=120, ge=1, le=86_400)
    wall_seconds: int = Field(default=240, ge=1, le=86_400)
    memory_mb: int = Field(default=4_096, ge=256, le=1_048_576)
    processes: int = Field(default=64, ge=8, le=4_096)
    scratch_mb: int = Field(default=256, ge=1, le=65_536)
    log_kb: int = Field(default=64, ge=1, le=65_536)
    artifact_mb: int = Field(default=64, ge=1, le=4_096)


class Settings(_Section):
    storage: Storage = Storage()
    serving: Serving = Serving()
    evaluation: Evaluation = Evaluation()
    schedule: Schedule = Schedule()
    workers: Workers = Workers()
    training: Training = Training()
    publication: Publication = Publication()
    isolation: Isolation = Isolation()
    people: dict[str, list[Role]] = {}

    @property
    def database_url(self) -> str:
        return self.storage.database or f"sqlite:///{self.storage.folder.absolute()}/ndl.db"

    @property
    def mlflow_url(self) -> str:
        return self.storage.mlflow or f"sqlite:///{self.storage.folder.absolute()}/mlflow.db"

    def person(self, name: str = "") -> Person:
        """The named person, or whoever runs the command.

        With no `[people]` declared (one person trying things out), that person holds every role,
        but still may not approve their own request. Raises NotFound for an undeclared name.
        """
        name = name or os.environ.get("NDL_AS", "") or getpass.getuser()
        if not self.people:
            return Person(name, frozenset(Role))
        if name not in self.people:
            raise NotFound("person", name, self.people)
        return Person(name, frozenset(self.people[name]))


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings; raises Invalid naming every wrong key, NotFound when a named file is missing."""
    named = path or (Path(environ["NDL_CONFIG"]) if environ.get("NDL_CONFIG") else None)
    file = named or Path("ndl.toml")
    if named and not named.is_file():
        raise NotFound("settings file", str(named))
    source = str(file) if file.is_file() else "settings"
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text()) if file.is_file() else {}
    except tomllib.TOMLDecodeError as error:
        raise Invalid(source, [Problem("file", f"not TOML: {error}", "Mend the line it names.")]) from None
    _overlay(values, environ)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise Invalid(source, problems_of(error)) from None


def problems_of(error: ValidationError) -> list[Problem]:
    """A pydantic error as our problems, one for each wrong field."""
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "top level"
        what, todo = item["msg"][:1].lower() + item["msg"][1:], ""
        if item["type"] == "extra_forbidden":
            what, todo = "unknown key", "Check its spelling, or remove it."
        elif item["type"] == "missing":
            what, todo = "missing", "Add it."
        elif item["type"] == "value_error":
            what = what.removeprefix("value error, ")
        problems.append(Problem(where, what, todo))
    return problems


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for variable, text in environ.items():
        if not variable.startswith("NDL_") or variable in _OTHER_VARIABLES:
            continue
        section, _, key = variable.removeprefix("NDL_").lower().partition("__")
        if isinstance(values.setdefault(section, {}), dict):
            values[section][key or "?"] = text
