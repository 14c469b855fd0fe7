"""How can an input be worse than it was? Missing, noisy within its public bounds, or another category.

Encoded records are changed, one column at a time, as the encoding would write the change. What is missing is the
middle of a number's range (with its indicator, where the card foresees that it may be missing), the code of a
missing category, an empty image, sequence or text. Noise is normal, with a standard deviation of NOISE of the public
range, and stays within it. A category becomes any other that the card lists, a boolean the other one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.catalogue.encoding import FIRST_LISTED, MISSING, Encoding

Array = NDArray[Any]
NOISE = 0.05
_KINDS = {
    "number": ("missing", "noise"), "date": ("missing", "noise"), "image": ("missing", "noise"),
    "sequence": ("missing", "noise"), "text": ("missing",), "boolean": ("missing", "swap"),
    "category": ("missing", "swap"),
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One way in which one column may be worse."""

    kind: str
    column: str

    @property
    def label(self) -> str:
        return f"{self.kind} {self.column}"


def changes(encoding: Encoding) -> tuple[Change, ...]:
    """Every change of every column that the model is given, column by column."""
    columns = encoding.card.columns
    return tuple(
        Change(kind, name) for name in encoding.feature_columns for kind in _KINDS[columns[name].kind]
    )


def present(features: Mapping[str, Array], encoding: Encoding, column: str) -> Array:
    """Of which records the column is there: only what is there can be made worse."""
    if column in encoding.category_names:
        return np.asarray(_codes(features, encoding, column) != MISSING)
    indicator = f"{column} is missing"
    if indicator in encoding.number_names:
        return np.asarray(features["numbers"][:, encoding.number_names.index(indicator)] < 0.5)
    return np.ones(len(next(iter(features.values()))), bool)


def changed(
    features: Mapping[str, Array], encoding: Encoding, change: Change, rng: np.random.Generator
) -> dict[str, Array]:
    """The same records with this change; arrays that it does not touch are shared."""
    name, made = change.column, dict(features)
    if name in encoding.category_names:
        at, codes = encoding.category_names.index(name), _codes(features, encoding, name)
        made["categories"] = features["categories"].copy()
        made["categories"][:, at] = (
            MISSING if change.kind == "missing" else _another(codes, encoding, name, rng)
        )
        return made
    if name in features:  # an image, a sequence or a text
        made[name] = np.zeros_like(features[name])
        if change.kind == "noise":
            low = 0.0 if encoding.card.columns[name].kind == "image" else -1.0
            made[name] = _noisy(features[name], low, rng)
    else:
        at, numbers = encoding.number_names.index(name), features["numbers"].copy()
        was = numbers[:, at]
        numbers[:, at] = {"missing": was * 0, "swap": -was}.get(change.kind, was)
        if change.kind == "noise":
            numbers[:, at] = _noisy(was, -1.0, rng)
        made["numbers"] = numbers
    indicator = f"{name} is missing"
    if change.kind == "missing" and indicator in encoding.number_names:
        made["numbers"] = made["numbers"].copy()
        made["numbers"][:, encoding.number_names.index(indicator)] = 1
    return made


def _codes(features: Mapping[str, Array], encoding: Encoding, column: str) -> Array:
    return np.asarray(features["categories"][:, encoding.category_names.index(column)])


def _another(codes: Array, encoding: Encoding, column: str, rng: np.random.Generator) -> Array:
    listed = len(encoding.card.columns[column].categories)
    steps = rng.integers(1, max(listed, 2), len(codes))
    moved = FIRST_LISTED + (codes - FIRST_LISTED + steps) % listed
    return np.asarray(np.where(codes >= FIRST_LISTED, moved, FIRST_LISTED + steps % listed))


def _noisy(values: Array, low: float, rng: np.random.Generator) -> Array:
    noise = rng.normal(0, NOISE * (1 - low), values.shape)
    return np.asarray(np.clip(values + noise, low, 1), values.dtype)
