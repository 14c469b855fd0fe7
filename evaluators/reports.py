"""Where do the reports lie that overseers had made to look closer? Files inside, a folder for each model version."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox.settings import Settings

_PART = re.compile(r"[a-z0-9][a-z0-9._-]*")


def report_file(settings: Settings, model_version: str, wave_name: str) -> Path:
    """The place of the report of a model version on a wave, whether it is there or not.

    Raises ValueError for names that no model or wave can have, such as one with a step out of the folder.
    """
    parts = [*model_version.split("/"), wave_name]
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError("this names no model version and wave")
    return settings.storage.folder.absolute().joinpath("reports", *parts[:2], f"{wave_name}.html")


def reported(settings: Settings, model_version: str) -> list[str]:
    """The waves of which there is a report of this model version, by name."""
    folder = report_file(settings, model_version, "any").parent
    return sorted(file.stem for file in folder.glob("*.html"))
