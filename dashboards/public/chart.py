"""Where the marks of the quality chart go: positions in percent, so that one drawing fits any screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from dashboards.public import writing
from dashboards.public.measures import Meaning, is_shown
from sandbox.disclosure.content import Measure

_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_TICKS = 5
_LEFT, _RIGHT = 4.0, 96.0
_FEW = 6


@dataclass(frozen=True)
class Mark:
    """One wave: centre, ends of the likely range (None when unknown), and what is written at it."""

    x: float
    y: float
    high: float | None
    low: float | None
    value: str
    day: str
    anchor: str
    labelled: bool
    on_narrow: bool


@dataclass(frozen=True)
class Limit:
    """A line that quality should stay above, and what is written along it."""

    value: float
    text: str


@dataclass(frozen=True)
class Tick:
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """`lines` and `bands` are SVG point lists in a 100 x 100 box, broken where a wave has no figure."""

    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    limit: Tick | None
    lines: tuple[str, ...]
    bands: tuple[str, ...]
    few: bool


def draw(points: Sequence[tuple[str, Measure]], limit: Limit | None, meaning: Meaning) -> Chart | None:
    """The chart of the measures that can be shown, oldest first; None when there are none."""
    shown = [(day, m, m.value) for day, m in points if is_shown(m) and m.value is not None]
    if not shown:
        return None
    ends = [end for _, m, value in shown for end in (m.low, value, m.high) if end is not None]
    bottom, top, step = _scale([*ends, *([limit.value] if limit else [])])

    def height(value: float) -> float:
        return round(100 * (top - value) / (top - bottom), 2)

    xs = _across([day for day, _, _ in shown])
    named = _named(len(shown))
    marks = tuple(
        Mark(
            x, height(value),
            None if m.high is None else height(m.high),
            None if m.low is None else height(m.low),
            meaning.write(value), writing.short_day(day),
            _anchor(i, len(shown)), i in named, i in (0, len(shown) - 1),
        )
        for i, ((day, m, value), x) in enumerate(zip(shown, xs, strict=True))
    )  # fmt: skip
    stretches = _stretches([is_shown(m) for _, m in points], marks)
    return Chart(
        marks=marks,
        ticks=tuple(Tick(height(v), meaning.write_axis(v)) for v in _steps(bottom, top, step)),
        limit=Tick(height(limit.value), limit.text) if limit else None,
        lines=tuple(" ".join(f"{mark.x},{mark.y}" for mark in marks) for marks in stretches),
        bands=tuple(band for marks in stretches if (band := _band(marks))),
        few=len(marks) <= _FEW,
    )


def _stretches(shown: Sequence[bool], marks: Sequence[Mark]) -> list[list[Mark]]:
    """The marks in runs without a gap, where a run of one has no line to draw."""
    rest = iter(marks)
    runs: list[list[Mark]] = [[]]
    for has_figure in shown:
        if has_figure:
            runs[-1].append(next(rest))
        else:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _band(marks: Sequence[Mark]) -> str:
    ranged = [mark for mark in marks if mark.low is not None and mark.high is not None]
    upper, lower = [f"{m.x},{m.high}" for m in ranged], [f"{m.x},{m.low}" for m in reversed(ranged)]
    return " ".join([*upper, *lower])


def _scale(values: Sequence[float]) -> tuple[float, float, float]:
    """Bottom and top of the axis, both multiples of its step, with at most `_TICKS` steps between."""
    low, high = min(values), max(values)
    if high - low < _STEPS[0]:
        low, high = low - 0.01, high + 0.01
    for step in _STEPS:
        bottom, top = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if top - bottom <= _TICKS:
            return bottom * step, top * step, step
    return low, high, high - low


def _steps(bottom: float, top: float, step: float) -> list[float]:
    return [round(bottom + i * step, 6) for i in range(round((top - bottom) / step) + 1)]


def _across(days: Sequence[str]) -> list[float]:
    """Places along the axis in proportion to the days between; a single one stands in the middle."""
    since = [date.fromisoformat(day).toordinal() for day in days]
    first, span = since[0], since[-1] - since[0]
    if not span:
        return [50.0] * len(days)
    return [round(_LEFT + (_RIGHT - _LEFT) * (day - first) / span, 2) for day in since]


def _named(total: int) -> set[int]:
    """Which marks have their day written below: all when few, else about `_FEW` evenly spread."""
    if total <= _FEW:
        return set(range(total))
    return {round(i * (total - 1) / (_FEW - 1)) for i in range(_FEW)}


def _anchor(position: int, total: int) -> str:
    if total == 1:
        return "middle"
    return "start" if position == 0 else "end" if position == total - 1 else "middle"
