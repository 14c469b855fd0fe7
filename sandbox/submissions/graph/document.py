"""What is a record graph, as bytes? One line of canonical JSON, then raw weights as safetensors.

Reading is strict and has one answer: every byte is accounted for, and a document that would be written
differently is refused. No torch, no unpickling, no name is looked up. Whether the operators may run is
asked by `verify`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import Invalid, Problem
from sandbox.submissions.graph.reading import (
    FORMAT,
    MAX_TEXT,
    SUBJECT,
    check_size,
    parts,
    refusal,
    strict_json,
)
from sandbox.submissions.graph.terms import DTYPES, Argument, Dtype, Node, Ref, Spec, Weight, WeightRef

MAX_DOCUMENT = 16_000_000
"""Bytes of JSON; the 3,000 nodes of a long recurrent network take about one million."""
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class RecordGraph:
    """A model as data: what it reads, its weights, the operators over one record, and which is the answer.

    Made by hand (or by the exporter) it is only a claim; `from_bytes` and `verify` make it more.
    """

    inputs: tuple[Spec, ...]
    weights: tuple[Weight, ...]
    nodes: tuple[Node, ...]
    output: str
    values: Mapping[str, Array]

    def to_bytes(self) -> bytes:
        """The one way of writing this graph."""
        document = json.dumps(_written(self), separators=(",", ":"), allow_nan=False).encode("ascii")
        raw = b"".join(np.ascontiguousarray(self.values[w.name]).tobytes() for w in self.weights)
        return document + b"\n" + _safetensors_header(self.weights) + raw

    @classmethod
    def from_bytes(cls, data: bytes) -> RecordGraph:
        """The graph in these bytes; raises Invalid, and nothing else, for any other bytes."""
        end = data.find(b"\n", 0, MAX_DOCUMENT)
        line = data[: max(end, 0)]
        if end < 0:
            raise refusal("document", f"no first line of at most {MAX_DOCUMENT // 10**6} MB")
        graph = cls(*parts(strict_json(line)), {})
        if json.dumps(_written(graph), separators=(",", ":"), allow_nan=False).encode("ascii") != line:
            raise refusal("document", "not written the canonical way", "Use the exporter's own bytes.")
        return replace(graph, values=_values(graph.weights, data, at=end + 1))

    def with_values(self, values: Mapping[str, Array]) -> RecordGraph:
        """The same graph with these weights' values instead; raises Invalid unless they fit and are finite."""
        known = {w.name: w for w in self.weights}
        problems = []
        for name, value in values.items():
            weight = known.get(name)
            if weight is None or (value.dtype.name, value.shape) != (weight.dtype, weight.shape):
                problems.append(
                    Problem(f"weight {name[:MAX_TEXT]!a}", "unknown, or of another dtype or shape")
                )
            elif not np.isfinite(value).all():
                problems.append(Problem(f"weight {name!a}", "not finite"))
        if problems:
            raise Invalid(SUBJECT, problems)
        return replace(self, values={**self.values, **values})

    @cached_property
    def digest(self) -> str:
        """The sha256 of `to_bytes()`: the name by which the vault knows the graph."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def _written(graph: RecordGraph) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "inputs": [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in graph.inputs],
        "weights": [
            {"name": w.name, "dtype": w.dtype, "shape": list(w.shape), "trainable": w.trainable}
            for w in graph.weights
        ],
        "nodes": [
            {
                "name": n.name,
                "op": n.op,
                "args": [_written_argument(a) for a in n.args],
                "kwargs": {name: _written_argument(n.kwargs[name]) for name in sorted(n.kwargs)},
                "module": n.module,
                "kind": n.kind,
                "line": n.line,
            }
            for n in graph.nodes
        ],
        "output": graph.output,
    }


def _written_argument(argument: Argument) -> Any:
    match argument:
        case Ref(name):
            return {"of": name}
        case WeightRef(name):
            return {"weight": name}
        case Dtype(name):
            return {"dtype": name}
        case tuple() | list():
            return [_written_argument(item) for item in argument]
        case float() if math.isinf(argument):
            return {"number": "inf" if argument > 0 else "-inf"}
    return argument


def _bytes_of(weight: Weight) -> int:
    return math.prod(weight.shape) * np.dtype(weight.dtype).itemsize


def _safetensors_header(weights: tuple[Weight, ...]) -> bytes:
    """What safetensors puts first (https://github.com/huggingface/safetensors#format), in our order."""
    header, at = {}, 0
    for weight in weights:
        end = at + _bytes_of(weight)
        header[weight.name] = {
            "dtype": DTYPES[weight.dtype],
            "shape": list(weight.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _values(weights: tuple[Weight, ...], data: bytes, at: int) -> dict[str, Array]:
    """The weights in `data` from `at` on: the header is known beforehand, so it is compared, not read."""
    header = _safetensors_header(weights)
    if data[at : at + len(header)] != header:
        raise refusal("weights", "the header of the weights does not match the document")
    at += len(header)
    if len(data) - at != sum(map(_bytes_of, weights)):
        raise refusal("weights", "not as many bytes as the document says")
    values: dict[str, Array] = {}
    for weight in weights:
        check_size(weight.shape, f"weight {weight.name}")
        raw = np.frombuffer(data, np.uint8, _bytes_of(weight), at)
        at += len(raw)
        if weight.dtype == "bool" and (raw > 1).any():
            raise refusal(f"weight {weight.name}", "a truth value is neither 0 nor 1")
        value = raw.copy().view(weight.dtype).reshape(weight.shape)
        if not np.isfinite(value).all():
            raise refusal(f"weight {weight.name}", "not finite")
        values[weight.name] = value
    return values
