"""Hostile record graphs: each is refused in plain words, fast, by one kind of error and no other.

The table is the list: a name, the bytes, and what the refusal must say. `DOCUMENTS` are refused by
reading alone; `GRAPHS` read well and are refused by `verify`.
"""

import json
import struct
import time

import numpy as np
import pytest

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions.graph.document import RecordGraph

INPUTS = Inputs(kind="binary", outputs=1, numbers=4, categories=(5,))
SECONDS = 5.0
"""How long a refusal may take in-process, torch being loaded: generous, for a busy machine."""


def ref(name):
    return {"of": name}


def weight(name):
    return {"weight": name}


def document(*nodes, inputs=None, weights=None, output=None):
    """A document of the format whose nodes are (op, args) or (op, args, kwargs), named by place."""
    written = [
        {"name": f"n{i}", "op": op, "args": list(args), "kwargs": kwargs[0] if kwargs else {},
         "module": "m", "kind": "K", "line": "model.py:1"}
        for i, (op, args, *kwargs) in enumerate(nodes)
    ]  # fmt: skip
    return {
        "format": "ndl-record-graph/1",
        "inputs": inputs
        or [
            {"name": "numbers", "dtype": "float32", "shape": [1, 4]},
            {"name": "categories", "dtype": "int64", "shape": [1, 1]},
        ],
        "weights": weights
        if weights is not None
        else [
            {"name": "w", "dtype": "float32", "shape": [1, 4], "trainable": True},
            {"name": "b", "dtype": "float32", "shape": [1], "trainable": True},
        ],
        "nodes": written,
        "output": output or f"n{len(written) - 1}",
    }


LINEAR = ("aten.linear.default", [ref("numbers"), weight("w"), weight("b")])
SIZES = {"float32": ("F32", 4), "int64": ("I64", 8), "bool": ("BOOL", 1)}


def text(of):
    return json.dumps(of, separators=(",", ":")).encode()


def tensors(of, header=None, fill=b"\0"):
    """The safetensors part that `of["weights"]` asks for; `header` may spoil what it says."""
    said, at = {}, 0
    for w in of["weights"]:
        kind, size = SIZES.get(str(w["dtype"]), ("F64", 8))
        end = at + size * int(np.prod(w["shape"], dtype=object))
        said[w["name"]] = {"dtype": kind, "shape": w["shape"], "data_offsets": [at, end]}
        at = end
    if header:
        said = header(said) or said
    raw = text(said)
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + (fill * at)[:at]


def packed(of, **spoiled):
    return text(of) + b"\n" + tensors(of, **spoiled)


def spoilt(change, *nodes):
    """A good document after `change`."""
    of = document(*(nodes or (LINEAR,)))
    of = change(of) or of
    return packed(of)


def put(*path_and_value):
    """A change: sets the value at a path."""
    *path, last, value = path_and_value

    def change(of):
        for step in path:
            of = of[step]
        of[last] = value

    return change


def edited(old, new):
    """A good document with one piece of its text replaced."""
    first, rest = packed(document(LINEAR)).split(b"\n", 1)
    assert old in first
    return first.replace(old, new, 1) + b"\n" + rest


def offsets(name, a, b):
    def spoil(said):
        said[name]["data_offsets"] = [a, b]

    return packed(document(LINEAR), header=spoil)


def unfilled(shape):
    """A document with a weight of this shape, its true header, and no more than 64 bytes of weights."""
    of = document(("aten.mul.Tensor", [ref("numbers"), weight("w")]))
    of["weights"] = [{"name": "w", "dtype": "float32", "shape": shape, "trainable": True}]
    said = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * int(np.prod(shape, dtype=object))]}}
    raw = text(said)
    raw += b" " * (-len(raw) % 8)
    return text(of) + b"\n" + struct.pack("<Q", len(raw)) + raw + (b"" if 0 in shape else b"\0" * 64)


