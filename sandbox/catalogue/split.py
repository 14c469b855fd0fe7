"""On which side of the split does a unit lie? A keyed hash says so, once and for ever.

blake2b of the unit's name under the population's secret key: the side depends on nothing else, so a
unit never changes sides when rows are added, removed or reordered, a person whom two datasets share
is on the same side in both, and nobody without the key can tell, or steer, which side a person is on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.catalogue import vectors

_PURPOSE = b"ndl split"


def held_out(units: pa.ChunkedArray | pa.Array, key: bytes, share: float) -> NDArray[np.bool_]:
    """For each row whether its unit is held out; about `share` of the units are.

    A whole number and its decimal text name the same unit.
    """
    encoded = vectors.words(units).dictionary_encode()
    sides = np.fromiter((unit_is_held_out(unit, key, share) for unit in encoded.dictionary.to_pylist()), bool)
    return sides[encoded.indices.to_numpy(zero_copy_only=False)] if len(sides) else np.zeros(len(units), bool)


def unit_is_held_out(unit: str, key: bytes, share: float) -> bool:
    """Whether this one unit is held out."""
    digest = hashlib.blake2b(unit.encode(), digest_size=8, key=key, person=_PURPOSE).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def split_key(folder: Path, population: str) -> bytes:
    """The population's key in `<folder>/secrets`, made on first use and readable by its owner only."""
    secret = folder / "secrets"
    secret.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = secret / f"{population}.key"
    if file.exists():
        return _whole(file)
    descriptor, fresh = tempfile.mkstemp(dir=secret)  # mode 0600
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(secrets.token_bytes(32))
        stream.flush()
        os.fsync(stream.fileno())
    with contextlib.suppress(FileExistsError):  # another process was first: its key is the key
        os.link(fresh, file)
    os.unlink(fresh)
    return _whole(file)


def _whole(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != 32:
        raise ValueError(f"{file} does not hold a key of 32 bytes: restore it, do not make another")
    return key
