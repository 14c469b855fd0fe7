"""Control groups: version 2 on a made-up tree, version 1 and every refusal wherever they are."""

import os
import shutil
from pathlib import Path

import pytest

from sandbox.submissions.isolation import cgroups
from sandbox.submissions.isolation.backend import Limits

LIMITS = Limits(memory_mb=300, processes=9)


@pytest.fixture
def unified(tmp_path, monkeypatch):
    """A folder that looks like version 2; new groups get their files as from the kernel."""
    make = Path.mkdir

    def with_files(folder, *arguments, **named):
        make(folder, *arguments, **named)
        if folder.is_relative_to(tmp_path):
            _fill(folder)

    _fill(tmp_path)
    monkeypatch.setattr(Path, "mkdir", with_files)
    return tmp_path


def _fill(folder):
    files = {"cgroup.controllers": "cpu io memory pids", "cgroup.subtree_control": "", "cgroup.procs": ""}
    files |= {"cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "pids.events": "max 3\n"}
    files |= {"memory.events": "low 0\nmax 2\noom 1\noom_kill 1\n"}
    for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max"):
        files[name] = "max"
    for name, text in files.items():
        if not (folder / name).exists():
            (folder / name).write_text(text)


def test_version_2_is_limited_by_its_own_files(unified):
    group = cgroups.tree("site/ndl", root=unified).claim(LIMITS, [70_001])
    (folder,) = group.folders
    assert folder == unified / "site/ndl/run-70001"
    written = {n: (folder / n).read_text() for n in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")}
    assert written == {
        "memory.max": "300000000", "memory.swap.max": "0", "pids.max": "9", "cpu.max": "100000 100000",
    }  # fmt: skip
    for above in (unified, unified / "site", unified / "site/ndl"):
        assert (above / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    os.close(group.lock)


def test_version_2_counts_are_read(unified):
    group = cgroups.tree("ndl", root=unified).claim(LIMITS, [70_001])
    assert cgroups.counters(group.folders) == {"oom": 1, "full": 2, "forks": 3}
    assert cgroups.processor_seconds(group.processor_file) == 1.5
    os.close(group.lock)


def test_version_2_without_a_controller_says_which(unified):
    (unified / "cgroup.controllers").write_text("cpu io")
    with pytest.raises(OSError, match="memory, pids not given"):
        cgroups.tree("ndl", root=unified)


def test_no_control_groups_at_all_is_an_error_that_makes_nothing(tmp_path):
    with pytest.raises(OSError, match="memory: .* is no control group"):
        cgroups.tree("ndl", root=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", cgroups.CONTROLLERS)
def test_version_1_without_a_controller_says_which(missing, tmp_path):
    for controller in cgroups.CONTROLLERS:
        if controller != missing:
            (tmp_path / controller).mkdir()
            (tmp_path / controller / "cgroup.procs").touch()
    with pytest.raises(OSError, match=f"{missing}: .* is no control group"):
        cgroups.tree("ndl", root=tmp_path)


def test_a_number_is_given_to_one_run_at_a_time(unified):
    tree = cgroups.tree("ndl", root=unified)
    first, second = (tree.claim(LIMITS, [70_001, 70_002]) for _ in range(2))
    assert (first.number, second.number) == (70_001, 70_002)
    with pytest.raises(BlockingIOError, match="isolation.uid_count"):
        tree.claim(LIMITS, [70_001, 70_002])
    os.close(first.lock)
    again = tree.claim(LIMITS, [70_001, 70_002])
    assert again.number == 70_001
    os.close(again.lock)
    os.close(second.lock)


def test_a_group_that_was_removed_and_made_anew_by_another_run_is_left_alone(unified, monkeypatch):
    removed = []
    monkeypatch.setattr(cgroups, "remove", removed.append)
    tree = cgroups.tree("ndl", root=unified)
    first = tree.claim(LIMITS, [70_001])
    _remove_as_the_launcher_does(first)
    second = tree.claim(LIMITS, [70_001])
    assert second.folders == first.folders
    first.close()
    assert removed == []
    second.close()
    assert removed == [second.folders]


def test_the_number_is_given_back_last():
    """Version 1: removing the locked folder frees the number, so nothing may be removed after it."""
    folders = {name: Path("/groups", name, "run-1") for name in ("cpu", "memory", "pids", "zebra")}
    assert cgroups.Group(1, -1, folders).folders[-1] == folders["pids"]


def _remove_as_the_launcher_does(group):
    for folder in group.folders:
        shutil.rmtree(folder)
