"""Which models do people get without writing code, and with which settings?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.errors import Problem
from sandbox.records import Json
from sandbox.settings import problems_of

if TYPE_CHECKING:
    from torch import nn

    from sandbox.catalogue.inputs import Inputs


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bins: int = Field(default=8, ge=1, le=64)


class Logistic(_Settings):
    """One weight for each category, and for each of `bins` equal parts of a number's public range (1: as it is)."""


class Mlp(_Settings):
    """The same inputs, and layers of `hidden` widths above them."""

    hidden: list[int] = Field(default=[64, 32], min_length=1, max_length=4)


SETTINGS: dict[str, type[_Settings]] = {"logistic": Logistic, "mlp": Mlp}
MAX_WIDTH = 512


def problems_of_settings(recipe: str, settings: Json) -> list[Problem]:
    """What is wrong with the `[model]` settings of a known recipe."""
    try:
        checked = SETTINGS[recipe].model_validate(settings)
    except ValidationError as error:
        return problems_of(error)
    widths = checked.hidden if isinstance(checked, Mlp) else []
    if all(1 <= width <= MAX_WIDTH for width in widths):
        return []
    return [Problem("hidden", "a layer is too narrow or too wide", f"Use widths from 1 to {MAX_WIDTH}.")]


def complete(recipe: str, settings: Json) -> Json:
    """The settings with every default written out, so that a registered model never depends on ours."""
    return SETTINGS[recipe].model_validate(settings).model_dump()


def build(recipe: str, settings: Json, inputs: Inputs) -> nn.Module:
    """An untrained module for these inputs. Settings are those of `complete`."""
    from sandbox.submissions import layers

    chosen = SETTINGS[recipe].model_validate(settings)
    hidden = chosen.hidden if isinstance(chosen, Mlp) else []
    return layers.Tabular(inputs, chosen.bins, hidden)
