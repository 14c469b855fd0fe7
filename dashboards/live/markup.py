"""How is a piece of a page written as HTML? Every text is escaped here: titles come from developers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal
from urllib.parse import quote

from dashboards.panels import Point, Trend

Tone = Literal["bad", "warn", "good", "plain", "blue"]
_STROKES: dict[str, str] = {
    "bad": "#b42318", "warn": "#b26a00", "good": "#0b6b45", "plain": "#5d6b7a", "blue": "#1c4f93"
}  # fmt: skip
_WIDTH, _HEIGHT = 220.0, 40.0


class Html(str):
    """Markup that was made here; anything else is text and gets escaped."""

    __slots__ = ()


def text(words: object) -> Html:
    """Any words, safe to stand in a page."""
    return words if isinstance(words, Html) else Html(escape(str(words), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    return Html(between.join(text(part) for part in parts))


def tag(name: str, *inside: object, css: str = "", **attributes: object) -> Html:
    """`<name class="css" ...>inside</name>`, everything in it escaped unless it is Html already."""
    named = {"class": css} | attributes if css else attributes
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in named.items())
    return Html(f"<{name}{written}>{join(inside)}</{name}>")


def lines(*parts: object) -> Html:
    """Each part on a line of its own."""
    return join(parts, "<br>")


def block(*parts: object) -> Html:
    """A piece of page in our style sheet."""
    return tag("div", *parts, css="ndl")


def pill(words: object, tone: Tone = "plain") -> Html:
    return tag("span", words, css=f"pill {tone}")


def quiet(*words: object) -> Html:
    return tag("span", *words, css="quiet small")


def banner(tone: Tone, sign: str, *words: object) -> Html:
    mark = tag("span", sign, css="sign", aria_hidden="true")
    return tag("div", mark, tag("div", *words), css=f"banner {tone}")


Cell = object
"""What stands in a cell: words, Html, or a `Number` to be set right."""


class Number(str):
    """Words to be set right-aligned with figures of equal width."""

    __slots__ = ()


def table(heads: Sequence[Cell], rows: Iterable[Sequence[Cell]], label: str) -> Html:
    """A table whose rows each begin with a heading; it scrolls by itself when the page is narrow."""
    head = tag("tr", *(tag("th", h, scope="col", **_align(h)) for h in heads))
    body = join(row if isinstance(row, Html) else _row(row) for row in rows)
    whole = tag("table", tag("thead", head), tag("tbody", body))
    return tag("div", whole, css="scroll", tabindex="0", role="region", aria_label=label)


def facts(rows: Iterable[tuple[object, object]], label: str) -> Html:
    """Pairs of a label and a value."""
    body = join(tag("tr", tag("th", k, scope="row"), tag("td", v)) for k, v in rows)
    whole = tag("table", tag("tbody", body), css="facts")
    return tag("div", whole, css="scroll", tabindex="0", role="region", aria_label=label)


def part(words: object, columns: int) -> Html:
    """A row that names the rows below it."""
    return tag("tr", tag("th", words, colspan=columns, scope="colgroup"), css="part")


def details(summary: object, *inside: object) -> Html:
    return tag("details", tag("summary", summary), tag("div", *inside))


def line(trend: Trend, tone: Tone = "blue") -> Html:
    """A small line over the waves, dots when they are few; its numbers stand beside it."""
    points = [(i, p.value) for i, p in enumerate(trend.points) if p.value is not None]
    if not points:
        return Html("")
    values = [v for _, v in points]
    low, spread = min(values), max(values) - min(values)
    step = _WIDTH / max(len(trend.points) - 1, 1)
    at = [
        (i * step, _HEIGHT / 2 if not spread else _HEIGHT - 3 - (v - low) / spread * (_HEIGHT - 6))
        for i, v in points
    ]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    drawn = [_path(path, tone, 1.8)]
    if len(points) <= 6:
        drawn += [_path(f"M{x:.1f} {y:.1f} h0.01", tone, 7) for x, y in at]
    return _drawing(*drawn)


def bars(values: Sequence[float], tone: Tone = "plain") -> Html:
    """Small bars over the waves, the latest at the right."""
    if not values or not any(values):
        return _drawing(_path(f"M0 {_HEIGHT - 1} H{_WIDTH}", "plain", 1)) if values else Html("")
    slot, wide = (_WIDTH / 26, 4) if len(values) > 8 else (_WIDTH / 13, 8)
    slot = min(slot, _WIDTH / len(values))
    left, top = _WIDTH - slot * len(values), max(values)
    drawn = []
    for i, value in enumerate(values):
        x = left + slot * (i + 0.5)
        if value:
            drawn.append(
                _path(f"M{x:.1f} {_HEIGHT - 1} V{_HEIGHT - 3 - value / top * (_HEIGHT - 6):.1f}", tone, wide)
            )
        else:
            drawn.append(_path(f"M{x:.1f} {_HEIGHT - 1} h0.01", "plain", 3))
    return _drawing(*drawn)


def interval_bar(point: Point, low: float, high: float) -> Html:
    """A dot with its 95 % interval on a scale from `low` to `high`; the numbers stand beside it."""
    if point.value is None or high <= low:
        return Html("")

    def x(value: float) -> float:
        return min(max((value - low) / (high - low), 0.0), 1.0) * _WIDTH

    span = f"M{x(point.low if point.low is not None else point.value):.1f} {_HEIGHT / 2} "
    span += f"H{x(point.high if point.high is not None else point.value):.1f}"
    dot = _path(f"M{x(point.value):.1f} {_HEIGHT / 2} h0.01", "blue", 8)
    return _drawing(
        _path(f"M0 {_HEIGHT / 2} H{_WIDTH}", "", 1), _path(span, "blue", 2.5), dot, css="interval"
    )


def _row(cells: Sequence[Cell]) -> Html:
    first, *rest = cells
    return tag(
        "tr", tag("th", first, scope="row", **_align(first)), *(tag("td", c, **_align(c)) for c in rest)
    )


def _align(cell: Cell) -> dict[str, str]:
    if isinstance(cell, Number):
        return {"css": "number"}
    return {"css": "words"} if isinstance(cell, Sentence) else {}


class Sentence(str):
    """Words that need room."""

    __slots__ = ()


def _path(d: str, tone: str, width: float) -> Html:
    stroke = _STROKES.get(tone, "#d9dee5")
    return tag(
        "path", d=d, fill="none", stroke=stroke, stroke_width=width, stroke_linecap="round",
        vector_effect="non-scaling-stroke",
    )  # fmt: skip


def _drawing(*inside: Html, css: str = "spark") -> Html:
    """An SVG as a picture that stretches to its place; Streamlit strips inline SVG from markup."""
    box = f"-10 -5 {_WIDTH + 20:g} {_HEIGHT + 10:g}"
    svg = tag("svg", *inside, xmlns="http://www.w3.org/2000/svg", viewBox=box, preserveAspectRatio="none")
    return Html(f'<img class="{css}" alt="" src="data:image/svg+xml,{quote(svg)}">')
