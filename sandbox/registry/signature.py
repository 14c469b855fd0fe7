"""Which columns does a model expect, in MLflow's words? From the card, never from example rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.catalogue.card import Column
from sandbox.catalogue.encoding import Encoding

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec


def signature_of(encoding: Encoding) -> ModelSignature:
    """One entry for each feature column; columns are all needed, values may be missing."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema

    columns = encoding.card.columns
    inputs = [_spec(name, columns[name]) for name in encoding.feature_columns]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([_output(encoding)]))


def _spec(name: str, column: Column) -> ColSpec:
    from mlflow.types.schema import AnyType, ColSpec, DataType

    if column.kind == "number":
        return ColSpec(DataType.double, name)
    if column.kind == "text" or (column.kind == "category" and not column.missing):
        return ColSpec(DataType.string, name)
    # A missing value turns a pandas column into another type; our own encoding checks the rest.
    return ColSpec(AnyType(), name)


def _output(encoding: Encoding) -> ColSpec:
    from mlflow.types.schema import Array, ColSpec, DataType

    if encoding.task.kind == "multiclass":
        return ColSpec(Array(DataType.float), "probabilities")
    return ColSpec(DataType.float, "probability" if encoding.task.kind == "binary" else encoding.task.target)
