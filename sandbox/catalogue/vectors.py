"""How does one Arrow column become one numpy array, whole columns at a time?

What scoring a wave needs is taken from Arrow's buffers: its own `to_numpy` and `array` import pandas (35 MB).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from sandbox.errors import Invalid, Problem

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def reads_as(kind_of_arrow: pa.DataType, kind: str) -> bool:
    """Whether a column of this Arrow type can be read as this kind of the card."""
    t = kind_of_arrow.value_type if pt.is_dictionary(kind_of_arrow) else kind_of_arrow
    number = pt.is_integer(t) or pt.is_floating(t) or pt.is_decimal(t)
    words = pt.is_string(t) or pt.is_large_string(t)
    fits = {
        "number": number,
        "boolean": pt.is_boolean(t) or number,
        "category": words or pt.is_integer(t) or pt.is_boolean(t) or pt.is_floating(t),
        "identifier": words or pt.is_integer(t),
        "date": pt.is_date(t) or pt.is_timestamp(t),
        "text": words or pt.is_binary(t) or pt.is_large_binary(t),
        "image": _is_list_of_numbers(t),
        "sequence": _is_list_of_numbers(t),
    }
    return bool(pt.is_null(t) or fits[kind])


def plain(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array, dictionaries written out."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pt.is_dictionary(array.type) else array


def numeric(values: pa.ChunkedArray, kind: str) -> Floats:
    """A number, boolean (0 or 1) or date (days since 1970) column; NaN where missing."""
    return {"number": numbers, "boolean": truths, "date": days}[kind](values)


def numbers(values: pa.ChunkedArray) -> Floats:
    """Numbers as floats, not to be written to; NaN where missing."""
    column = plain(values)
    if pt.is_null(column.type):
        return np.full(len(column), np.nan)
    made = _values(pc.cast(column, pa.float64(), safe=False), np.float64)
    return np.where(absent(column), np.nan, made) if column.null_count else made


def truths(values: pa.ChunkedArray) -> Floats:
    """1.0 for true (or a number other than 0), 0.0 for false, NaN where missing."""
    column = plain(values)
    if pt.is_boolean(column.type):
        return numbers(pc.cast(column, pa.int8()))
    raw = numbers(column)
    return np.where(np.isnan(raw), np.nan, (raw != 0).astype(np.float64))


def days(values: pa.ChunkedArray) -> Floats:
    """Days since 1970, fractions cut off; NaN where missing."""
    column = plain(values)
    if pt.is_null(column.type):
        return np.full(len(column), np.nan)
    return numbers(pc.cast(pc.cast(column, pa.date32(), safe=False), pa.int32()))


def words(values: pa.ChunkedArray) -> pa.Array:
    """A category or identifier column as strings; numbers and booleans are written out.

    A whole float is written as a whole number: pandas turns whole numbers with gaps into floats.
    """
    column = plain(values)
    if pt.is_floating(column.type):
        raw = numbers(column)
        whole = np.isfinite(raw) & (raw == np.floor(raw)) & (np.abs(raw) < 2**53)
        written = pa.array(np.where(whole, raw, 0).astype(np.int64)).cast(pa.string())
        return pc.if_else(pa.array(whole), written, pa.array(raw, from_pandas=True).cast(pa.string()))
    return column if pt.is_string(column.type) else pc.cast(column, pa.string())


def codes(values: pa.ChunkedArray, listed: tuple[str, ...]) -> NDArray[np.int64]:
    """0 for missing, 1 for a word that is not listed, 2 onwards for those listed."""
    plain = words(values)
    places = pc.index_in(plain, value_set=_listed(listed))
    codes = _values(places, np.int32).astype(np.int64) + 2
    if places.null_count:
        codes[absent(places)] = 1
        codes[absent(plain)] = 0
    return codes


def absent(values: pa.ChunkedArray | pa.Array) -> Flags:
    """Which are missing."""
    return _values(pc.cast(plain(values.is_null()), pa.uint8()), np.bool_)


def arrow(values: NDArray[Any]) -> pa.Array:
    """These numbers as an Arrow array over the same memory."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def unit_codes(values: pa.ChunkedArray) -> NDArray[np.int64]:
    """The same code for the same value, from 0 without gaps; a missing value has its own."""
    column = plain(values)
    if (
        pt.is_integer(column.type) and not column.null_count
    ):  # sorting takes a quarter of a hash table's memory
        return np.asarray(np.unique(column.to_numpy(), return_inverse=True)[1], np.int64)
    encoded = column.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)


