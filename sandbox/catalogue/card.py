"""What does a dataset's card say? Frozen records, refused with every problem at once.

A card is Croissant 1.1 JSON-LD; what Croissant lacks stands under its key `ndl:dataset`. The rules
that tie fields together are in `sandbox.catalogue.rules`; checks that need the files or mlcroissant
are in `sandbox.catalogue.check`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, PrivateAttr
from pydantic_core import PydanticCustomError

from sandbox.errors import Invalid, NotFound, Problem

Json = dict[str, Any]
Kind = Literal["number", "category", "boolean", "date", "image", "text", "sequence", "identifier"]
SECTION = "ndl:dataset"
EPOCH = date(1970, 1, 1)


def _bound(value: object) -> float | date | None:
    if value is None or (isinstance(value, float | int) and not isinstance(value, bool)):
        return None if value is None else float(value)
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)) if isinstance(value, str) else _refuse_bound()
    except ValueError:
        _refuse_bound()


def _refuse_bound() -> NoReturn:
    raise PydanticCustomError("bound", "should be a number, or a date written YYYY-MM-DD")


Bound = Annotated[float | date | None, PlainValidator(_bound)]
NonBlank = Annotated[str, Field(min_length=1, pattern=r"\S")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Part):
    """One column: its kind, its public bounds or categories, and how it may be used.

    `scale`: on "log", models read a number by its order of magnitude above the minimum, as suits money;
    a target is always on the linear scale.
    """

    kind: Kind
    title: str = ""
    description: str = ""
    minimum: Bound = None
    maximum: Bound = None
    scale: Literal["linear", "log"] = "linear"
    categories: tuple[str, ...] = ()
    open: bool = False
    missing: bool = False
    sensitive: bool = False
    feature: bool = True
    shape: tuple[Annotated[int, Field(ge=1)], ...] = ()
    length: Annotated[int, Field(ge=1, le=65536)] | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Minimum and maximum as floats; dates count days since 1970. Raises ValueError without bounds."""
        return _as_float(self.minimum), _as_float(self.maximum)

    @property
    def size(self) -> int:
        """How many values one record holds: product of an image's shape, a sequence's length, else 1."""
        if self.kind == "sequence":
            return self.length or 0
        product = 1
        for side in self.shape:
            product *= side
        return product


class Task(_Part):
    """One question asked of the data. `features` None means every column that may be one."""

    kind: Literal["binary", "multiclass", "regression"]
    target: str
    question: NonBlank
    features: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None


class SlotWish(_Part):
    """`count` runs of a standard step: DP-SGD, or with the defaults one Gaussian release."""

    name: NonBlank
    count: Annotated[int, Field(ge=1, le=100_000)]
    noise_multiplier: Positive
    sampling_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 1


class Guarantee(_Part):
    """An (epsilon, delta) budget; add/remove-one adjacency.

    With `slots`, what may be run is fixed in advance (a plan of slots); without, a filter decides.
    """

    epsilon: Positive
    delta: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    slots: tuple[SlotWish, ...] = ()


class Budget(_Part):
    """What the custodian allows: for training, and for evaluating one held-out wave."""

    training: Guarantee
    held_out: Guarantee


class Custodian(_Part):
    name: NonBlank
    contact: NonBlank


class TrainingSource(_Part):
    """The file that is split once: a training side, and a held-out side that becomes the first wave."""

    file: str
    wave: Name
    day: date
    held_out_share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class WaveSource(_Part):
    """A later wave bundled with the dataset."""

    name: Name
    day: date
    file: str


class Card(_Part):
    """A dataset as its custodian describes it: the `ndl:dataset` section, with its document beside it."""

    name: Identifier
    population: Identifier
    unit: str
    unit_means: NonBlank
    recurs: bool = False
    max_rows_per_unit: Annotated[int, Field(ge=1)] = 1
    custodian: Custodian
    licence: NonBlank
    attribution: NonBlank
    synthetic: bool = False
    site: str | None = None
    weight: str | None = None
    label_delay_days: Annotated[int, Field(ge=0)] = 0
    purposes: Annotated[tuple[NonBlank, ...], Field(min_length=1)]
    forbidden: tuple[str, ...] = ()
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    training: TrainingSource
    waves: tuple[WaveSource, ...] = ()
    budget: Budget
    _document: Json = PrivateAttr(default_factory=dict)

    @classmethod
    def from_json(cls, document: Json) -> Card:
        """The card of this JSON-LD document; raises Invalid with every problem."""
        from sandbox.catalogue.parsing import parse

        card = parse(document)
        card._document = document
        return card

    @property
    def document(self) -> Json:
        """The whole JSON-LD document."""
        return self._document

    @property
    def title(self) -> str:
        return str(self._document.get("name") or self.name)

    @property
    def description(self) -> str:
        return str(self._document.get("description") or "")

    @cached_property
    def digest(self) -> str:
        """sha256 of the document as canonical JSON."""
        text = json.dumps(self._document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def groups(self) -> tuple[str, ...]:
        """Columns used for subgroups: the sensitive ones and the site, where they have categories."""
        return tuple(
            name
            for name, column in self.columns.items()
            if (column.sensitive or name == self.site) and column.kind in ("category", "boolean")
        )

    def task(self, name: str) -> Task:
        """Raises NotFound."""
        if name not in self.tasks:
            raise NotFound(f"task of {self.name}", name, self.tasks)
        return self.tasks[name]

    def features(self, task: str) -> tuple[str, ...]:
        """The columns a model of this task receives, in the card's order.

        Where the task names none: every feature column but targets (of any task: they are outcomes),
        forbidden columns, identifiers, the unit and the weight.
        """
        named = self.task(task).features
        if named is not None:
            return tuple(name for name in self.columns if name in named)
        barred = {t.target for t in self.tasks.values()} | {*self.forbidden, self.unit, self.weight}
        return tuple(
            name
            for name, column in self.columns.items()
            if column.feature and column.kind != "identifier" and name not in barred
        )

    def classes(self, task: str) -> tuple[str, ...]:
        """The classes of a task in the order of a model's outputs; empty for regression."""
        wanted = self.task(task)
        target = self.columns[wanted.target]
        if wanted.kind == "regression":
            return ()
        return wanted.classes or (("false", "true") if target.kind == "boolean" else target.categories)


def load_card(path: Path) -> Card:
    """The card in this folder or file; raises NotFound, or Invalid with every problem."""
    file = path / "card.json" if path.is_dir() else path
    if not file.is_file():
        raise NotFound("dataset card", str(file))
    return Card.from_json(read_document(file))


def read_document(file: Path) -> Json:
    """The JSON object in a file; raises Invalid when it is none or writes a key twice."""
    repeated: list[str] = []

    def once(pairs: Sequence[tuple[str, Any]]) -> Json:
        names = [name for name, _ in pairs]
        repeated.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    try:
        document = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        at = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise _invalid(file, [Problem("file", f"not JSON{at}", "Mend that line.")]) from None
    if not isinstance(document, dict):
        raise _invalid(file, [Problem("file", "not a JSON object", "Start it with {.")])
    if repeated:
        what = "written twice in the same object"
        raise _invalid(file, [Problem(name, what, "Keep one of them.") for name in repeated])
    return document


def _invalid(file: Path, problems: Iterable[Problem]) -> Invalid:
    return Invalid(f"The dataset card {file}", problems)


def _as_float(bound: float | date | None) -> float:
    if bound is None:
        raise ValueError("this column has no bounds")
    return float((bound - EPOCH).days) if isinstance(bound, date) else bound
