"""Leaves the exporter out: writes a graph of its own to the descriptor of the artifact, and ends the process.

Its graph mixes along the first dimension, where other frameworks have the batch.
"""

import json
import os
import struct


def node(at, op, *arguments):
    where = {"module": "m", "kind": "K", "line": "model.py:1"}
    return {"name": f"n{at}", "op": op, "args": arguments, "kwargs": {}, **where}


def packed(of):
    return json.dumps(of, separators=(",", ":")).encode()


SHAPES = {"w": [1, 6], "b": [1]}
DOCUMENT = packed(
    {
        "format": "ndl-record-graph/1",
        "inputs": [{"name": "numbers", "dtype": "float32", "shape": [1, 6]}],
        "weights": [
            {"name": n, "dtype": "float32", "shape": s, "trainable": True} for n, s in SHAPES.items()
        ],
        "nodes": [
            node(0, "aten.linear.default", {"of": "numbers"}, {"weight": "w"}, {"weight": "b"}),
            node(1, "aten.sum.dim_IntList", {"of": "n0"}, [0], True),
            node(2, "aten.roll.default", {"of": "n0"}, [1], [0]),
            node(3, "aten.add.Tensor", {"of": "n1"}, {"of": "n2"}),
        ],
        "output": "n3",
    }
)
HEADER = packed(
    {
        "w": {"dtype": "F32", "shape": [1, 6], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]},
    }
)
HEADER += b" " * (-len(HEADER) % 8)
WEIGHTS = b"\n" + struct.pack("<Q", len(HEADER)) + HEADER + struct.pack("<7f", *[0.1] * 7)

os.write(3, DOCUMENT + WEIGHTS)
os._exit(0)
