"""Which models do people get without writing code, for which records and questions, and with which settings?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.errors import Invalid, Problem
from sandbox.records import Json
from sandbox.settings import problems_of

if TYPE_CHECKING:
    from torch import nn

    from sandbox.catalogue.inputs import Inputs

_ALL = ("binary", "multiclass", "regression")
MAX_WIDTH = 512


class Recipe(BaseModel):
    """The `[model]` settings of a recipe, and what it makes of them; `kinds` are the tasks it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    kinds: ClassVar[tuple[str, ...]] = _ALL

    def problems(self) -> list[Problem]:
        """What is wrong with the settings that their types do not show."""
        return []

    @classmethod
    def misfit(cls, inputs: Inputs) -> str:
        """Why these records are not for this recipe; or nothing."""
        return ""

    def build(self, inputs: Inputs) -> nn.Module:
        raise NotImplementedError


class Gam(Recipe):
    """A curve for each number, over `bins` parts of its public range; a weight for each category."""

    bins: int = Field(default=8, ge=3, le=64)

    def build(self, inputs: Inputs) -> nn.Module:
        from sandbox.submissions import layers_additive

        return layers_additive.Additive(inputs, self.bins)


class _Binned(Recipe):
    bins: int = Field(default=8, ge=1, le=64)


class _Line(_Binned):
    def build(self, inputs: Inputs) -> nn.Module:
        from sandbox.submissions import layers

        return layers.Tabular(inputs, layers.Bins(self.bins))


class Logistic(_Line):
    """One weight for each category, and for each of `bins` equal parts of a number's public range (1: as it is)."""

    kinds = ("binary", "multiclass")


class Linear(_Line):
    """As `logistic`, for regressions: the weights add up to the answer."""

    kinds = ("regression",)


class Mlp(_Binned):
    """The same inputs, and layers of `hidden` widths beside the line."""

    hidden: list[int] = Field(default=[64, 32], min_length=1, max_length=4)

    def problems(self) -> list[Problem]:
        if all(1 <= width <= MAX_WIDTH for width in self.hidden):
            return []
        return [Problem("hidden", "a layer is too narrow or too wide", f"Use widths from 1 to {MAX_WIDTH}.")]

    def build(self, inputs: Inputs) -> nn.Module:
        from sandbox.submissions import layers

        return layers.Tabular(inputs, layers.Bins(self.bins), self.hidden)


class Cnn(Recipe):
    """Each image through two convolutions of `channels`; the record's other columns by a line beside it."""

    channels: int = Field(default=16, ge=4, le=128, multiple_of=4)

    @classmethod
    def misfit(cls, inputs: Inputs) -> str:
        images = [shape for shape in inputs.arrays.values() if len(shape) > 1]
        if not images:
            return "needs an image, and these records have none"
        return "" if all(min(shape[-2:]) > 1 for shape in images) else "needs images of at least 2 by 2"

    def build(self, inputs: Inputs) -> nn.Module:
        from sandbox.submissions import layers_deep

        return layers_deep.Cnn(inputs, self.channels)


class TabularTransformer(_Binned):
    """A token of `width` for each column (a number: for its bin), and attention among them, beside a line."""

    width: int = Field(default=16, ge=4, le=64, multiple_of=2)

    @classmethod
    def misfit(cls, inputs: Inputs) -> str:
        return _only_columns(inputs)

    def build(self, inputs: Inputs) -> nn.Module:
        from sandbox.submissions import layers_deep

        return layers_deep.TabularTransformer(inputs, self.bins, self.width)


class Ebm(Recipe):
    """DP-EBM: tables of `bins` parts of a number's range, moved by up to `leaves` pieces at a time."""

    kinds = ("binary", "regression")
    bins: int = Field(default=64, ge=2, le=256)
    leaves: int = Field(default=3, ge=2, le=16)

    @classmethod
    def misfit(cls, inputs: Inputs) -> str:
        return _only_columns(inputs)

    def terms(self, inputs: Inputs) -> list[int]:
        """How many bins each column has."""
        return [self.bins] * inputs.numbers + list(inputs.categories)

    def build(self, inputs: Inputs) -> nn.Module:
        from sandbox.submissions import layers_additive

        return layers_additive.Tables(self.terms(inputs), inputs.numbers)


RECIPES: dict[str, type[Recipe]] = {
    "gam": Gam,
    "mlp": Mlp,
    "logistic": Logistic,
    "linear": Linear,
    "cnn": Cnn,
    "tabular-transformer": TabularTransformer,
    "ebm": Ebm,
}
"""The first is what we recommend for tables."""


def problems_of_settings(recipe: str, settings: Json) -> list[Problem]:
    """What is wrong with the `[model]` settings of a known recipe."""
    try:
        return RECIPES[recipe].model_validate(settings).problems()
    except ValidationError as error:
        return problems_of(error)


def problems_with_task(recipe: str, inputs: Inputs) -> list[Problem]:
    """Why a known recipe cannot answer this kind of task, or cannot read these records."""
    why = _wrong_kind(recipe, inputs.kind) or RECIPES[recipe].misfit(inputs)
    if not why:
        return []
    others = [
        name for name, other in RECIPES.items() if inputs.kind in other.kinds and not other.misfit(inputs)
    ]
    return [Problem("recipe", f"{recipe} {why}", f"Use one of: {', '.join(others)}.")]


def complete(recipe: str, settings: Json) -> Json:
    """The settings with every default written out, so that a registered model never depends on ours."""
    return RECIPES[recipe].model_validate(settings).model_dump()


def build(recipe: str, settings: Json, inputs: Inputs) -> nn.Module:
    """An untrained module for these inputs; raises Invalid when the recipe is not for them.

    Settings are those of `complete`.
    """
    if problems := problems_with_task(recipe, inputs):
        raise Invalid("This recipe", problems)
    return RECIPES[recipe].model_validate(settings).build(inputs)


def _wrong_kind(recipe: str, kind: str) -> str:
    kinds = RECIPES[recipe].kinds
    return "" if kind in kinds else f"answers {' and '.join(kinds)} tasks, and this one is {kind}"


def _only_columns(inputs: Inputs) -> str:
    if inputs.arrays or inputs.texts:
        return "reads numbers and categories only, and these records have images, sequences or texts"
    return ""
