"""Packs the probes into one `model.py`, as a developer would hand it in."""

import ast
import json
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
FAMILIES = ("files", "processes", "network", "kernel", "resources", "knowledge", "privileges")

_LINE = re.compile(r"^probe (\w+) (open|closed|broken) ?(.*)$", re.MULTILINE)
_PACKED = """\
import sys, types

package = sys.modules["probes"] = types.ModuleType("probes")
package.__path__ = []
for name, text in {sources!r}.items():
    module = sys.modules["probes." + name] = types.ModuleType("probes." + name)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
    if name == "core":
        module.PLACE.update({place!r}, model=__file__)
sys.modules["probes.core"].run({names!r})
raise SystemExit("all attempts were made")
"""


@dataclass(frozen=True)
class Verdict:
    word: str
    note: str


def names(alone: bool = False) -> list[str]:
    """Every probe, or those that need a run of their own."""
    if str(HERE.parent) not in sys.path:
        sys.path.insert(0, str(HERE.parent))
    core = import_module("probes.core")
    for family in FAMILIES:
        import_module(f"probes.{family}")
    return [probe.name for probe in core.PROBES.values() if probe.alone == alone]


def pack(place: dict[str, object], chosen: list[str]) -> bytes:
    """A `model.py` that makes the chosen attempts and then stops. `place` tells it what lies outside."""
    sources = {name: (HERE / f"{name}.py").read_text() for name in ("core", *FAMILIES)}
    for text in sources.values():
        ast.parse(text)
    json.dumps(place)
    return _PACKED.format(sources=sources, place=place, names=chosen).encode()


def verdicts(log: str) -> dict[str, Verdict]:
    return {name: Verdict(word, note) for name, word, note in _LINE.findall(log)}
