"""Builds the public register: a pure function of releases, written all at once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.public import feed, figures, measures, writing
from dashboards.public.record import document, read
from sandbox.disclosure.content import Content
from sandbox.errors import Invalid, Problem, Refused
from sandbox.privacy import wording
from sandbox.records import Release

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
_SIGN = "register.json"  # a folder that holds this is one of ours, and may be replaced


def build(releases: Sequence[Release], folder: Path) -> list[Path]:
    """Makes `folder` hold the register of these releases (one for each model) and nothing else.

    The same releases give the same bytes. A reader sees the old site or the new one, never a mixture.
    Raises Invalid when a release is not fit to draw, Refused when `folder` holds something else.
    """
    return _replace(folder, render(releases))


def render(releases: Sequence[Release]) -> dict[str, bytes]:
    """Every file of the site by its path; raises Invalid."""
    pairs = [(release, read(release)) for release in sorted(releases, key=lambda r: r.model)]
    records = [record for _, record in pairs]
    _check_names(records)
    folders = {record.model: f"models/{record.model}/" for record in records}
    files = {f"static/{file.name}": file.read_bytes() for file in sorted((_HERE / "static").iterdir())}
    files["index.html"] = _html("index.html", entries=[_entry(record) for record in records], root="")
    files["404.html"] = _html("404.html", root="/")
    files[feed.FILE] = feed.atom("register", "NDL sandbox: public register", records, folders)
    files[_SIGN] = _json([{"model": record.model, "record": release.id} for release, record in pairs])
    for release, record in pairs:
        files |= {folders[record.model] + name: content for name, content in _page_files(release, record)}
    return dict(sorted(files.items()))


def _check_names(records: Sequence[Content]) -> None:
    names = [record.model for record in records]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        problems = [Problem(name, "has two releases", "Give one for each model.") for name in twice]
        raise Invalid("The register", problems)


def _page_files(release: Release, record: Content) -> Iterator[tuple[str, bytes]]:
    page, title = figures.page(record), f"What changed: {record.words.title}"
    yield "index.html", _html("model.html", record=record, page=page, digest=release.id, root="../../")
    yield "record.json", document(release)
    yield feed.FILE, feed.atom(f"model {record.model}", title, [record], {record.model: "./"})


def _entry(record: Content) -> dict[str, object]:
    page = figures.page(record)
    return {"record": record, "page": page, "figure": page.figures[0], "tests": page.figures[-1]}


def _html(template: str, **values: object) -> bytes:
    return _environment().get_template(template).render(**values).encode()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "number": writing.number, "share": writing.share, "whole_share": writing.whole_share, "count": writing.count,
        "day": writing.day, "contact_link": writing.contact_link, "meaning": measures.meaning,
    }  # fmt: skip
    environment.globals["wording"] = wording
    return environment


def _replace(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent):
        if (
            folder.exists()
            and not (folder / _SIGN).is_file()
            and (not folder.is_dir() or any(folder.iterdir()))
        ):
            raise Refused(
                f"{folder} holds something else. Name an empty folder, or one that holds a register."
            )
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write(new, files)
            _swap(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return [folder / name for name in files]


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    folder.chmod(0o755)  # mkdtemp's 0700 would hide the site from a web server's account


def _swap(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder`; what was there ends up at `new`, or stays when this fails."""
    if not folder.exists():
        os.rename(new, folder)
        return
    old = new.with_name(new.name + ".old")
    os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError:
        os.rename(old, folder)
        raise
    shutil.rmtree(old)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One builder at a time; the lock dies with its process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
