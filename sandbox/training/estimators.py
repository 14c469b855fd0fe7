"""How does one train a recipe privately from scikit-learn, on data of one's own?

Nothing here is learned from the data but the weights: what a scaler or encoder would be fitted for is
said beforehand, by a dataset card or by public bounds. Outside every ledger (see sandbox.training.fitting):
`epsilon_` and `delta_` are those of one fit, for adding or removing one unit. The door to scikit-learn:
import this inside functions, or in a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)  # fmt: skip

from sandbox.catalogue import vectors
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Refused
from sandbox.records import Json
from sandbox.submissions.manifest import Wishes
from sandbox.training import by_interpret, fitting
from sandbox.training.fitting import Arrays, Asked

if TYPE_CHECKING:
    from sandbox.catalogue.card import Card

Records = Any
"""A two-dimensional array of numbers; with a card, a pandas or Arrow table with the card's columns."""


class _Private(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The parameters of both estimators.

    `recipe`, `settings`: which model, as in `submission.toml`. `schema`: a dataset card, and `task` which of
    its tasks; without a card, X is an array of numbers and `bounds` are their public (low, high), one pair
    for all columns or a pair of lists. `epsilon`, `delta`: what may be spent (delta at most units^-1.1).
    `max_rows_per_unit`: how many rows of one unit count; None for the card's, or 1.
    `training`: epochs, batch_size, learning_rate or clip, where the chosen ones are not wanted.
    There is no seed: whoever knew it could take the noise away.
    """

    def __init__(
        self,
        recipe: str = "gam",
        *,
        schema: Card | None = None,
        task: str | None = None,
        bounds: tuple[Any, Any] = (-1.0, 1.0),
        epsilon: float = 1.0,
        delta: float = 1e-5,
        max_rows_per_unit: int | None = None,
        settings: Json | None = None,
        training: Json | None = None,
    ) -> None:
        self.recipe = recipe
        self.schema = schema
        self.task = task
        self.bounds = bounds
        self.epsilon = epsilon
        self.delta = delta
        self.max_rows_per_unit = max_rows_per_unit
        self.settings = settings
        self.training = training

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.input_tags.allow_nan = False
        return tags

    def _learn(self, records: Records, features: Arrays, inputs: Inputs, target: Any, groups: Any) -> None:
        units = self._units(records, len(target)) if groups is None else np.asarray(groups)
        check_consistent_length(target, units)
        most = self.max_rows_per_unit or (1 if self.schema is None else self.schema.max_rows_per_unit)
        wishes = Wishes.model_validate(self.training or {})
        asked = Asked(self.recipe, self.settings or {}, self.epsilon, self.delta, wishes, most)
        self.fitted_ = fitting.fit(asked, inputs, features, target, units)
        self.epsilon_, self.delta_ = self.fitted_.epsilon, self.fitted_.plan.delta

    def _units(self, records: Records, rows: int) -> NDArray[Any]:
        """Whose each row is: by the card's unit column where it is there, else every row is a unit."""
        if self.schema is None:
            return np.arange(rows)
        return self._encoding().units(records)

    def _encoding(self) -> Encoding:
        if self.schema is None or self.task is None:
            raise ValueError("A schema needs a task: name one of the card's.")
        return Encoding(self.schema, self.task)

    def _features(self, records: Records, fitting_now: bool = False) -> Arrays:
        if self.schema is not None:
            return self._encoding().features(records)
        X = validate_data(self, records, reset=fitting_now, dtype=np.float64)
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), X.shape[1:]) for bound in self.bounds)
        if not (low < high).all() or not np.isfinite([low, high]).all():
            raise ValueError("bounds must be finite numbers, each low below its high.")
        return {"numbers": vectors.scaled(X, low, high).astype(np.float32)}

    def _shown(self) -> list[by_interpret.Shown]:
        """The columns of a fitted `ebm`."""
        check_is_fitted(self, "fitted_")
        terms = self.fitted_.plan.terms
        if not terms:
            raise Refused(f"interpret can show ebm, and this is {self.recipe}.")
        (weight,) = (weight for weight in self.fitted_.graph.weights if weight.trainable)
        table = self.fitted_.graph.values[weight.name].reshape(-1).astype(np.float64)
        tables = np.split(table, np.cumsum(terms)[:-1])
        if self.schema is not None:
            return by_interpret.of_card(self._encoding(), tables)
        names = getattr(self, "feature_names_in_", [f"x{at}" for at in range(len(terms))])
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), len(terms)) for bound in self.bounds)
        return [
            by_interpret.of_number(str(name), (float(a), float(b)), "linear", one)
            for name, a, b, one in zip(names, low, high, tables, strict=True)
        ]

    def _answers(self, records: Records) -> NDArray[np.float32]:
        check_is_fitted(self, "fitted_")
        return self.fitted_.answers(self._features(records))


