"""What the tests of bundled data share: the folders, and a rebuild script as a module."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DATASETS = Path(__file__).parents[3] / "configs" / "datasets"


@pytest.fixture
def datasets() -> Path:
    return DATASETS


@pytest.fixture
def script():
    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"rebuild_{name}", DATASETS / name / "rebuild.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
