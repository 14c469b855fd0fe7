"""The Atom feed of what changed: one entry for each line of a record's history."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from xml.etree import ElementTree as xml

from sandbox.disclosure.content import Change, Content

FILE = "changes.atom"

_ATOM = "http://www.w3.org/2005/Atom"
_IDS = uuid.UUID("5b9b8a52-7d0e-5d0e-9a37-2a2f6c1f4e10")  # ours, drawn once: ids stay the same for ever


def atom(subject: str, title: str, records: Sequence[Content], page_of: dict[str, str]) -> bytes:
    """One feed over these records, newest first.

    `subject` never changes for a feed: its lasting id comes from it. `page_of` gives each model's page,
    as seen from the feed.
    """
    root = xml.Element("feed", {"xmlns": _ATOM, "xml:lang": "en-GB"})
    _text(root, "id", _urn("feed", subject))
    _text(root, "title", title)
    _text(root, "updated", _instant(max((r.updated for r in records), default="1970-01-01")))
    xml.SubElement(root, "link", {"rel": "self", "type": "application/atom+xml", "href": FILE})
    lines = [(change, record) for record in records for change in record.history]
    for change, record in sorted(lines, key=lambda line: (line[0].day, line[1].model), reverse=True):
        _entry(root, change, record, page_of[record.model])
    xml.indent(root, " ")
    document: bytes = xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _entry(root: xml.Element, change: Change, record: Content, page: str) -> None:
    entry = xml.SubElement(root, "entry")
    _text(entry, "id", _urn("change", record.model, change.day, change.what))
    _text(entry, "title", f"{record.words.title}: {change.what}")
    _text(entry, "updated", _instant(change.day))
    _text(xml.SubElement(entry, "author"), "name", record.words.organisation)
    xml.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": page})
    _text(entry, "summary", change.what)


def _text(parent: xml.Element, tag: str, text: str) -> None:
    xml.SubElement(parent, tag).text = text


def _instant(day: str) -> str:
    return f"{day}T00:00:00Z"


def _urn(*parts: str) -> str:
    return uuid.uuid5(_IDS, "\n".join(parts)).urn
