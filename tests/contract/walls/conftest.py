"""For the tests of every wall: which folders its runs were given."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def run_folders(monkeypatch):
    """The folders made for runs since the test began; other tests may be running theirs beside us."""
    made, make = [], tempfile.mkdtemp

    def remember(*arguments, **named):
        folder = make(*arguments, **named)
        made.append(Path(folder))
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", remember)
    return made
