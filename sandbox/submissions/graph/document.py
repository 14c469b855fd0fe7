"""What is a record graph, as bytes? One line of canonical JSON, then raw weights as safetensors.

Reading is strict and has one answer: every byte is accounted for, and a document that would be written
differently is refused. No torch, no unpickling, no name is looked up. Whether the operators may run is
asked by `verify`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import Invalid, Problem

FORMAT = "ndl-record-graph/1"
SUBJECT = "This record graph"
MAX_DOCUMENT = 16_000_000
"""Bytes of JSON; the 3,000 nodes of a long recurrent network take about one million."""
MAX_NODES = 10_000
MAX_WEIGHTS = 4_000
MAX_INPUTS = 1_000
MAX_LIST = 4_096
MAX_DIMENSIONS = 8
MAX_SIZE = 2**31 - 1
MAX_TEXT = 120
DTYPES = {"float32": "F32", "int64": "I64", "bool": "BOOL"}
"""Our name of each kind of number, and the one that safetensors uses."""

_WEIGHT_NAME = re.compile(r"(?!__)[A-Za-z0-9_.-]{1,200}\Z")
_OPERATOR_NAME = re.compile(r"[a-z_0-9.A-Z]{1,80}\Z")
_KEYWORD = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_NUMBERS = {"inf": math.inf, "-inf": -math.inf}

Array = NDArray[Any]


@dataclass(frozen=True)
class Ref:
    """The value of an input or of an earlier node."""

    name: str


@dataclass(frozen=True)
class WeightRef:
    """A weight, by name."""

    name: str


@dataclass(frozen=True)
class Dtype:
    """A kind of number, given to an operator: one of `DTYPES`."""

    name: str


Argument = None | bool | int | float | str | Ref | WeightRef | Dtype | tuple["Argument", ...]


@dataclass(frozen=True)
class Spec:
    """An input of one record; the shape starts with 1, the batch of one."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """A parameter, buffer or constant. Only float32 ones can be trainable."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    trainable: bool


@dataclass(frozen=True)
class Node:
    """One operator applied once. `module`, `kind` and `line` are the developer's words: display only."""

    name: str
    op: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument] = field(default_factory=dict)
    module: str = ""
    kind: str = ""
    line: str = ""

    def references(self) -> Iterator[Ref | WeightRef]:
        """Every value and weight that the node reads, in order, repeated where it repeats."""
        for argument in (*self.args, *self.kwargs.values()):
            for item in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(item, Ref | WeightRef):
                    yield item


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
            raise _refusal("document", f"no first line of at most {MAX_DOCUMENT // 10**6} MB")
        graph = _read(strict_json(line))
        if json.dumps(_written(graph), separators=(",", ":"), allow_nan=False).encode("ascii") != line:
            raise _refusal("document", "not written the canonical way", "Use the exporter's own bytes.")
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


