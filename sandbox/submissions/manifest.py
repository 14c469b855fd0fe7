"""What does a developer ask for? `submission.toml`, read strictly: every problem is listed at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from sandbox.errors import Invalid, Problem
from sandbox.records import Json
from sandbox.settings import problems_of
from sandbox.submissions import files, recipes

MANIFEST = "submission.toml"
CODE = "model.py"

_TODO = {
    "name": "Use a to z, 0 to 9 and hyphens, such as formal-outcome.",
    "privacy.epsilon": "Ask for an epsilon above 0 and at most 20; 1 is a good start.",
    "public.contact": "Give an email address or a https:// address that a member of the public may use.",
}


def _plain(text: str) -> str:
    if any(not c.isprintable() for c in text.replace("\n", " ")):
        raise PydanticCustomError("control_characters", "has control or direction characters")
    if sum(c.isalpha() for c in text) < 3:
        raise PydanticCustomError("no_words", "says nothing yet; write it for a member of the public")
    return text


def _reachable(text: str) -> str:
    name, at, host = text.partition("@")
    if text.startswith("https://") or (at and name and "." in host and " " not in text):
        return text
    raise PydanticCustomError("contact", "is neither an email address nor a https:// address")


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$")]
Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=800), AfterValidator(_plain)
]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=90), AfterValidator(_plain)
]
Contact = Annotated[Words, AfterValidator(_reachable)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Privacy(_Part):
    """`epsilon` is what the developer asks for; what was spent is computed from what ran."""

    epsilon: float = Field(gt=0, le=20)


class Wishes(_Part):
    """Training settings. Those left out are chosen from the data's size, the inputs and epsilon alone."""

    epochs: float | None = Field(default=None, gt=0, le=1000)
    batch_size: int | None = Field(default=None, ge=1, le=1_000_000)
    learning_rate: float | None = Field(default=None, gt=0, le=100)
    clip: float | None = Field(default=None, gt=0, le=1000)


class Public(_Part):
    """The human words of the public page; software can fill in none of them."""

    title: Title
    summary: Words
    used_for: Words
    human_decides: Words
    organisation: Words
    responsible: Words
    contact: Contact
    question_a_decision: Words


class Manifest(_Part):
    """A `submission.toml` that means something. Whether its dataset and task exist is asked at intake."""

    name: Name
    dataset: str = Field(min_length=1, max_length=100)
    task: str = Field(min_length=1, max_length=100)
    purpose: str = Field(min_length=1, max_length=200)
    recipe: str | None = None
    privacy: Privacy
    training: Wishes = Wishes()
    model: Json = {}
    public: Public


def load_manifest(folder: Path) -> Manifest:
    """Reads the submission in `folder`; raises Invalid naming every problem."""
    return parse_manifest(files.read(folder), str(folder))


def parse_manifest(contents: Mapping[str, bytes], subject: str = "submission") -> Manifest:
    """The manifest among a submission's files; raises Invalid naming every problem."""
    if MANIFEST not in contents:
        raise Invalid(
            subject, [Problem(MANIFEST, "missing", "A submission is a folder with this file in it.")]
        )
    try:
        values = tomllib.loads(contents[MANIFEST].decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(subject, [Problem(MANIFEST, f"not TOML: {error}", "Mend the line it names.")]) from None
    problems = _problems_of_recipe(values, has_code=CODE in contents)
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        problems = [_advised(p) for p in problems_of(error)] + problems
        raise Invalid(subject, problems) from None
    if problems:
        raise Invalid(subject, problems)
    return manifest


def _problems_of_recipe(values: dict[str, Any], *, has_code: bool) -> list[Problem]:
    recipe, settings = values.get("recipe"), values.get("model", {})
    if recipe is None and not has_code:
        return [Problem("recipe", f"there is neither a recipe nor a {CODE}", _choose())]
    if recipe is not None and has_code:
        return [Problem("recipe", f"there is a recipe and a {CODE}", "Keep one of the two.")]
    if recipe is None:
        what, todo = f"settings are for recipes, and this submission brings a {CODE}", "Remove [model]."
        return [Problem("model", what, todo)] if settings else []
    if not isinstance(recipe, str):
        return []  # the wrong type is named already
    if recipe not in recipes.RECIPES:
        return [Problem("recipe", f"no recipe is called {recipe!r}", _choose())]
    if not isinstance(settings, dict):
        return []
    return [
        Problem(f"model.{p.where}", p.what, p.todo) for p in recipes.problems_of_settings(recipe, settings)
    ]


def _choose() -> str:
    return f"Choose one of: {', '.join(recipes.RECIPES)}."


def _advised(problem: Problem) -> Problem:
    return Problem(problem.where, problem.what, problem.todo or _TODO.get(problem.where, ""))
