"""How is MLflow opened? Here only, safely and quietly: no telemetry, no pickles, no chatter."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandbox.loading import loading
from sandbox.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SAFE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What every process that opens MLflow has in its environment."""

_CHATTY = ("alembic", "mlflow.store.db.utils", "mlflow.tracking", "mlflow.utils")


def client(settings: Settings) -> MlflowClient:
    """A client of the registry that the settings name; the first call of a process imports MLflow."""
    os.environ.update(SAFE)
    folder = settings.storage.folder
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        with loading():
            from mlflow.tracking import MlflowClient

        opened = MlflowClient(settings.mlflow_url, settings.mlflow_url)
        opened.search_experiments(max_results=1)  # migrates a new store, with what it says about that
    return opened


def artifacts(settings: Settings) -> str:
    """Where models' files are kept, as a location MLflow understands."""
    return (settings.storage.folder.absolute() / "artifacts").as_uri()


@contextmanager
def quiet() -> Iterator[None]:
    """Only warnings and worse from MLflow and its migrations."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    yield
