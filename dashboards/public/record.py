"""May this release be drawn? Its content as typed parts, if it is what the exit gate cleared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import date

from pydantic import ValidationError

from sandbox.disclosure.content import Content
from sandbox.errors import Invalid, Problem
from sandbox.privacy.accounting import canonical
from sandbox.records import Release
from sandbox.settings import problems_of

_FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


def read(release: Release) -> Content:
    """Raises Invalid naming every part that is wrong, or saying that the content was changed since."""
    subject = f"Release {release.id[:16]}"
    try:
        content = Content.model_validate(release.content)
    except ValidationError as error:
        raise Invalid(subject, problems_of(error)) from None
    problems = [*_problems(content)]
    if hashlib.sha256(document(release)).hexdigest() != release.id:
        problems.append(Problem("content", "does not have the digest it was cleared with"))
    if problems:
        raise Invalid(subject, problems)
    return content


def document(release: Release) -> bytes:
    """The bytes of `record.json`: canonical JSON, whose sha256 is the release's id."""
    return canonical(release.content).encode()


def _problems(content: Content) -> Iterator[Problem]:
    if not _FOLDER_NAME.fullmatch(content.model):
        yield Problem("model", "cannot be the name of a page", "Use small letters, digits and hyphens.")
    days = {"updated": content.updated}
    days |= {f"waves.{at}.day": wave.day for at, wave in enumerate(content.waves)}
    days |= {f"history.{at}.day": change.day for at, change in enumerate(content.history)}
    for where, day in days.items():
        try:
            date.fromisoformat(day)
        except ValueError:
            yield Problem(where, "is no day of the calendar")
