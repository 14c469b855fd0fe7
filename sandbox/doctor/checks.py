"""Looks at each part a running sandbox stands on, and says how to mend what is not fit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sandbox.doctor.check import Check
from sandbox.doctor.database import database
from sandbox.doctor.engine import engine
from sandbox.doctor.walls import walls
from sandbox.errors import NDLError
from sandbox.settings import Settings


def examine(settings: Settings) -> Iterator[Check]:
    """Every check in reading order; a check that cannot be made is a part that is not fit."""
    parts: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("Python", lambda: [_python()]),
        ("libraries", lambda: [_libraries()]),
        ("folder", lambda: [_folder(settings.storage.folder)]),
        ("database", lambda: [database(settings)]),
        ("engine", lambda: [engine(settings)]),
        ("MLflow", lambda: [_mlflow(settings)]),
        ("isolation", lambda: walls(settings.isolation)),
        ("chromium (browser tests)", lambda: [_chromium()]),
    )
    for name, checks in parts:
        try:
            yield from checks()
        except (OSError, NDLError, subprocess.SubprocessError) as error:
            yield Check(
                name, False, f"could not be checked: {type(error).__name__}", "Mend it and ask again."
            )


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= (3, 11), found, "Install Python 3.11 or newer.")


def _libraries() -> Check:
    names = ("torch", "opacus", "mlflow", "streamlit", "scikit-learn", "dp-accounting", "opendp", "dbos")
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    words = f"missing: {', '.join(missing)}" if missing else ", ".join(found)
    return Check("libraries", not missing, words, "Run `make install`.")


def _folder(folder: Path) -> Check:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    writable = os.access(place, os.W_OK)
    found = f"{folder}: {'writable' if writable else 'not writable'}, {free_gb:.0f} GB free"
    return Check(
        "folder", writable and free_gb > 2, found, "Choose a storage.folder with 2 GB free that you own."
    )


def _mlflow(settings: Settings) -> Check:
    import sqlalchemy as sa

    url = settings.mlflow_url
    if not settings.storage.mlflow and not (settings.storage.folder / "mlflow.db").exists():
        return Check("MLflow", True, "SQLite; made by the first training")
    try:
        with sa.create_engine(url).connect() as connection:
            there = sa.inspect(connection).has_table("registered_models")
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        found = f"registry: {type(error).__name__}"
        return Check("MLflow", False, found, "Check storage.mlflow, and that the server runs.")
    return Check(
        "MLflow", there, "registry " + ("answers" if there else "has no tables"), "Train a model first."
    )


def _chromium() -> Check:
    path = shutil.which("chromium")
    mend = "apt-get install chromium; without it `make test` skips the browser tests."
    return Check("chromium (browser tests)", path is not None, path or "not installed", mend, needed=False)
