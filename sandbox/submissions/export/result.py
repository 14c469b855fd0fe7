"""What came out of the wall? Graph bytes for the checker, or a refusal in words; nothing in it is believed."""

from __future__ import annotations

from typing import Any

from sandbox.errors import Invalid, Problem, Refused
from sandbox.submissions.graph.reading import strict_json
from sandbox.submissions.isolation.backend import End, Outcome
from sandbox.submissions.isolation.escaping import escaped

FORMAT = "ndl-export-problems/1"
SUBJECT = "The model"
MAX_PROBLEMS = 20
MAX_TEXT = 500
_MAX_BYTES = 200_000
_MAX_LOG = 1_000
_START = b'{"format":"' + FORMAT.encode() + b'"'


def read(outcome: Outcome) -> bytes:
    """The bytes of what may be a record graph, still to be checked.

    Raises Invalid with the problems that the exporter named, escaped and cut, and Refused when a limit
    was hit or nothing came out, saying which limit and how the log ended.
    """
    if outcome.end not in (End.FINISHED, End.FAILED):
        raise Refused(f"{SUBJECT} did not become a record graph. {_text(outcome.words)}")
    if outcome.artifact.startswith(_START):
        raise Invalid(SUBJECT, _problems(outcome.artifact))
    if outcome.end is End.FAILED or not outcome.artifact:
        raise Refused(
            "\n".join(
                [f"{SUBJECT} ended before it became a record graph. {_text(outcome.words)}", *_log(outcome)]
            )
        )
    return outcome.artifact


def _problems(artifact: bytes) -> list[Problem]:
    if len(artifact) > _MAX_BYTES:
        return [Problem("export", "named more problems than can be read")]
    said = strict_json(artifact, SUBJECT)
    found = said.get("problems") if isinstance(said, dict) else None
    if not isinstance(found, list) or not found:
        return [Problem("export", "failed, and named no problem")]
    return [_problem(item) for item in found[:MAX_PROBLEMS]]


def _problem(item: Any) -> Problem:
    texts = [item.get(key) if isinstance(item, dict) else None for key in ("where", "what", "todo")]
    where, what, todo = (_text(text) if isinstance(text, str) else "" for text in texts)
    return Problem(where or "export", what or "failed", todo)


def _text(text: str) -> str:
    """One line, nothing in it that acts, cut at a length that a screen can show."""
    return escaped(" ".join(text[:MAX_TEXT].split()))[:MAX_TEXT]


def _log(outcome: Outcome) -> list[str]:
    end = escaped(outcome.log[-_MAX_LOG:]).strip()
    return ["Its log ended:", end] if end else []