class PrivateClassifier(ClassifierMixin, _Private):  # type: ignore[misc]
    """A recipe for yes-or-no and multi-class questions.

    `classes_` are the card's; without a card the labels that occur, which are then treated as public.
    """

    def fit(self, X: Records, y: Any, groups: Any = None) -> PrivateClassifier:
        """Learns with (epsilon, delta)-DP. `groups` says whose each row is, where the card's unit does not."""
        _must_be_given(y)
        features = self._features(X, fitting_now=True)
        if self.schema is not None:
            encoding = self._encoding()
            target, inputs = encoding.target(_column(encoding, y)), encoding.inputs
            boolean = encoding.card.columns[encoding.task.target].kind == "boolean"
            self.classes_ = np.array([False, True]) if boolean else np.array(encoding.classes)
        else:
            y = column_or_1d(y, warn=True)
            check_consistent_length(features["numbers"], y)
            check_classification_targets(y)
            self.classes_, target = np.unique(y, return_inverse=True)
            several = len(self.classes_)
            if several < 2:
                raise ValueError(
                    "There is one class only; a classifier needs records of two or more classes."
                )
            kind = "binary" if several == 2 else "multiclass"
            inputs = Inputs(kind, 1 if several == 2 else several, numbers=features["numbers"].shape[1])
        self._learn(X, features, inputs, target.astype(np.int64), groups)
        return self

    def predict_proba(self, X: Records) -> NDArray[np.float64]:
        """[records, classes] in the order of `classes_`."""
        logits = self._answers(X).astype(np.float64)
        if len(self.classes_) == 2 and logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], 1)
        raised = np.exp(logits - logits.max(1, keepdims=True))
        shares: NDArray[np.float64] = raised / raised.sum(1, keepdims=True)
        return shares

    def as_interpret(self) -> Any:
        """A fitted `ebm` as interpret's own model, for its charts: `model.as_interpret().explain_global()`.

        It takes a card's columns by name: dates as days since 1970, booleans as 0 or 1. Raises Refused unless the
        extra `ebm` is installed.
        """
        return by_interpret.classifier(self._shown(), self.classes_)

    def predict(self, X: Records) -> NDArray[Any]:
        """The likeliest class of each record."""
        likeliest: NDArray[Any] = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[likeliest])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on the few records of scikit-learn's checks
        return tags


class PrivateRegressor(RegressorMixin, _Private):  # type: ignore[misc]
    """A recipe for numbers. Without a card, `target_bounds` are the target's public (low, high); beyond is cut."""

    def __init__(
        self,
        recipe: str = "gam",
        *,
        schema: Card | None = None,
        task: str | None = None,
        bounds: tuple[Any, Any] = (-1.0, 1.0),
        target_bounds: tuple[float, float] = (-1.0, 1.0),
        epsilon: float = 1.0,
        delta: float = 1e-5,
        max_rows_per_unit: int | None = None,
        settings: Json | None = None,
        training: Json | None = None,
    ) -> None:
        super().__init__(
            recipe, schema=schema, task=task, bounds=bounds, epsilon=epsilon, delta=delta,
            max_rows_per_unit=max_rows_per_unit, settings=settings, training=training,
        )  # fmt: skip
        self.target_bounds = target_bounds

    def fit(self, X: Records, y: Any, groups: Any = None) -> PrivateRegressor:
        """Learns with (epsilon, delta)-DP. `groups` says whose each row is, where the card's unit does not."""
        _must_be_given(y)
        features = self._features(X, fitting_now=True)
        if self.schema is not None:
            encoding = self._encoding()
            target, inputs = encoding.target(_column(encoding, y)), encoding.inputs
        else:
            y = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"), warn=True)
            check_consistent_length(features["numbers"], y)
            target = vectors.scaled(y, *self.target_bounds).astype(np.float32)
            inputs = Inputs("regression", 1, numbers=features["numbers"].shape[1])
        self._learn(X, features, inputs, target, groups)
        return self

    def as_interpret(self) -> Any:
        """As that of `PrivateClassifier`; its numbers are on the target's own scale."""
        bounds = self.target_bounds
        if self.schema is not None:
            bounds = self.schema.columns[self._encoding().task.target].bounds
        return by_interpret.regressor(self._shown(), bounds)

    def predict(self, X: Records) -> NDArray[np.float64]:
        """One number a record, on the target's own scale."""
        answers = self._answers(X)[:, 0]
        if self.schema is not None:
            return self._encoding().target_values(answers)
        return vectors.unscaled(answers, *self.target_bounds)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # on the few records of scikit-learn's checks
        return tags


def _must_be_given(y: Any) -> None:
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")


def _column(encoding: Encoding, y: Any) -> pa.Table:
    """The answers as the card's target column."""
    values = y if isinstance(y, pa.Array | pa.ChunkedArray) else pa.array(y, from_pandas=True)
    return pa.table({encoding.task.target: values})
