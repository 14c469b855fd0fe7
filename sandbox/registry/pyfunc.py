"""How does MLflow load one of our models? It calls this; no code travels with a model.

`mlflow.pyfunc.load_model("models:/NAME@champion").predict(dataframe)` works wherever this package is
installed. The data frame has the card's columns; others are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sandbox.registry import artifact

if TYPE_CHECKING:
    import pandas

    from sandbox.registry.artifact import Scorer

LOADER = __name__


class Predictor:
    """What MLflow holds on to."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def predict(self, table: pandas.DataFrame, params: dict[str, Any] | None = None) -> NDArray[Any]:
        """Binary: the probability of yes; multiclass: one for each class; regression: the card's own scale.

        Raises Invalid when a column is absent or of a type that cannot be read.
        """
        encoding = self.scorer.encoding
        answer = self.scorer.probabilities(encoding.features(table))
        return encoding.target_values(answer) if encoding.task.kind == "regression" else answer


def _load_pyfunc(path: str) -> Predictor:
    return Predictor(artifact.read(Path(path)))
