"""Which arguments may an operator have? A small language, so that the table of operators can be read.

A signature is a list of parameters, each a kind and a name: `float self, places dim, flag keepdim=`.
`=` after the name: may be left out. `?` after the kind: may be null. `*`: given by name from here on.
`|` between two signatures: either fits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from sandbox.submissions.graph.reading import MAX_SIZE
from sandbox.submissions.graph.terms import Argument, Dtype, Ref, WeightRef

DtypeOf = Callable[[Ref | WeightRef], str]
"""Which dtype a value has (`float32`, `int64`, `bool`); empty for something that is no single tensor."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operator. `kind` is a key of `KINDS` or `one of a b`."""

    name: str
    kind: str
    required: bool
    nullable: bool
    keyword: bool


@cache
def parameters(signature: str) -> tuple[Parameter, ...]:
    """The parameters of one signature without `|`; raises ValueError for one that is not well formed."""
    found, keyword = [], False
    for part in filter(None, map(str.strip, signature.split(","))):
        if part == "*":
            keyword = True
            continue
        match = re.fullmatch(r"(one of [a-z ]+|[a-z]+)(\??) ([a-z_0-9]+)(=?)", part)
        if not match or not (match[1] in KINDS or match[1].startswith("one of ")):
            raise ValueError(f"not a parameter: {part!r}")
        found.append(Parameter(match[3], match[1], not match[4], bool(match[2]), keyword))
    return tuple(found)


def misfit(
    signature: str, args: tuple[Argument, ...], kwargs: Mapping[str, Argument], dtype_of: DtypeOf
) -> str:
    """Why these arguments do not fit, in a few words; empty when they fit. Quotes no argument."""
    reasons = [_misfit(parameters(one), args, kwargs, dtype_of) for one in signature.split("|")]
    return "" if "" in reasons else reasons[0]


def _misfit(
    wanted: tuple[Parameter, ...],
    args: tuple[Argument, ...],
    kwargs: Mapping[str, Argument],
    dtype_of: DtypeOf,
) -> str:
    positional = [p for p in wanted if not p.keyword]
    if len(args) > len(positional):
        return f"has {len(args)} arguments and may have {len(positional)}"
    given = dict(zip((p.name for p in positional), args, strict=False))
    twice = given.keys() & kwargs.keys()
    if twice:
        return f"its argument {min(twice)} is given twice"
    given |= kwargs
    unknown = given.keys() - {p.name for p in wanted}
    if unknown:
        return f"it may not have the argument {min(unknown)}"
    for parameter in wanted:
        if parameter.name not in given:
            if parameter.required:
                return f"its argument {parameter.name} is missing"
        elif not _fits(parameter, given[parameter.name], dtype_of):
            return f"its argument {parameter.name} is not {_words(parameter)}"
    return ""


def _fits(parameter: Parameter, argument: Argument, dtype_of: DtypeOf) -> bool:
    if argument is None:
        return parameter.nullable
    if parameter.kind.startswith("one of "):
        return isinstance(argument, str) and argument in parameter.kind.split()[2:]
    return KINDS[parameter.kind][0](argument, dtype_of)


def _words(parameter: Parameter) -> str:
    words = parameter.kind if parameter.kind.startswith("one of ") else KINDS[parameter.kind][1]
    return f"{words}, or nothing" if parameter.nullable else words


def _tensor(*dtypes: str) -> Callable[[Argument, DtypeOf], bool]:
    return lambda a, dtype_of: isinstance(a, Ref | WeightRef) and dtype_of(a) in dtypes


def _tensors(*dtypes: str, holes: bool = False) -> Callable[[Argument, DtypeOf], bool]:
    one = _tensor(*dtypes)
    return lambda a, dtype_of: (
        isinstance(a, tuple) and bool(a) and all((holes and i is None) or one(i, dtype_of) for i in a)
    )


def _int(low: int, high: int) -> Callable[[Argument, DtypeOf], bool]:
    return lambda a, dtype_of: type(a) is int and low <= a <= high


def _ints(low: int, high: int) -> Callable[[Argument, DtypeOf], bool]:
    return lambda a, dtype_of: (
        isinstance(a, tuple) and len(a) <= 64 and all(type(i) is int and low <= i <= high for i in a)
    )


def _number(a: Argument, dtype_of: DtypeOf) -> bool:
    return isinstance(a, int | float)


def _either(*fits: Callable[[Argument, DtypeOf], bool]) -> Callable[[Argument, DtypeOf], bool]:
    return lambda a, dtype_of: any(one(a, dtype_of) for one in fits)


_ANY = ("float32", "int64", "bool")
_FAR = 2**63 - 1

KINDS: dict[str, tuple[Callable[[Argument, DtypeOf], bool], str]] = {
    "float": (_tensor("float32"), "a float32 tensor"),
    "whole": (_tensor("int64"), "an int64 tensor"),
    "truth": (_tensor("bool"), "a bool tensor"),
    "any": (_tensor(*_ANY), "a tensor"),
    "logic": (_tensor("bool", "int64"), "a bool or int64 tensor"),
    "real": (_either(_tensor("float32"), _number), "a float32 tensor or a number"),
    "value": (_either(_tensor(*_ANY), _number), "a tensor or a number"),
    "floats": (_tensors("float32"), "a list of float32 tensors"),
    "anys": (_tensors(*_ANY), "a list of tensors"),
    "indices": (_tensors("int64", holes=True), "a list of int64 tensors and nulls"),
    "number": (_number, "a number"),
    "factor": (lambda a, _: isinstance(a, int | float) and not isinstance(a, bool), "a number"),
    "share": (lambda a, _: isinstance(a, int | float) and 0 <= a <= 1, "a number from 0 to 1"),
    "positive": (
        lambda a, _: isinstance(a, int | float) and 0 < a < math.inf,
        "a positive number",
    ),
    "place": (_int(-_FAR - 1, _FAR), "a whole number"),
    "places": (_ints(-_FAR - 1, _FAR), "a list of whole numbers"),
    "count": (_int(0, MAX_SIZE), "a whole number from 0 on"),
    "counts": (_ints(0, MAX_SIZE), "a list of whole numbers from 0 on"),
    "size": (_int(1, MAX_SIZE), "a whole number from 1 on"),
    "sizes": (_ints(1, MAX_SIZE), "a list of whole numbers from 1 on"),
    "flag": (lambda a, _: isinstance(a, bool), "true or false"),
    "yes": (lambda a, _: a is True, "true"),
    "no": (lambda a, _: a is False, "false"),
    "null": (lambda a, _: False, "null"),
    "dtype": (lambda a, _: isinstance(a, Dtype), "a dtype"),
}
"""Kind of parameter -> which arguments are of it, and its name in a sentence."""
