"""Is this Python a model could come from? Read as text only: nothing of it is run or imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from sandbox.errors import Problem
from sandbox.submissions.manifest import CODE

BUILD = "build"


def problems_of_code(contents: Mapping[str, bytes]) -> list[Problem]:
    """What is wrong with the submission's Python files, as far as reading them tells."""
    problems, trees = [], {}
    for name in sorted(contents):
        if name.endswith(".py"):
            try:
                trees[name] = ast.parse(contents[name], filename=name)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                problems.append(_unreadable(name, error))
    if CODE in trees and BUILD not in set(_names(trees[CODE])):
        what = f"nothing in it is called {BUILD}"
        problems.append(Problem(CODE, what, f"Define {BUILD}(inputs) and return a torch.nn.Module."))
    return problems


def _unreadable(name: str, error: Exception) -> Problem:
    if isinstance(error, SyntaxError):
        line = f":{error.lineno}" if error.lineno else ""
        return Problem(f"{name}{line}", f"not Python: {error.msg}", "Mend that line.")
    return Problem(name, "not Python that can be read", "Save it as UTF-8 text, without odd characters.")


def _names(tree: ast.Module) -> Iterator[str]:
    """What the module itself defines, assigns or imports, as written at its top level."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            yield BUILD  # it may be defined in there: only running it tells