def unit_count(values: pa.ChunkedArray) -> int:
    """How many different values there are."""
    return int(unit_codes(values).max(initial=-1)) + 1


def rectangles(values: pa.ChunkedArray, width: int) -> tuple[Floats, Flags]:
    """Lists of `width` numbers as a rows x width array, and which rows are missing.

    Raises Invalid when a list has another length. Nested lists are read row by row.
    """
    column = plain(values)
    missing = absent(column)
    result = np.full((len(column), width), np.nan)
    present = column.drop_null()
    if pt.is_null(column.type) or not len(present):
        return result, missing
    wrong = int((lengths(present) != width).sum())
    if wrong:
        what = f"{wrong} records do not hold {width} values"
        raise Invalid("This table", [Problem("lists", what, "The card says how many there are.")])
    result[~missing] = numbers(leaves(present)).reshape(len(present), width)
    return result, missing


def lengths(values: pa.Array) -> NDArray[np.int64]:
    """How many numbers each list holds, nested lists counted through. None may be missing."""
    count = _list_sizes(values)
    while _is_list(values.type.value_type):
        values = values.flatten()
        edges = np.concatenate([[0], np.cumsum(count)])
        inner = np.concatenate([[0], np.cumsum(_list_sizes(values))])
        count = np.diff(inner[edges])
    return count


def leaves(values: pa.Array) -> pa.Array:
    """Every number of these (nested) lists, in order."""
    while _is_list(values.type):
        values = values.flatten()
    return values


def text_bytes(values: pa.ChunkedArray, length: int) -> tuple[NDArray[np.int64], Flags]:
    """Bytes plus one, padded with 0 and cut at `length`; and which rows are missing."""
    column = plain(values)
    missing = absent(column)
    filled = pc.fill_null(pc.cast(column, pa.large_binary()), b"")
    offsets = np.frombuffer(filled.buffers()[1], np.int64)[filled.offset : filled.offset + len(filled) + 1]
    data = filled.buffers()[2]
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    sizes = np.minimum(np.diff(offsets), length)
    inside = np.arange(length) < sizes[:, None]
    result = np.zeros((len(filled), length), np.int64)
    result[inside] = raw[(offsets[:-1, None] + np.arange(length))[inside]].astype(np.int64) + 1
    return result, missing


def scaled(raw: NDArray[Any], low: float | Floats, high: float | Floats, scale: str = "linear") -> Floats:
    """From [low, high] to [-1, 1], clipped; NaN stays NaN. On "log", by the logarithm of 1 + distance from low."""
    distance, whole = np.clip(raw, low, high) - low, high - low
    share: Floats = np.log1p(distance) / np.log1p(whole) if scale == "log" else distance / whole
    return share * 2 - 1


def unscaled(values: NDArray[Any], low: float, high: float, scale: str = "linear") -> Floats:
    """From [-1, 1] to [low, high]: the inverse of `scaled`."""
    share = (np.asarray(values, np.float64) + 1) / 2
    if scale == "log":
        share = np.expm1(share * np.log1p(high - low)) / (high - low)
    return share * (high - low) + low


def _values(array: pa.Array, dtype: type[np.generic]) -> NDArray[Any]:
    """The numbers that an Arrow array holds, not to be written to; anything where they are missing."""
    data = array.buffers()[1]
    if not len(array) or data is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype, len(array), array.offset * np.dtype(dtype).itemsize)


@cache
def _listed(words: tuple[str, ...]) -> pa.Array:
    letters = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, letters)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(ends), pa.py_buffer(b"".join(letters)))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    listed = _is_list(kind)
    while _is_list(kind):
        kind = kind.value_type
    return bool(listed and (pt.is_integer(kind) or pt.is_floating(kind)))


def _list_sizes(values: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.list_value_length(values).to_numpy(zero_copy_only=False), np.int64)
