"""The demo starts clean, never deletes what it did not make, and never runs twice in one folder."""

import pytest

from dashboards.demo.fresh import fresh_folder
from sandbox.errors import Refused


def test_a_second_demo_starts_clean(tmp_path):
    with fresh_folder(tmp_path / "demo"):
        (tmp_path / "demo" / "ndl.db").write_text("old")
    with fresh_folder(tmp_path / "demo"):
        assert not (tmp_path / "demo" / "ndl.db").exists()


def test_a_demo_that_was_killed_half_way_does_not_stop_the_next(tmp_path):
    with pytest.raises(KeyboardInterrupt), fresh_folder(tmp_path / "demo"):
        raise KeyboardInterrupt
    with fresh_folder(tmp_path / "demo"):
        pass


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    with pytest.raises(Refused, match="no demo made"), fresh_folder(tmp_path / "demo"):
        pass
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "mine"


def test_two_demos_at_once_are_refused(tmp_path):
    with (
        fresh_folder(tmp_path / "demo"),
        pytest.raises(Refused, match="Another demo"),
        fresh_folder(tmp_path / "demo"),
    ):
        pass
