"""Whatever the code writes to the audit log, an overseer reads in words or as part of another line."""

import ast
from pathlib import Path

from dashboards.happenings import FOLDED, WORDS


def actions():
    """Every action that is written out as the second argument of an `Event`, and where."""
    for package in ("sandbox", "evaluators", "dashboards"):
        for file in Path(package).rglob("*.py"):
            calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
            for call in calls:
                second = call.args[1] if len(call.args) > 1 else None
                if getattr(call.func, "id", "") == "Event" and isinstance(second, ast.Constant):
                    yield second.value, f"{file}:{call.lineno}"


def test_every_action_of_the_audit_log_has_words_for_the_overview():
    found = dict(actions())
    assert len(found) > 15
    assert {action: where for action, where in found.items() if action not in {*WORDS, *FOLDED}} == {}
