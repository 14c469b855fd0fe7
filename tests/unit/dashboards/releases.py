"""Releases as the exit gate lets them out, their pages, and what a reader sees of a page."""

import copy
import hashlib
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

from dashboards.public.site import render
from sandbox.records import Release

CONTENTS = json.loads(Path(__file__).with_name("releases.json").read_text())


def content(name="crime", **changes):
    return copy.deepcopy(CONTENTS[name]) | changes


def release(of, day=23):
    digest = hashlib.sha256(json.dumps(of, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return Release(
        digest, of["model"], f"{of['model']}/{of['version']}", of, datetime(2026, 11, day, tzinfo=UTC), "omar"
    )


def every():
    return [release(content(name)) for name in CONTENTS]


def page(of):
    return render([release(of)])[f"models/{of['model']}/index.html"].decode()


class Visible(HTMLParser):
    """The text a reader sees or hears; not the ruler of a chart, nor the digest of the record."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.inside, self.tags, self.attributes = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        classes = dict(attributes).get("class", "")
        self.texts += [dict(attributes).get("aria-label", "")]
        if tag not in {"meta", "link", "rect", "circle", "line", "polyline", "polygon"}:
            self.inside.append((tag, "ticks" in classes or tag in {"code", "style"}))

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1][0] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not any(skipped for _, skipped in self.inside):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def numbers(text):
    found = re.findall(r"\d[\d,]*(?:\.\d+)?", text)
    return {Decimal(number.replace(",", "").rstrip(".")) for number in found}


def numbers_of(value):
    """Every number a record holds, shares also as percentages or points, and those inside its texts."""
    if isinstance(value, dict):
        return {n for part in [*value, *value.values()] for n in numbers_of(part)}
    if isinstance(value, list):
        return {n for part in value for n in numbers_of(part)}
    if isinstance(value, str):
        return numbers(value)
    if isinstance(value, bool) or value is None:
        return set()
    exact = abs(Decimal(str(value)))
    return {exact, exact * 100}
