"""Looks at each part a running sandbox stands on, and says how to mend what is not fit."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sandbox.errors import NDLError
from sandbox.settings import Settings

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ASK_VERSION = 1
_PR_GET_SECCOMP = 21
_EINVAL = 22


@dataclass(frozen=True)
class Check:
    """One part: whether it is fit, what was found, how to mend it, and whether the demo needs it."""

    part: str
    fit: bool
    found: str
    mend: str = ""
    needed: bool = True


def examine(settings: Settings) -> Iterator[Check]:
    """Every check in reading order; a check that cannot be made is a part that is not fit."""
    parts: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("Python", _python),
        ("libraries", _libraries),
        ("folder", lambda: _folder(settings.storage.folder)),
        ("database", lambda: _database(settings)),
        ("MLflow", lambda: _mlflow(settings)),
        ("isolation: bubblewrap", _bubblewrap),
        ("isolation: user namespaces", _namespaces),
        ("isolation: seccomp", _seccomp),
        ("isolation: Landlock", _landlock),
        ("isolation: cgroups", _cgroups),
        ("chromium (browser tests)", _chromium),
    )
    for name, check in parts:
        try:
            yield check()
        except (OSError, NDLError, subprocess.SubprocessError) as error:
            yield Check(
                name, False, f"could not be checked: {type(error).__name__}", "Mend it and ask again."
            )


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= (3, 11), found, "Install Python 3.11 or newer.")


def _libraries() -> Check:
    names = ("torch", "opacus", "mlflow", "streamlit", "scikit-learn", "dp-accounting", "opendp")
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


def _database(settings: Settings) -> Check:
    import sqlalchemy as sa

    url = settings.database_url
    kind = sa.make_url(url).get_backend_name()
    if (
        kind == "sqlite"
        and not (settings.storage.folder / "ndl.db").exists()
        and not settings.storage.database
    ):
        return Check("database", True, "SQLite; made by the first command that needs it")
    try:
        with sa.create_engine(url).connect() as connection:
            if kind == "sqlite":
                whole = connection.exec_driver_sql("PRAGMA quick_check").scalar() == "ok"
                return Check(
                    "database", whole, f"SQLite, {'whole' if whole else 'damaged'}", "Restore a backup."
                )
            return Check("database", True, f"{kind}, answers")
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        found = f"{kind}: {type(error).__name__}"
        return Check("database", False, found, "Check storage.database, and that the server runs.")


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


def _bubblewrap() -> Check:
    mend = "apt-get install bubblewrap. Needed only for developers' own model.py; recipes do without."
    path = shutil.which("bwrap")
    if path is None:
        return Check("isolation: bubblewrap", False, "not installed", mend, needed=False)
    found = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return Check("isolation: bubblewrap", found.returncode == 0, found.stdout.strip(), mend, needed=False)


def _namespaces() -> Check:
    command = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "true"]
    works = subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    mend = "Allow them: sysctl -w user.max_user_namespaces=10000 (or kernel.unprivileged_userns_clone=1)."
    found = "can be made" if works else "cannot be made"
    return Check("isolation: user namespaces", works, found, mend, needed=False)


def _seccomp() -> Check:
    libc = ctypes.CDLL(None, use_errno=True)
    works = libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 or ctypes.get_errno() != _EINVAL
    found = "in this kernel" if works else "not in this kernel"
    return Check("isolation: seccomp", works, found, "Use a kernel with CONFIG_SECCOMP_FILTER.", needed=False)


def _landlock() -> Check:
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_ASK_VERSION)
    found = f"ABI {abi}" if abi > 0 else "not in this kernel"
    return Check(
        "isolation: Landlock", abi > 0, found, "Use Linux 5.13 or newer with lsm=landlock.", needed=False
    )


def _cgroups() -> Check:
    root = Path("/sys/fs/cgroup")
    kind = "v2" if (root / "cgroup.controllers").exists() else "v1" if (root / "memory").is_dir() else ""
    found = f"{kind}" if kind else "no controllers mounted"
    return Check("isolation: cgroups", bool(kind), found, "Mount cgroup v2 at /sys/fs/cgroup.", needed=False)


def _chromium() -> Check:
    path = shutil.which("chromium")
    mend = "apt-get install chromium; without it `make test` skips the browser tests."
    return Check("chromium (browser tests)", path is not None, path or "not installed", mend, needed=False)
