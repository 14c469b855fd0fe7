"""What a developer's folder may hold, and that it is read once and kept as it was."""

import os

import pytest

from sandbox.errors import Invalid, NotFound
from sandbox.submissions import files


def test_hidden_files_and_caches_are_left_out(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    for name in ("model.py", ".git-credentials", "__pycache__/x.pyc"):
        (tmp_path / name).write_text("x")
    assert list(files.read(tmp_path)) == ["model.py"]


@pytest.mark.parametrize("target", ["/etc/passwd", ".."])
def test_links_are_refused_and_not_followed(tmp_path, target):
    (tmp_path / "notes").symlink_to(target)
    with pytest.raises(Invalid, match=r"notes: a link"):
        files.read(tmp_path)


def test_a_pipe_does_not_hang_the_receiver(tmp_path):
    os.mkfifo(tmp_path / "model.py")
    with pytest.raises(Invalid, match=r"model.py: not an ordinary file"):
        files.read(tmp_path)


def test_too_many_bytes_are_refused(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"0" * (files.MAX_BYTES + 1))
    with pytest.raises(Invalid, match=r"takes the submission past 1000 kB"):
        files.read(tmp_path)


def test_too_many_files_are_refused(tmp_path):
    for i in range(files.MAX_FILES + 1):
        (tmp_path / f"{i}.txt").write_text("")
    with pytest.raises(Invalid, match=f"more than {files.MAX_FILES}"):
        files.read(tmp_path)


def test_a_folder_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        files.read(tmp_path / "nowhere")


def test_the_digest_changes_with_any_name_or_byte():
    one = files.digest(files.digests({"a": b"1", "b": b"2"}))
    assert one == files.digest(files.digests({"b": b"2", "a": b"1"}))
    assert one not in {
        files.digest(files.digests(c)) for c in ({"a": b"1", "b": b"3"}, {"a": b"1", "c": b"2"})
    }
