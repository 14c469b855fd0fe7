"""Is this JSON a record graph's? Every key and value is looked at; what a graph does not have is refused.

Nothing that was read is quoted, and no name is looked up.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

from sandbox.errors import Invalid, Problem
from sandbox.submissions.graph.terms import DTYPES, Argument, Dtype, Node, Ref, Spec, Weight, WeightRef

FORMAT = "ndl-record-graph/1"
SUBJECT = "This record graph"
MAX_NODES = 10_000
MAX_WEIGHTS = 4_000
MAX_INPUTS = 1_000
MAX_LIST = 4_096
MAX_DIMENSIONS = 8
MAX_SIZE = 2**31 - 1
MAX_TEXT = 120

_WEIGHT_NAME = re.compile(r"(?!__)[A-Za-z0-9_.-]{1,200}\Z")
_OPERATOR_NAME = re.compile(r"[a-z_0-9.A-Z]{1,80}\Z")
_KEYWORD = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_NUMBERS = {"inf": math.inf, "-inf": -math.inf}

Parts = tuple[tuple[Spec, ...], tuple[Weight, ...], tuple[Node, ...], str]


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


def parts(document: Any) -> Parts:
    """Inputs, weights, nodes and the name of the output; raises Invalid for anything else."""
    top = _keys(document, "document", "format", "inputs", "weights", "nodes", "output")
    if top["format"] != FORMAT:
        raise refusal("format", f"not {FORMAT!r}", "Export with the same version of NDL Sandbox.")
    inputs = tuple(map(_read_input, _list(top["inputs"], "inputs", MAX_INPUTS)))
    weights = tuple(map(_read_weight, _list(top["weights"], "weights", MAX_WEIGHTS)))
    weight_names = _distinct([w.name for w in weights], "weights")
    seen = _distinct([s.name for s in inputs], "inputs")
    nodes = []
    for index, item in enumerate(_list(top["nodes"], "nodes", MAX_NODES)):
        node = _read_node(item, f"n{index}")
        for ref in node.references():
            if ref.name not in (seen if isinstance(ref, Ref) else weight_names):
                raise refusal(f"node {node.name}", "refers to a value or weight that is not there before it")
        if node.name in seen:
            raise refusal(f"node {node.name}", "has the name of an input")
        seen.add(node.name)
        nodes.append(node)
    if not isinstance(top["output"], str) or top["output"] not in seen:
        raise refusal("output", "not the name of an input or node")
    return inputs, weights, tuple(nodes), top["output"]


def _read_input(item: Any) -> Spec:
    found = _keys(item, "inputs", "name", "dtype", "shape")
    where = "inputs"
    name = _text(found["name"], where)
    if not name:
        raise refusal(where, "a name is empty")
    shape = _shape(found["shape"], where)
    if shape[:1] != (1,):
        raise refusal(where, "a shape does not start with the batch of one")
    check_size(shape, where)
    return Spec(name, _dtype(found["dtype"], where), shape)


def _read_weight(item: Any) -> Weight:
    found = _keys(item, "weights", "name", "dtype", "shape", "trainable")
    name, trainable = found["name"], found["trainable"]
    if not isinstance(name, str) or not _WEIGHT_NAME.match(name):
        raise refusal("weights", "a name is not of letters, digits and _.- alone")
    where = f"weight {name}"
    dtype = _dtype(found["dtype"], where)
    if not isinstance(trainable, bool):
        raise refusal(where, "trainable is neither true nor false")
    if trainable and dtype != "float32":
        raise refusal(where, "trainable, but not float32", "Keep it as a buffer.")
    return Weight(name, dtype, _shape(found["shape"], where), trainable)


def _read_node(item: Any, name: str) -> Node:
    found = _keys(item, "nodes", "name", "op", "args", "kwargs", "module", "kind", "line")
    where = f"node {name}"
    if found["name"] != name:
        raise refusal(where, "not named by its place")
    if not isinstance(found["op"], str) or not _OPERATOR_NAME.match(found["op"]):
        raise refusal(where, "its operator is not a name")
    kwargs = found["kwargs"]
    if not isinstance(kwargs, dict) or len(kwargs) > 16 or not all(_KEYWORD.match(k) for k in kwargs):
        raise refusal(where, "kwargs is not an object with names as keys")
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
    raise refusal(where, "an argument is of a form that graphs do not have")


def _keys(item: Any, where: str, *names: str) -> dict[str, Any]:
    if not isinstance(item, dict) or set(item) != set(names):
        raise refusal(where, f"not an object with exactly the keys {', '.join(names)}")
    return item


def _list(item: Any, where: str, limit: int) -> list[Any]:
    if not isinstance(item, list) or len(item) > limit:
        raise refusal(where, f"not a list of at most {limit:,}")
    return item


def _distinct(names: list[str], where: str) -> set[str]:
    if len(set(names)) != len(names):
        raise refusal(where, "a name is given twice")
    return set(names)


def _text(item: Any, where: str) -> str:
    if not isinstance(item, str) or len(item) > MAX_TEXT or not (item.isascii() and item.isprintable()):
        raise refusal(where, f"a text is not at most {MAX_TEXT} printable ASCII characters")
    return item


def _dtype(item: Any, where: str) -> str:
    if not isinstance(item, str) or item not in DTYPES:
        raise refusal(where, f"a dtype is none of {', '.join(DTYPES)}", "Use float32; never float64.")
    return item


def _shape(item: Any, where: str) -> tuple[int, ...]:
    sizes = _list(item, where, MAX_DIMENSIONS)
    if not all(type(size) is int and 0 <= size <= MAX_SIZE for size in sizes):
        raise refusal(where, "a shape is not of whole sizes")
    return tuple(cast("list[int]", sizes))


def check_size(shape: tuple[int, ...], where: str) -> None:
    """Also a tensor of nothing must not have sizes that overflow when they are multiplied."""
    if math.prod(max(size, 1) for size in shape) > MAX_SIZE:
        raise refusal(where, "a shape is too large")


def refusal(where: str, what: str, todo: str = "") -> Invalid:
    return Invalid(SUBJECT, [Problem(where, what, todo)])
