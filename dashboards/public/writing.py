"""How numbers and days are written on a public page.

A number is written as the record holds it, so that a reader who looks in the record finds it: shares
move the decimal point by two places, and counts get commas. Nothing is rounded a second time.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PEOPLE = re.compile(
    r"\b(person|people|patient|resident|pupil|student|child|adult|citizen|participant|respondent|claimant"
    r"|tenant|worker|employee|man|woman|individual)\b",
    re.IGNORECASE,
)


def number(value: float) -> str:
    """1e-06 -> '0.000001', 4.0 -> '4', 0.757 -> '0.757'."""
    return _digits(_decimal(value))


def score(value: float) -> str:
    """0.71 -> '0.710', so that the figures of a column line up."""
    return _digits(_decimal(value), places=3)


def share(value: float) -> str:
    """0.123 -> '12.3%' and 0.4 -> '40.0%'."""
    return f"{_digits(_decimal(value) * 100, places=1)}%"


def short(value: float) -> str:
    """0.7 -> '0.70'."""
    return _digits(_decimal(value), places=2)


def whole_share(value: float) -> str:
    """0.9 -> '90%'."""
    return f"{_digits(_decimal(value) * 100)}%"


def points(value: float) -> str:
    """0.041 -> '4.1 points': hundredths, of a score or of a share."""
    text = _digits(_decimal(value) * 100)
    return f"{text} point" if text in {"1", "-1", "\u22121"} else f"{text} points"


def count(value: int) -> str:
    """16790 -> '16,790'."""
    return f"{value:,}"


def day(iso: str) -> str:
    """'2026-11-16' -> '16 November 2026'."""
    value = date.fromisoformat(iso)
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def short_day(iso: str) -> str:
    """'2026-11-16' -> '16 Nov 2026'."""
    value = date.fromisoformat(iso)
    return f"{value.day} {_MONTHS[value.month - 1][:3]} {value.year}"


def contact_link(contact: str) -> str:
    """An address to click on, or empty when the contact is not plainly an e-mail or web address."""
    if _EMAIL.fullmatch(contact):
        return f"mailto:{contact}"
    return contact if re.fullmatch(r"https://[A-Za-z0-9./_-]+", contact) else ""


def units(unit_means: str) -> str:
    """What a count counts: 'people' when the privacy unit is a person, else 'records'."""
    return "people" if _PEOPLE.search(unit_means) else "records"


def _decimal(value: float) -> Decimal:
    """Exactly what the record shows; floats that nobody rounded are cut to four significant digits."""
    exact = Decimal(str(value))
    return exact if len(exact.as_tuple().digits) <= 6 else Decimal(f"{value:.4g}")


def _digits(value: Decimal, places: int = 0) -> str:
    """At least `places` decimals, and no idle zeros after them."""
    whole, _, part = f"{value:,f}".partition(".")
    part = part.rstrip("0").ljust(places, "0")
    text = f"{whole}.{part}" if part else whole
    return text.lstrip("-") if not value else text.replace("-", "\u2212")
