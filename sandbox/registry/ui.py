"""How to start MLflow's own pages over our registry: read them, nobody signs in, loopback only."""

from __future__ import annotations

import os
import sys

from sandbox.registry.mlflow_door import SAFE
from sandbox.settings import Settings


def ui_command(settings: Settings, port: int) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of MLflow's server, with telemetry and job runner off."""
    arguments = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    arguments += ["--backend-store-uri", settings.mlflow_url, "--no-serve-artifacts"]
    arguments += ["--default-artifact-root", str(settings.storage.folder.absolute() / "artifacts")]
    arguments += ["--host", settings.serving.host, "--port", str(port)]
    return arguments, {**os.environ, **SAFE}
