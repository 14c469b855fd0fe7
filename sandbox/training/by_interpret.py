"""How does one look at an `ebm` with interpret? The tables of the record graph, laid into interpret's own model.

Nothing is learned here and no record is read. The door to interpret, which is the optional extra `ebm`: its model's
inside is set by name, so only the release that was tried is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sandbox.catalogue import vectors
from sandbox.catalogue.encoding import FIRST_LISTED, MISSING, UNKNOWN
from sandbox.errors import Refused

if TYPE_CHECKING:
    from sandbox.catalogue.encoding import Encoding

RELEASE = "0.7.8"
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A column as interpret has it. `bins` are the numbers at which a score ends, or words with their place from 1.

    `scores`: for a missing value, for each bin or word, and for what is neither number nor word.
    """

    name: str
    bins: Numbers | dict[str, int]
    bounds: tuple[float, float]
    scores: Numbers


def of_card(encoding: Encoding, tables: Sequence[Numbers]) -> list[Shown]:
    """The card's columns: numbers in their units (dates as days since 1970, booleans 0 or 1), categories as words."""
    named = dict(zip((*encoding.number_names, *encoding.category_names), tables, strict=True))
    found = []
    for name in encoding.feature_columns:
        column, table = encoding.card.columns[name], named[name]
        if column.kind == "category":
            words = {word: place for place, word in enumerate(column.categories, 1)}
            scores = np.concatenate([table[[MISSING]], table[FIRST_LISTED:], table[[UNKNOWN]]])
            found.append(Shown(name, words, (np.nan, np.nan), scores))
        else:
            bounds = (0.0, 1.0) if column.kind == "boolean" else column.bounds
            found.append(of_number(name, bounds, column.scale, table, named.get(f"{name} is missing")))
    return found


def of_number(
    name: str, bounds: tuple[float, float], scale: str, table: Numbers, indicator: Numbers | None = None
) -> Shown:
    """A number between public bounds; where it may be missing, its indicator's table is laid into its own."""
    middle = len(table) // 2  # where an encoded 0 lies
    there, missing = (0.0, 0.0) if indicator is None else (indicator[middle], indicator[-1])
    ends = 1 + np.flatnonzero(np.diff(table))
    scores = np.concatenate([[table[middle] + missing], table[np.append(0, ends)] + there, [0.0]])
    return Shown(name, _edges(ends, len(table), bounds, scale), bounds, scores)


def classifier(columns: Sequence[Shown], classes: NDArray[Any]) -> Any:
    """interpret's DPExplainableBoostingClassifier of a yes-or-no question. Raises Refused where it is not installed."""
    privacy = _opened()
    model = privacy.DPExplainableBoostingClassifier()
    model.classes_ = np.asarray(classes)
    return _filled(model, columns, np.zeros(1), "logit")


def regressor(columns: Sequence[Shown], bounds: tuple[float, float]) -> Any:
    """interpret's DPExplainableBoostingRegressor, on the target's own scale. Raises Refused like `classifier`."""
    privacy, half = _opened(), (bounds[1] - bounds[0]) / 2
    model = privacy.DPExplainableBoostingRegressor()
    model.min_target_, model.max_target_ = bounds
    own = [Shown(c.name, c.bins, c.bounds, c.scores * half) for c in columns]
    return _filled(model, own, bounds[0] + half, "identity")


def _opened() -> Any:
    """The door; interpret is not looked at before."""
    todo = "Install the extra: pip install 'ndl-sandbox[ebm]'"
    try:
        found = metadata.version("interpret-core")
    except metadata.PackageNotFoundError:
        raise Refused(f"Showing a model with interpret needs interpret-core {RELEASE}.\n{todo}") from None
    if found != RELEASE:
        raise Refused(f"This shows models with interpret-core {RELEASE}, and {found} is installed.\n{todo}")
    from interpret import privacy

    return privacy


def _filled(model: Any, columns: Sequence[Shown], intercept: Any, link: str) -> Any:
    terms, names = range(len(columns)), [column.name for column in columns]
    scores = [np.asarray(column.scores, np.float64) for column in columns]
    values = {
        "n_features_in_": len(columns),
        "feature_names_in_": names,
        "feature_types_in_": ["nominal" if isinstance(c.bins, dict) else "continuous" for c in columns],
        "feature_bounds_": np.array([column.bounds for column in columns], np.float64),
        "bins_": [[column.bins] for column in columns],
        "term_features_": [(at,) for at in terms],
        "term_names_": names,
        "term_scores_": scores,
        "bagged_scores_": [one[None] for one in scores],
        "standard_deviations_": [np.zeros_like(one) for one in scores],
        "bin_weights_": [_evenly(one) for one in scores],
        "intercept_": intercept,
        "bagged_intercept_": np.atleast_1d(intercept),
        "link_": link,
        "link_param_": np.nan,
        "has_fitted_": True,
    }
    for name, value in values.items():
        setattr(model, name, value)
    return model


def _evenly(scores: Numbers) -> Numbers:
    """Every bin weighs the same: how many people each holds is not in the graph."""
    weights = np.ones_like(scores)
    weights[[0, -1]] = 0.0
    return weights


def _edges(ends: NDArray[np.int64], size: int, bounds: tuple[float, float], scale: str) -> Numbers:
    """The least number, in its own unit, that the encoding puts into each of these bins; by bisection, to the bit."""
    low, high = (np.full(len(ends), bound, np.float64) for bound in bounds)
    for _ in range(80):
        middle = low + (high - low) / 2
        encoded = vectors.scaled(middle, *bounds, scale).astype(np.float32)
        reached = ((encoded + np.float32(1)) * np.float32(size / 2)).astype(np.int64) >= ends
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
