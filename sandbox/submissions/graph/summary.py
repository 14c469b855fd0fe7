"""What is in a record graph, for people: its layers, what it reads, how many weights, how much work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.errors import Invalid, Problem
from sandbox.submissions.graph.reading import MAX_TEXT, strict_json

MAX_BYTES = 2_000_000


@dataclass(frozen=True)
class Layer:
    """Neighbouring nodes of one module of the developer's. `shape` is that of the last one's result.

    `module` and `kind` are the developer's words: printable ASCII of at most 120 characters; still
    escape them for the medium they are shown in.
    """

    module: str
    kind: str
    operators: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A verified graph in figures. `values_per_record` counts every number computed on the way."""

    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    inputs_used: tuple[str, ...]
    inputs_unused: tuple[str, ...]
    outputs: int
    flops_per_record: int
    values_per_record: int
    nodes: int

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        made = asdict(self)
        made["layers"] = [{**layer, "operators": list(layer["operators"])} for layer in made["layers"]]
        for layer in made["layers"]:
            layer["shape"] = list(layer["shape"])
        made["inputs_used"], made["inputs_unused"] = list(self.inputs_used), list(self.inputs_unused)
        return made

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Summary:
        """Raises Invalid for anything that `to_json` cannot have made."""
        try:
            layers = tuple(
                Layer(
                    _text(layer["module"]),
                    _text(layer["kind"]),
                    tuple(map(_text, layer["operators"])),
                    tuple(map(_count, layer["shape"])),
                    _count(layer["parameters"]),
                )
                for layer in values["layers"]
            )
            made = cls(
                layers,
                _count(values["parameters"]),
                _count(values["trainable"]),
                tuple(map(_name, values["inputs_used"])),
                tuple(map(_name, values["inputs_unused"])),
                _count(values["outputs"]),
                _count(values["flops_per_record"]),
                _count(values["values_per_record"]),
                _count(values["nodes"]),
            )
            if made.to_json() != values:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Invalid("This summary of a graph", [Problem("summary", "not of the right form")]) from None
        return made

    @classmethod
    def from_bytes(cls, data: bytes) -> Summary:
        """The summary in JSON that another process wrote; raises Invalid for anything else."""
        return cls.from_json(strict_json(data[:MAX_BYTES], "This summary of a graph"))


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value.isascii() and value.isprintable()):
        raise ValueError
    return value


_name = _text
