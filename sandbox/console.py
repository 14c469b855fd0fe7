"""How is it said on a terminal? Whole: what a column has no room for goes on in its next line, and is never cut."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDE = 200
"""Characters of a line where nobody looks: a pipe or a file, which a search should find things in."""


class WholeConsole(Console):
    """As rich's, with tables whose cells are folded where rich would end them in dots."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not (self.is_terminal or "width" in options or "COLUMNS" in os.environ):
            self.width = _WIDE

    def print(self, *things: Any, **options: Any) -> None:
        for table in things:
            for column in table.columns if isinstance(table, Table) else ():
                if column.overflow == "ellipsis":
                    column.overflow = "fold"
        super().print(*things, **options)
