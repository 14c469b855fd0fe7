"""How is a panel drawn as a chart? Vega-Lite specifications as plain dicts, each with a text alternative.

They are dicts rather than Altair objects because building and checking those costs half a CPU second a
page; the tests check every one of them against Altair's schema instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards import numbers
from dashboards.panels import HeatMap, Point, Reliability, Trend, Unit
from sandbox.lifecycle import Verdict

Spec = dict[str, Any]

FEW = 8
"""Up to so many waves each is drawn with an error bar and its name; beyond, as a band over time."""

INK, QUIET, LINE = "#1b2733", "#525c68", "#1c4f93"
BAND, GRID, RED, PALE, DEEP = "#c9d6e8", "#e6e9ee", "#b42318", "#e8eef6", "#16365f"
_MARKS = {Verdict.BEYOND: "▲", Verdict.UNKNOWN: "?"}

_CONFIG: Spec = {
    "font": "Source Sans, Source Sans Pro, sans-serif",
    "background": "#ffffff",
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET, "titleColor": QUIET, "labelFontSize": 12, "titleFontSize": 12, "gridColor": GRID,
        "titleFontWeight": "normal", "domain": False, "ticks": False, "labelPadding": 6,
    },
    "legend": {"labelColor": QUIET, "titleColor": QUIET, "titleFontWeight": "normal", "titleFontSize": 12},
}  # fmt: skip


def heat_map(panel: HeatMap) -> Spec:
    """Inputs by waves, darker where further from the reference; a mark where it is beyond tolerance."""
    few = len(panel.waves) <= FEW
    labels = _wave_labels([c.point for c in panel.cells], few)
    rows = [
        {
            "input": c.feature, "wave": labels[c.point.wave], "name": c.point.wave,
            "distance": c.point.value, "words": _cell_words(c.point),
            "interval": numbers.interval(c.point) or numbers.NOTHING,
            "verdict": str(c.verdict or "not judged"), "mark": _mark(c.verdict, c.point, few),
            "dark": (c.point.value or 0.0) > _top(panel) * 0.45,
        }
        for c in panel.cells
    ]  # fmt: skip
    order = list(dict.fromkeys(labels[w] for w in panel.waves if w in labels))
    x = {
        "field": "wave", "type": "ordinal", "sort": order, "title": None,
        "axis": {"labelAngle": 0, "labelOverlap": True},
    }  # fmt: skip
    y = {
        "field": "input", "type": "ordinal", "sort": list(panel.features), "title": None,
        "axis": {"labelLimit": 170},
    }  # fmt: skip
    tolerance = "" if panel.limit is None else f" (tolerance {numbers.limit(panel.limit)})"
    legend = {
        "title": f"Distance from the first wave{tolerance}", "orient": "top", "gradientLength": 200,
        "format": ".2f", "tickCount": 4, "titleLimit": 400,
    }  # fmt: skip
    color = {
        "field": "distance", "type": "quantitative", "legend": legend,
        "scale": {"domain": [0, _top(panel)], "range": [PALE, "#7fa3cf", DEEP], "clamp": True},
    }  # fmt: skip
    tooltip = [
        {"field": "input", "title": "Input"}, {"field": "name", "title": "Wave"},
        {"field": "words", "title": "Distance"}, {"field": "interval", "title": "95 % interval"},
        {"field": "verdict", "title": "Verdict"},
    ]  # fmt: skip
    square = {"type": "rect", "cornerRadius": 2, "stroke": "#ffffff", "strokeWidth": 2}
    known, unknown = "isValid(datum.distance)", "!isValid(datum.distance)"
    text_colour = {"condition": {"test": "datum.dark", "value": "#ffffff"}, "value": INK}
    return {
        **_base(heat_map_words(panel), rows, (30 if few else 20) * len(panel.features)),
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
        "layer": [
            {"transform": [{"filter": unknown}], "mark": {**square, "color": "#f2f3f5"}},
            {"transform": [{"filter": known}], "mark": square, "encoding": {"color": color}},
            {
                "mark": {"type": "text", "fontSize": 12 if few else 9},
                "encoding": {"text": {"field": "mark"}, "color": text_colour},
            },
        ],
    }


def trend(panel: Trend) -> Spec:
    """One measure over the waves with its 95 % interval, and the limits that policy set."""
    few = len(panel.points) <= FEW
    labels = _wave_labels(panel.points, few)
    rows = [
        {
            "wave": labels[p.wave] if few else p.day.isoformat(), "name": p.wave, "value": p.value,
            "low": p.low, "high": p.high, "words": numbers.stated(p, panel.unit),
            "interval": numbers.interval(p, panel.unit) or numbers.NOTHING, "n": f"{p.n:,}",
        }
        for p in panel.points
    ]  # fmt: skip
    x: Spec = {"field": "wave", "type": "temporal", "title": None, "scale": {"type": "utc"}}
    x["axis"] = {"grid": False, "tickCount": 6, "format": _date_format(panel.points), "labelOverlap": True}
    if few:
        x = {"field": "wave", "type": "ordinal", "title": None, "sort": None}
        x |= {"axis": {"labelAngle": 0, "grid": False}, "scale": {"paddingOuter": 0.25}}
    tooltip = [
        {"field": "name", "title": "Wave"}, {"field": "words", "title": panel.label},
        {"field": "interval", "title": "95 % interval"}, {"field": "n", "title": "Records"},
    ]  # fmt: skip
    y = _value_axis(panel)
    span: Spec = {"type": "rule", "color": LINE, "strokeWidth": 2, "opacity": 0.55}
    if not few:
        span = {"type": "area", "color": BAND, "opacity": 0.75}
    low = {"field": "low", "type": "quantitative", **y}
    value = {"x": x, "y": {"field": "value", "type": "quantitative", **y}}
    layers = [
        {"mark": span, "encoding": {"x": x, "y": low, "y2": {"field": "high"}}},
        *_limit_layers(panel, y),
        {"mark": {"type": "line", "color": LINE, "strokeWidth": 1.2 if few else 2}, "encoding": value},
        {
            "mark": {"type": "point", "filled": True, "color": LINE, "opacity": 1, "size": 70 if few else 34},
            "encoding": {**value, "tooltip": tooltip},
        },
    ]  # fmt: skip
    return {**_base(trend_words(panel), rows, 210), "layer": layers}


def reliability(panel: Reliability) -> Spec:
    """What was predicted against what happened; on the diagonal a model means what it says."""
    rows: list[Spec] = [
        {
            "predicted": predicted, "happened": p.value, "low": p.low, "high": p.high, "n": f"{p.n:,}",
            "p": numbers.value(predicted, "share"), "h": numbers.value(p.value, "share"),
            "interval": numbers.interval(p, "share"),
        }
        for predicted, p in panel.bins
        if p.value is not None
    ]  # fmt: skip
    top = max([0.05, *(max(r["predicted"], r["high"] or r["happened"]) for r in rows)])
    top = min(1.0, top * 1.05)
    axis = {"format": ".0%", "tickCount": 5}
    scale = {"domain": [0, top], "nice": False}
    x = {"field": "predicted", "type": "quantitative", "title": "Predicted", "scale": scale, "axis": axis}
    y = {"type": "quantitative", "title": "Happened", "scale": scale, "axis": axis}
    tooltip = [
        {"field": "p", "title": "Predicted"}, {"field": "h", "title": "Happened"},
        {"field": "interval", "title": "95 % interval"}, {"field": "n", "title": "Records"},
    ]  # fmt: skip
    diagonal = {"values": [{"predicted": 0, "happened": 0}, {"predicted": top, "happened": top}]}
    happened = {"x": x, "y": {"field": "happened", **y}}
    return {
        **_base(reliability_words(panel), rows, 250),
        "layer": [
            {
                "data": diagonal,
                "mark": {"type": "line", "color": QUIET, "strokeDash": [4, 4]},
                "encoding": happened,
            },
            {
                "mark": {"type": "rule", "color": LINE, "strokeWidth": 2, "opacity": 0.55},
                "encoding": {"x": x, "y": {"field": "low", **y}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "color": LINE, "opacity": 1, "size": 60},
                "encoding": {**happened, "tooltip": tooltip},
            },
        ],
    }


def heat_map_words(panel: HeatMap) -> str:
    """The heat map for people who do not see it."""
    head = f"Heat map of {numbers.count(len(panel.features), 'input')} over {numbers.count(len(panel.waves), 'wave')}."
    beyond = [c for c in panel.cells if c.verdict is Verdict.BEYOND and c.point.wave == panel.waves[-1]]
    if not beyond:
        return f"{head} On the latest wave no input is beyond tolerance."
    named = ", ".join(f"{c.feature} ({numbers.value(c.point.value)})" for c in beyond)
    return f"{head} Beyond tolerance on the latest wave: {named}."


def trend_words(panel: Trend) -> str:
    """A trend for people who do not see it."""
    if not panel.known:
        return f"{panel.label}: no values yet."
    first, last = panel.known[0], panel.known[-1]
    words = f"{panel.label} over {numbers.count(len(panel.points), 'wave')}: "
    words += f"{numbers.value(first.value, panel.unit)} on {first.wave}"
    if last is not first:
        words += f", {numbers.value(last.value, panel.unit)} on {last.wave}"
    if numbers.interval(last, panel.unit):
        words += f" (95 % interval {numbers.interval(last, panel.unit)})"
    limits = " and ".join(numbers.value(limit, panel.unit) for limit in panel.limits)
    return f"{words}. {'Limit: ' + limits + '.' if limits else ''}".strip()


def reliability_words(panel: Reliability) -> str:
    """The reliability diagram for people who do not see it."""
    said = [
        f"{numbers.value(predicted, 'share')} predicted, {numbers.value(p.value, 'share')} happened"
        for predicted, p in panel.bins
        if p.value is not None
    ]
    return f"Predicted against what happened on wave {panel.wave}: {'; '.join(said) or 'too few records'}."


def _base(words: str, rows: list[Spec], height: int) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": words, "data": {"values": rows}, "width": "container", "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"}, "config": _CONFIG,
    }  # fmt: skip


def _limit_layers(panel: Trend, y: Spec) -> list[Spec]:
    if not panel.limits:
        return []
    data = {"values": [{"limit": limit} for limit in panel.limits]}
    at = {"field": "limit", "type": "quantitative", **y}
    return [
        {"data": data, "mark": {"type": "rule", "color": RED, "strokeDash": [6, 4]}, "encoding": {"y": at}}
    ]


def _value_axis(panel: Trend) -> Spec:
    seen = [v for p in panel.points for v in (p.value, p.low, p.high) if v is not None] + list(panel.limits)
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    room = max((high - low) * 0.12, 0.005)
    return {
        "title": None,
        "scale": {"domain": [low - room, high + room], "zero": False, "nice": True},
        "axis": {"tickCount": 5, "format": _axis_format(panel.unit, high - low)},
    }


def _axis_format(unit: Unit, spread: float) -> str:
    if unit == "share":
        return ".0%" if spread > 0.05 else ".1%"
    return ".2f" if spread > 0.04 else ".3f"


def _date_format(points: Sequence[Point]) -> str:
    spread = (points[-1].day - points[0].day).days if points else 0
    return "%b %Y" if spread > 300 else "%-d %b"


def _wave_labels(points: Sequence[Point], few: bool) -> dict[str, str]:
    """Each wave's label: its name when there are few, else its day."""
    days = {p.wave: p.day for p in points}
    if few:
        return {wave: wave for wave in days}
    one_year = len({day.year for day in days.values()}) == 1
    labels = {
        wave: f"{day.day} {day:%b}" if one_year else f"{day.day} {day:%b %y}" for wave, day in days.items()
    }
    return labels if len(set(labels.values())) == len(labels) else {wave: wave for wave in days}


def _mark(verdict: Verdict | None, point: Point, few: bool) -> str:
    mark = _MARKS.get(verdict, "") if verdict else ""
    if not few:
        return mark
    return f"{_cell_words(point)} {mark}".strip()


def _cell_words(point: Point) -> str:
    return "reference" if point.status == "reference" else numbers.stated(point)


def _top(panel: HeatMap) -> float:
    furthest = max([0.0, *(c.point.value or 0.0 for c in panel.cells)])
    return max(furthest, 2 * (panel.limit or 0.1))