def strict_json(data: bytes, subject: str = SUBJECT) -> Any:
    """The JSON in these bytes; refuses duplicate keys, NaN, Infinity, huge numbers and deep nesting.

    Raises Invalid, and nothing else, quoting nothing of what it read.
    """

    def number(text: str) -> int:
        if len(text) > 20:
            raise ValueError("an integer with too many digits")
        return int(text)

    def real(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("a number too large for a float")
        return value

    def constant(text: str) -> None:
        raise ValueError("NaN or Infinity")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            raise ValueError("a key given twice")
        return made

    try:
        return json.loads(
            data.decode("utf-8"),
            parse_int=number,
            parse_float=real,
            parse_constant=constant,
            object_pairs_hook=pairs,
        )
    except RecursionError:
        what = "nested too deeply"
    except UnicodeDecodeError:
        what = "not UTF-8"
    except json.JSONDecodeError as error:
        what = f"not JSON at character {error.pos}"
    except ValueError as error:
        what = str(error)
    raise Invalid(subject, [Problem("document", what)])


def _refusal(where: str, what: str, todo: str = "") -> Invalid:
    return Invalid(SUBJECT, [Problem(where, what, todo)])


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


def _read(document: Any) -> RecordGraph:
    top = _keys(document, "document", "format", "inputs", "weights", "nodes", "output")
    if top["format"] != FORMAT:
        raise _refusal("format", f"not {FORMAT!r}", "Export with the same version of NDL Sandbox.")
    inputs = tuple(map(_read_input, _list(top["inputs"], "inputs", MAX_INPUTS)))
    weights = tuple(map(_read_weight, _list(top["weights"], "weights", MAX_WEIGHTS)))
    weight_names = _distinct([w.name for w in weights], "weights")
    seen = _distinct([s.name for s in inputs], "inputs")
    nodes = []
    for index, item in enumerate(_list(top["nodes"], "nodes", MAX_NODES)):
        node = _read_node(item, f"n{index}")
        for ref in node.references():
            if ref.name not in (seen if isinstance(ref, Ref) else weight_names):
                raise _refusal(f"node {node.name}", "refers to a value or weight that is not there before it")
        if node.name in seen:
            raise _refusal(f"node {node.name}", "has the name of an input")
        seen.add(node.name)
        nodes.append(node)
    if not isinstance(top["output"], str) or top["output"] not in seen:
        raise _refusal("output", "not the name of an input or node")
    return RecordGraph(inputs, weights, tuple(nodes), top["output"], {})


def _read_input(item: Any) -> Spec:
    found = _keys(item, "inputs", "name", "dtype", "shape")
    where = "inputs"
    name = _text(found["name"], where)
    if not name:
        raise _refusal(where, "a name is empty")
    shape = _shape(found["shape"], where)
    if shape[:1] != (1,):
        raise _refusal(where, "a shape does not start with the batch of one")
    _check_size(shape, where)
    return Spec(name, _dtype(found["dtype"], where), shape)


def _read_weight(item: Any) -> Weight:
    found = _keys(item, "weights", "name", "dtype", "shape", "trainable")
    name, trainable = found["name"], found["trainable"]
    if not isinstance(name, str) or not _WEIGHT_NAME.match(name):
        raise _refusal("weights", "a name is not of letters, digits and _.- alone")
    where = f"weight {name}"
    dtype = _dtype(found["dtype"], where)
    if not isinstance(trainable, bool):
        raise _refusal(where, "trainable is neither true nor false")
    if trainable and dtype != "float32":
        raise _refusal(where, "trainable, but not float32", "Keep it as a buffer.")
    return Weight(name, dtype, _shape(found["shape"], where), trainable)


def _read_node(item: Any, name: str) -> Node:
    found = _keys(item, "nodes", "name", "op", "args", "kwargs", "module", "kind", "line")
    where = f"node {name}"
    if found["name"] != name:
        raise _refusal(where, "not named by its place")
    if not isinstance(found["op"], str) or not _OPERATOR_NAME.match(found["op"]):
        raise _refusal(where, "its operator is not a name")
    kwargs = found["kwargs"]
    if not isinstance(kwargs, dict) or len(kwargs) > 16 or not all(_KEYWORD.match(k) for k in kwargs):
        raise _refusal(where, "kwargs is not an object with names as keys")
    return Node(
        name,
        found["op"],
        tuple(_read_argument(a, where) for a in _list(found["args"], where, 32)),
        {key: _read_argument(kwargs[key], where) for key in sorted(kwargs)},
        *(_text(found[key], where) for key in ("module", "kind", "line")),
    )


def _read_argument(item: Any, where: str, *, nested: bool = False) -> Argument:
    match item:
        case None | bool() | float():
            return item
        case int() if abs(item) < 2**63:
            return item
        case str() if len(item) <= MAX_TEXT:
            return item
        case {"of": str(name)} if len(item) == 1:
            return Ref(name)
        case {"weight": str(name)} if len(item) == 1:
            return WeightRef(name)
        case {"dtype": str(name)} if len(item) == 1:
            return Dtype(_dtype(name, where))
        case {"number": str(name)} if len(item) == 1 and name in _NUMBERS:
            return _NUMBERS[name]
        case list() if not nested and len(item) <= MAX_LIST:
            return tuple(_read_argument(part, where, nested=True) for part in item)
    raise _refusal(where, "an argument is of a form that graphs do not have")


def _keys(item: Any, where: str, *names: str) -> dict[str, Any]:
    if not isinstance(item, dict) or set(item) != set(names):
        raise _refusal(where, f"not an object with exactly the keys {', '.join(names)}")
    return item


def _list(item: Any, where: str, limit: int) -> list[Any]:
    if not isinstance(item, list) or len(item) > limit:
        raise _refusal(where, f"not a list of at most {limit:,}")
    return item


def _distinct(names: list[str], where: str) -> set[str]:
    if len(set(names)) != len(names):
        raise _refusal(where, "a name is given twice")
    return set(names)


def _text(item: Any, where: str) -> str:
    if not isinstance(item, str) or len(item) > MAX_TEXT or not (item.isascii() and item.isprintable()):
        raise _refusal(where, f"a text is not at most {MAX_TEXT} printable ASCII characters")
    return item


def _dtype(item: Any, where: str) -> str:
    if not isinstance(item, str) or item not in DTYPES:
        raise _refusal(where, f"a dtype is none of {', '.join(DTYPES)}", "Use float32; never float64.")
    return item


def _shape(item: Any, where: str) -> tuple[int, ...]:
    sizes = _list(item, where, MAX_DIMENSIONS)
    if not all(type(size) is int and 0 <= size <= MAX_SIZE for size in sizes):
        raise _refusal(where, "a shape is not of whole sizes")
    return tuple(cast("list[int]", sizes))


def _check_size(shape: tuple[int, ...], where: str) -> None:
    """Also a tensor of nothing must not have sizes that overflow when they are multiplied."""
    if math.prod(max(size, 1) for size in shape) > MAX_SIZE:
        raise _refusal(where, "a shape is too large")


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
        raise _refusal("weights", "the header of the weights does not match the document")
    at += len(header)
    if len(data) - at != sum(map(_bytes_of, weights)):
        raise _refusal("weights", "not as many bytes as the document says")
    values: dict[str, Array] = {}
    for weight in weights:
        _check_size(weight.shape, f"weight {weight.name}")
        raw = np.frombuffer(data, np.uint8, _bytes_of(weight), at)
        at += len(raw)
        if weight.dtype == "bool" and (raw > 1).any():
            raise _refusal(f"weight {weight.name}", "a truth value is neither 0 nor 1")
        value = raw.copy().view(weight.dtype).reshape(weight.shape)
        if not np.isfinite(value).all():
            raise _refusal(f"weight {weight.name}", "not finite")
        values[weight.name] = value
    return values
