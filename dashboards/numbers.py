"""How is a value written on a page? One way each for values, changes, intervals, days and times."""

from __future__ import annotations

from datetime import UTC, date, datetime

from dashboards.panels import Point, Unit

NOTHING = "–"
MINUS = "−"


def value(number: float | None, unit: Unit = "score") -> str:
    """0.757, 75.7 %, 12,345, or 0.0123 and 12,300 (an amount); a dash where there is none."""
    if number is None:
        return NOTHING
    if unit == "number":
        return f"{number:,.0f}"
    if unit == "amount":
        return f"{float(f'{number:.3g}'):,.10g}"
    text = f"{number * 100:.1f} %" if unit == "share" else f"{number:.3f}"
    return _signed(text)


def change(difference: float, unit: Unit = "score") -> str:
    """A signed difference: +0.012, −1.4 pts, +320."""
    if unit == "share":
        text = f"{difference * 100:+.1f} pts"
    else:
        text = f"{difference:+,.0f}" if unit == "number" else f"{difference:+.3f}"
    return _signed(text)


def interval(point: Point, unit: Unit = "score") -> str:
    """`0.741 to 0.773`; empty where there is none."""
    if point.low is None or point.high is None:
        return ""
    if unit == "share":
        return f"{point.low * 100:.1f} to {point.high * 100:.1f} %".replace("-", MINUS)
    return f"{value(point.low, unit)} to {value(point.high, unit)}"


def stated(point: Point | None, unit: Unit = "score") -> str:
    """The value, or in words why there is none."""
    if point is None:
        return NOTHING
    if point.value is not None:
        return value(point.value, unit)
    return {"reference": "reference wave"}.get(point.status, point.status)


def limit(number: float | None) -> str:
    """A limit as policy wrote it."""
    return NOTHING if number is None else f"{number:g}".replace("-", MINUS)


def day(when: date) -> str:
    return f"{when.day} {when:%B %Y}"


def short_day(when: date) -> str:
    return f"{when.day} {when:%b %Y}"


def time(when: datetime) -> str:
    """To the minute, in UTC, which every page says."""
    at = when.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M}"


def ago(when: datetime, now: datetime) -> str:
    """How long ago, in the largest whole unit."""
    seconds = max((now - when).total_seconds(), 0)
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'' if count == 1 else 's'} ago"
    return "just now"


def count(number: int, one: str, many: str = "") -> str:
    """`1 finding`, `2 findings`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _signed(text: str) -> str:
    """With a real minus sign; what rounds to nothing has no sign."""
    return text.replace("-", MINUS) if any(c in "123456789" for c in text) else text.lstrip("+-")
