"""When does a schedule say to look? Cron's five fields, in UTC; pure."""

from __future__ import annotations

from datetime import UTC, datetime


def is_expression(text: str) -> bool:
    """Whether this is cron with five fields: minute, hour, day of the month, month, day of the week."""
    from croniter import croniter

    return len(text.split()) == 5 and bool(croniter.is_valid(text))


def falls_in(expression: str, after: datetime, until: datetime) -> bool:
    """Whether a moment of the schedule lies after the one and not after the other. False where the clock was
    put back."""
    from croniter import croniter

    if not expression or until <= after:
        return False
    moment: datetime = croniter(expression, after.astimezone(UTC)).get_next(datetime)
    return moment <= until
