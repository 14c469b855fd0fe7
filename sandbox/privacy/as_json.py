"""How is a report of the ledger written for programs? Its fields by name; a number that is not finite is null."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any


def text_of(found: object) -> str:
    """JSON, indented; strict, so that any reader takes it."""
    return json.dumps(plain(found), indent=1, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Records as objects, times in ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
