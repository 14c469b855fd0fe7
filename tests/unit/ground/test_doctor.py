"""The doctor finds what is not fit and says how to mend it."""

from pathlib import Path

from sandbox.doctor.checks import examine
from sandbox.settings import load


def examined(tmp_path, **environ):
    return examine(load(None, {"NDL_STORAGE__FOLDER": str(tmp_path), **environ}))


def found(tmp_path, **environ):
    return {check.part: check for check in examined(tmp_path, **environ)}


def first(part, tmp_path, **environ):
    """Without looking at what comes after it: walls take a second."""
    return next(check for check in examined(tmp_path, **environ) if check.part == part)


def test_every_part_of_the_issue_is_examined(tmp_path):
    parts = " ".join(found(tmp_path))
    for part in (
        "isolation: bubblewrap",
        "isolation: landlock: seccomp",
        "isolation: landlock: Landlock",
        "isolation: gvisor: runsc",
        "database",
        "engine",
        "MLflow",
        "chromium",
        "folder",
    ):
        assert part in parts


def test_a_fresh_folder_is_fit(tmp_path):
    assert all(check.fit for check in found(tmp_path).values() if check.needed)


def test_a_damaged_database_is_found(tmp_path):
    (tmp_path / "ndl.db").write_bytes(b"not a database at all" * 100)
    check = first("database", tmp_path)
    assert not check.fit
    assert check.mend


def test_a_database_server_that_does_not_answer_is_found(tmp_path):
    check = first("database", tmp_path, NDL_STORAGE__DATABASE="sqlite:////nowhere/at/all/ndl.db")
    assert not check.fit
    assert "storage.database" in check.mend


def test_a_missing_tool_comes_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = found(tmp_path)
    bubblewrap = [check for part, check in checks.items() if part.startswith("isolation: bubblewrap")]
    assert any(not check.fit and "apt-get install bubblewrap" in check.mend for check in bubblewrap)
    assert "apt-get install runsc" in checks["isolation: gvisor: runsc"].mend
    assert "apt-get install chromium" in checks["chromium (browser tests)"].mend


def test_looking_changes_nothing(tmp_path):
    found(tmp_path / "none")
    assert not Path(tmp_path / "none").exists()


def test_the_wall_that_would_be_used_is_named(tmp_path):
    check = found(tmp_path, NDL_ISOLATION__BACKEND="landlock")["isolation"]
    assert check.needed
    assert not check.fit or check.found == "landlock: uses landlock"


def test_no_complete_wall_is_not_fit_for_work(tmp_path, monkeypatch):
    from sandbox.submissions.isolation import landlock_rules

    monkeypatch.setattr(landlock_rules, "abi", lambda: 0)
    checks = found(tmp_path, NDL_ISOLATION__BACKEND="landlock")
    assert not checks["isolation"].fit
    assert "Linux 6.12" in checks["isolation: landlock: Landlock"].mend


def test_jobs_that_wait_for_nobody_are_found(tmp_path):
    from sandbox.jobs import claims
    from sandbox.jobs.presence import Presence
    from sandbox.storage import Store

    assert first("engine", tmp_path).found == "DBOS on SQLite; made by the first worker"
    store = Store(f"sqlite:///{tmp_path}/ndl.db")
    claims.ask(store, [("k|1", "k", {})], "ada")
    lonely = first("engine", tmp_path)
    assert (lonely.fit, lonely.found) == (False, "DBOS on SQLite; 0 at work, 1 waiting, 0 failed")
    assert "ndl worker" in lonely.mend
    with Presence(store):
        assert first("engine", tmp_path).fit
    store.close()