TRUTH = {"name": "b", "dtype": "bool", "shape": [1], "trainable": False}
GOOD = packed(document(LINEAR))
OPENING = b'{"format":"ndl-record-graph/1"'
DOCUMENTS = {
    "empty": (b"", "no first line"),
    "only a newline": (b"\n", "not JSON"),
    "one brace": (b"{\n", "not JSON"),
    "no newline": (text(document(LINEAR)), "no first line"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "BOM|not JSON|canonical"),
    "UTF-16": (GOOD.decode("latin1").encode("utf-16"), "not UTF-8|not JSON|first line"),
    "a zip": (b"PK\x03\x04" + GOOD, "not JSON|not UTF-8"),
    "a pickle": (b"\x80\x04" + GOOD, "not UTF-8|not JSON"),
    "JSON of another kind": (b"[]\n", "not an object"),
    "a number": (b"1\n", "not an object"),
    "a space before": (b" " + GOOD, "canonical"),
    "a carriage return": (GOOD.replace(b"\n", b"\r\n", 1), "canonical"),
    "pretty printed": (json.dumps(document(LINEAR)).encode() + b"\n" + tensors(document(LINEAR)), "canonical"),
    "JSON over two lines": (GOOD.replace(b',"weights"', b',\n"weights"', 1), "not JSON"),
    "a second document": (text(document(LINEAR)) + b"\n" + GOOD, "header of the weights"),
    "trailing bytes": (GOOD + b"\0", "as many bytes"),
    "cut short": (GOOD[:-1], "as many bytes"),
    "no weights at all": (text(document(LINEAR)) + b"\n", "header of the weights"),
    "a key twice": (GOOD.replace(OPENING, OPENING + b',"format":"ndl-record-graph/1"', 1), "twice"),
    "a key twice deep inside": (edited(b'"kwargs":{}', b'"kwargs":{"dim":0,"dim":1}'), "twice"),
    "another format": (spoilt(put("format", "ndl-record-graph/2")), "format"),
    "an unknown key": (spoilt(put("hook", "os.system")), "exactly the keys"),
    "a missing key": (spoilt(lambda of: {k: v for k, v in of.items() if k != "output"}), "exactly the keys"),
    "an unknown key in a node": (spoilt(put("nodes", 0, "code", "print()")), "exactly the keys"),
    "an unknown key in a weight": (spoilt(put("weights", 0, "file", "/etc/passwd")), "exactly the keys"),
    "nodes that are no list": (spoilt(put("nodes", {"0": 1})), "not a list"),
    "no nodes, no such output": (spoilt(lambda of: document(output="n0")), "output"),
    "NaN": (edited(b'"args":[', b'"args":[NaN,'), "NaN or Infinity"),
    "Infinity": (edited(b'"args":[', b'"args":[Infinity,'), "NaN or Infinity"),
    "1e400": (edited(b'"args":[', b'"args":[1e400,'), "too large"),
    "another way to write a number": (edited(b'"args":[', b'"args":[1E0,'), "canonical"),
    "minus zero": (edited(b'"args":[', b'"args":[-0,'), "canonical"),
    "an integer of a million digits": (edited(b'"args":[', b'"args":[' + b"9" * 10**6 + b","), "digits"),
    "an integer above 64 bits": (edited(b'"args":[', b'"args":[9223372036854775808,'), "an argument"),
    "nested a hundred thousand deep": (edited(b'"args":[', b'"args":[' + b"[" * 10**5), "nested|not JSON"),
    "objects nested deep": (edited(b'"args":[', b'"args":[' + b'{"a":' * 10**5), "nested|not JSON"),
    "a list in a list in a list": (spoilt(put("nodes", 0, "args", [[[1]]])), "an argument"),
    "a name that is a lone surrogate": (spoilt(put("inputs", 0, "name", "\ud800")), "printable"),
    "a name with NUL": (spoilt(put("inputs", 0, "name", "a\0b")), "printable"),
    "a name that turns text around": (spoilt(put("inputs", 0, "name", "a\u202eb")), "printable"),
    "a module with an escape sequence": (spoilt(put("nodes", 0, "module", "\x1b[2J")), "printable"),
    "a module of a megabyte": (spoilt(put("nodes", 0, "module", "m" * 10**6)), "at most"),
    "HTML that is too long in line": (spoilt(put("nodes", 0, "line", "<script>" * 100)), "at most"),
    "a weight called __proto__": (spoilt(put("weights", 0, "name", "__proto__")), "weights"),
    "a weight called __metadata__": (spoilt(put("weights", 0, "name", "__metadata__")), "weights"),
    "a weight that is a path": (spoilt(put("weights", 0, "name", "../../etc/passwd")), "weights"),
    "a weight with a space": (spoilt(put("weights", 0, "name", "a b")), "weights"),
    "a weight twice": (spoilt(put("weights", 1, "name", "w")), "twice"),
    "an input twice": (spoilt(put("inputs", 1, "name", "numbers")), "twice"),
    "an input with the name of a node": (spoilt(put("inputs", 1, "name", "n0")), "name of an input"),
    "a node with another's name": (spoilt(put("nodes", 1, "name", "n0"), LINEAR, LINEAR), "named by its place"),
    "a node with the name of an input": (spoilt(put("nodes", 0, "name", "numbers")), "named by its place"),
    "a node that reads itself": (spoilt(put("nodes", 0, "args", 0, ref("n0"))), "not there before it"),
    "a node that reads a later one": (
        spoilt(put("nodes", 0, "args", 0, ref("n1")), LINEAR, LINEAR), "not there before it",
    ),
    "two nodes in a circle": (
        packed(document(("aten.relu.default", [ref("n1")]), ("aten.relu.default", [ref("n0")]))),
        "not there before it",
    ),
    "a reference to nothing": (spoilt(put("nodes", 0, "args", 0, ref("__builtins__"))), "not there before it"),
    "a weight taken for an input": (spoilt(put("nodes", 0, "args", 0, ref("w"))), "not there before it"),
    "an input taken for a weight": (spoilt(put("nodes", 0, "args", 1, weight("numbers"))), "not there"),
    "a reference in two ways": (spoilt(put("nodes", 0, "args", 0, {"of": "numbers", "weight": "w"})), "an argument"),
    "a reference that is a list": (spoilt(put("nodes", 0, "args", 0, {"of": ["numbers"]})), "an argument"),
    "an object as an argument": (spoilt(put("nodes", 0, "args", 0, {"__class__": "x"})), "an argument"),
    "an operator that is no name": (spoilt(put("nodes", 0, "op", "__import__('os').system('id')")), "operator"),
    "an operator that is a list": (spoilt(put("nodes", 0, "op", ["aten.relu.default"])), "operator"),
    "a keyword that is no name": (spoilt(put("nodes", 0, "kwargs", {"__class__": 1, "A": 2})), "kwargs"),
    "a hundred arguments": (spoilt(put("nodes", 0, "args", [0] * 100)), "not a list of at most"),
    "a list of a million": (spoilt(put("nodes", 0, "args", [[0] * 10**6])), "an argument"),
    "an output that is a list": (spoilt(put("output", ["n0"])), "output"),
    "an output that is a weight": (spoilt(put("output", "w")), "output"),
    "a batch of two": (spoilt(put("inputs", 0, "shape", [2, 4])), "batch of one"),
    "an input without a batch": (spoilt(put("inputs", 0, "shape", [])), "batch of one"),
    "a size that is true": (spoilt(put("inputs", 0, "shape", [True, 4])), "shape|batch of one|canonical"),
    "a size of 4.0": (spoilt(put("inputs", 0, "shape", [1, 4.0])), "shape"),
    "a size below nothing": (spoilt(put("inputs", 0, "shape", [1, -4])), "shape"),
    "a size past 31 bits": (spoilt(put("inputs", 0, "shape", [1, 2**31])), "shape"),
    "a shape of a hundred sizes": (spoilt(put("inputs", 0, "shape", [1] * 100)), "not a list"),
    "an input of float64": (spoilt(put("inputs", 0, "dtype", "float64")), "dtype"),
    "an input of complex64": (spoilt(put("inputs", 0, "dtype", "complex64")), "dtype"),
    "a weight of int32": (spoilt(put("weights", 0, "dtype", "int32")), "dtype"),
    "a dtype that is an object": (spoilt(put("weights", 0, "dtype", {"a": 1})), "dtype"),
    "trainable by a word": (spoilt(put("weights", 0, "trainable", "yes")), "trainable"),
    "trainable integers": (spoilt(put("weights", 0, "dtype", "int64")), "trainable"),
    "overlapping weights": (offsets("b", 0, 4), "header of the weights"),
    "offsets past the end": (offsets("b", 16, 2**40), "header of the weights"),
    "offsets that run backwards": (offsets("b", 20, 16), "header of the weights"),
    "offsets below nothing": (offsets("w", -16, 0), "header of the weights"),
    "a weight too many": (
        packed(document(LINEAR), header=lambda s: s | {"x": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}),
        "header of the weights",
    ),
    "a weight too few": (packed(document(LINEAR), header=lambda s: {"w": s["w"]}), "header of the weights"),
    "weights in another order": (
        packed(document(LINEAR), header=lambda s: dict(reversed(s.items()))), "header of the weights",
    ),
    "metadata beside the weights": (
        packed(document(LINEAR), header=lambda s: {"__metadata__": {"a": "b"}} | s), "header of the weights",
    ),
    "another dtype in the header": (
        packed(document(LINEAR), header=lambda s: s | {"b": s["b"] | {"dtype": "I32"}}), "header of the weights",
    ),
    "another shape in the header": (
        packed(document(LINEAR), header=lambda s: s | {"w": s["w"] | {"shape": [4, 1]}}), "header of the weights",
    ),
    "a header said to be 2**63 long": (
        text(document(LINEAR)) + b"\n" + struct.pack("<Q", 2**63) + tensors(document(LINEAR))[8:],
        "header of the weights",
    ),
    "a header of spaces": (
        text(document(LINEAR)) + b"\n" + struct.pack("<Q", 10**6) + b" " * 10**6, "header of the weights",
    ),
    "weights that are NaN": (packed(document(LINEAR), fill=b"\xff"), "not finite"),
    "weights that are infinite": (packed(document(LINEAR), fill=b"\0\0\x80\x7f"), "not finite"),
    "a truth value of 2": (
        packed(document(("aten.relu.default", [weight("b")]), weights=[TRUTH]), fill=b"\2"),
        "neither 0",
    ),
    "a weight of 2**62 elements": (unfilled([2**31 - 1, 2**31 - 1]), "header of the weights|as many bytes"),
    "a weight of 2**248 elements": (unfilled([2**31 - 1] * 8), "header of the weights|as many bytes"),
    "a weight of nothing times 2**217": (unfilled([0] + [2**31 - 1] * 7), "header of the weights|shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_hostile_document_is_refused_by_reading_alone(name):
    data, expected = DOCUMENTS[name]
    began = time.monotonic()
    with pytest.raises(Invalid, match=expected) as caught:
        RecordGraph.from_bytes(data)
    assert time.monotonic() - began < SECONDS
    assert_plain(str(caught.value))


def assert_plain(message):
    """Short, printable, and none of the words in which Python itself complains."""
    assert len(message) < 1_000
    assert message.replace("\n", "").isprintable()
    assert not any(word in message for word in ("Traceback", "Error:", "object at 0x", "NoneType"))


def test_the_good_document_reads():
    assert RecordGraph.from_bytes(GOOD).to_bytes() == GOOD
