"""`ndl dataset` and `ndl wave`, as a person types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from sandbox.api import Sandbox
from sandbox.catalogue.cli import dataset, wave
from sandbox.errors import Invalid, Quarantined


@pytest.fixture
def ndl(box: Sandbox) -> Callable[..., Result]:
    def run(group: click.Group, *words: object) -> Result:
        box.console = Console(width=80)
        return CliRunner().invoke(group, [str(word) for word in words], obj=box)

    return run


@pytest.fixture
def place(section: dict[str, Any], folder: Callable[..., Path]) -> Path:
    return folder(section)


def test_a_custodian_checks_adds_and_lists(ndl: Callable[..., Result], place: Path) -> None:
    assert "sound (9 columns, 3 tasks, 1 later waves)" in ndl(dataset, "check", place).output
    assert "No dataset is here yet" in ndl(dataset, "list").output
    added = ndl(dataset, "add", place)
    assert added.exit_code == 0, added.exception
    assert "First wave first" in added.output
    assert "jobs" in ndl(dataset, "list").output


def test_a_card_is_shown_by_name_and_by_folder(ndl: Callable[..., Result], place: Path) -> None:
    by_folder = ndl(dataset, "show", place).output
    ndl(dataset, "add", place)
    by_name = ndl(dataset, "show", "jobs").output
    assert by_name == by_folder
    for words in ("16 to 120 or missing", "2 categories or a new one", "forbidden", "ε = 8", "one adult"):
        assert words in by_name
    assert max(map(len, by_name.splitlines())) <= 80


def test_a_wave_that_the_card_announces_needs_no_name_or_day(ndl: Callable[..., Result], place: Path) -> None:
    ndl(dataset, "add", place)
    assert (
        "jobs/second is accepted: 50 records of 50 units"
        in ndl(wave, "add", "jobs", place / "w.parquet").output
    )
    listed = ndl(wave, "list", "jobs").output
    assert listed.index("first") < listed.index("second")
    assert "2024-02-29" in ndl(wave, "show", "jobs/second").output


def test_a_wave_that_nobody_announced_needs_a_day(ndl: Callable[..., Result], place: Path) -> None:
    ndl(dataset, "add", place)
    (place / "w.parquet").rename(place / "third.parquet")
    refused = ndl(wave, "add", "jobs", place / "third.parquet")
    assert refused.exit_code == 2
    assert "--day" in refused.output
    assert (
        "jobs/third is accepted"
        in ndl(wave, "add", "jobs", place / "third.parquet", "--day", "2024-03-31").output
    )


def test_a_quarantined_wave_shows_its_report(ndl: Callable[..., Result], place: Path) -> None:
    ndl(dataset, "add", place)
    (place / "w.parquet").write_bytes(b"not Parquet")
    assert isinstance(ndl(wave, "add", "jobs", place / "w.parquet").exception, Quarantined)
    shown = ndl(wave, "show", "jobs/second").output
    assert "quarantined" in shown
    assert "file: cannot be read as Parquet" in shown


def test_a_bad_card_is_told_so(ndl: Callable[..., Result], place: Path) -> None:
    (place / "card.json").write_text("{}")
    assert isinstance(ndl(dataset, "check", place).exception, Invalid)


def test_dummy_records_are_made_from_a_folder_or_a_name(
    ndl: Callable[..., Result], place: Path, tmp_path: Path
) -> None:
    assert ndl(dataset, "dummy", place, "--rows", 12, "--out", tmp_path / "d").exit_code == 0
    (tmp_path / "d" / "jobs-dummy-12.parquet").unlink()
    ndl(dataset, "add", place)
    assert "dummy" in ndl(dataset, "dummy", "jobs", "--rows", 12, "--out", tmp_path / "d").output
    assert (tmp_path / "d" / "jobs-dummy-12.parquet").is_file()


def test_synthetic_people_are_made_and_brought_in(ndl: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "people"
    made = ndl(
        dataset, "generate", out, "--rows", 600, "--waves", 1, "--wave-rows", 300, "--drift", "inputs@1:0.5"
    )
    assert made.exit_code == 0, made.exception
    assert "They are synthetic" in made.output
    assert ndl(dataset, "add", out).exit_code == 0
    assert "is accepted" in ndl(wave, "add", "synthetic_health", out / "wave-01.parquet").output


@pytest.mark.parametrize("drift", ["inputs", "inputs@soon", "inputs@1:strong"])
def test_a_drift_that_cannot_be_read_says_how_to_write_one(
    ndl: Callable[..., Result], tmp_path: Path, drift: str
) -> None:
    refused = ndl(dataset, "generate", tmp_path / "people", "--drift", drift)
    assert refused.exit_code == 2
    assert "KIND@WAVE" in refused.output
    assert not (tmp_path / "people").exists()
