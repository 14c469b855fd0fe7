"""What stands in one chunk of made-up records? Drawn from (seed, subject, wave, chunk) and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.catalogue.people_drift import DRIFTS, Draft, Drift
from sandbox.catalogue.people_subjects import GROUPS, ROUTE_SHARES, SEXES, SUBJECTS, Figure, Subject

PEOPLE_PER_BLOCK = 20_000
EPOCH = date(1970, 1, 1)
BORN = (date(1985, 1, 1), date(2009, 1, 1))
GROUP_SHARES = (0.55, 0.2, 0.15, 0.1)
_PEOPLE, _RECORDS, _DRIFT = 1, 2, 3
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
Numbers = NDArray[Any]


@dataclass(frozen=True)
class Chunk:
    """Which records: their place (wave, chunk), the block of people they are of, and when they were seen."""

    wave: int
    number: int
    rows: int
    block: int
    people: int
    first_seen: date
    last_seen: date


@dataclass(frozen=True)
class People:
    """A block of people. They are the same for every subject, wave and plan with the same seed."""

    code: Numbers
    born: Numbers
    sex: Numbers
    group: Numbers
    site: Numbers
    deprivation: Numbers
    frailty: Numbers


def people(seed: int, block: int) -> People:
    """The people of one block; `frailty` stands in no file but acts on much that does."""
    rng = np.random.default_rng([seed, _PEOPLE, block])
    size = PEOPLE_PER_BLOCK
    first, last = ((day - EPOCH).days for day in BORN)
    return People(
        code=_codes(seed, np.arange(block * size, (block + 1) * size, dtype=np.uint64)),
        born=rng.integers(first, last, size, dtype=np.int32),
        sex=rng.integers(0, len(SEXES), size, dtype=np.int8),
        group=rng.choice(len(GROUPS), size, p=GROUP_SHARES).astype(np.int8),
        site=rng.random(size, dtype=np.float32),
        deprivation=rng.integers(1, 11, size, dtype=np.int8),
        frailty=rng.standard_normal(size, dtype=np.float32),
    )


def records(
    seed: int, subject: Subject, sites: int, most: int, chunk: Chunk, drifts: Iterable[Drift] = ()
) -> pa.Table:
    """One chunk; nobody has more than `most` rows in it. Only drifts whose onset has come act."""
    place = [seed, list(SUBJECTS).index(subject.name), chunk.wave, chunk.number]
    rng = np.random.default_rng([_RECORDS, *place])
    block = people(seed, chunk.block)
    who = rng.permutation(chunk.people * most)[: chunk.rows] // most
    frailty = block.frailty[who]
    draft = _draft(subject, sites, block, who, frailty, rng)
    for position, drift in enumerate(drifts):
        if drift.onset <= chunk.wave:
            DRIFTS[drift.kind](draft, drift, np.random.default_rng([_DRIFT, *place, position]))
    return _table(subject, draft, block, who, frailty, chunk, rng)


def canary_codes(seed: int, count: int) -> list[str]:
    """Identifiers of canaries: they look like anybody's and are nobody's."""
    return _words(_codes(seed, np.arange(count, dtype=np.uint64) + np.uint64(2**62))).to_pylist()  # type: ignore[no-any-return]


def schema(subject: Subject) -> pa.Schema:
    """The columns in the order of the file."""
    numbers = pa.float64()
    fields = [
        ("person_id", pa.string()), ("seen", pa.date32()), ("site", pa.string()), ("sex", pa.string()),
        ("ethnic_group", pa.string()), ("born", pa.date32()), ("deprivation", pa.int8()),
        (subject.measure.name, numbers), (subject.reading.name, numbers), (subject.route, pa.string()),
        (subject.flag, pa.bool_()), (subject.series.name, pa.list_(pa.float32())), (subject.text, pa.string()),
        (subject.amount.name, numbers), (subject.band, pa.string()), (subject.event, pa.bool_()),
    ]  # fmt: skip
    return pa.schema(fields)


def site_names(subject: Subject, sites: int) -> list[str]:
    return [f"{subject.site_title} {number:02d}" for number in range(1, sites + 1)]


def _draft(
    subject: Subject, sites: int, block: People, who: Numbers, frailty: Numbers, rng: np.random.Generator
) -> Draft:
    rows = len(who)
    return Draft(
        sites=sites,
        other_unit=subject.other_unit,
        group=block.group[who],
        site=np.minimum(block.site[who] * sites, sites - 1).astype(np.int16),
        measure=rng.standard_normal(rows, dtype=np.float32),
        reading=np.float32(0.6) * frailty + np.float32(0.8) * rng.standard_normal(rows, dtype=np.float32),
        reading_missing=rng.random(rows, dtype=np.float32) < 0.05,
        route=np.searchsorted(np.cumsum(ROUTE_SHARES[:-1]), rng.random(rows), side="right").astype(np.int8),
        offset=np.full(rows, -1.0, np.float32),
        slope=np.ones(rows, np.float32),
        factor=np.ones(rows),
    )


def _table(
    subject: Subject,
    draft: Draft,
    block: People,
    who: Numbers,
    frailty: Numbers,
    chunk: Chunk,
    rng: np.random.Generator,
) -> pa.Table:
    rows = len(who)
    noise = rng.standard_normal((rows, subject.series_length + 3), dtype=np.float32)
    flag = rng.random(rows, dtype=np.float32) < 0.25
    flag_missing = rng.random(rows, dtype=np.float32) < 0.03
    first, last = ((day - EPOCH).days for day in (chunk.first_seen, chunk.last_seen))
    seen = rng.integers(first, last + 1, rows, dtype=np.int32)
    relation = (
        0.9 * draft.reading
        + 0.6 * draft.measure
        + 0.5 * frailty
        + 0.6 * (flag - 0.25)
        + 0.08 * (block.deprivation[who] - 5.5)
        + 0.5 * (draft.route == 1)
    )
    odds = draft.offset + draft.slope * relation
    event = rng.random(rows) < 1 / (1 + np.exp(-odds))
    amount = 0.6 * (odds + 1) + 0.5 * noise[:, -1]
    band = np.searchsorted([0.0, 0.9], 0.6 * (odds + 1) + 0.5 * noise[:, -2], side="right")
    phrase = np.clip(np.rint(1.5 * (frailty + 0.7 * noise[:, -3]) + 3.5), 0, len(subject.phrases) - 1)
    series = noise[:, :-3] - np.float32(0.5) * frailty[:, None]
    columns = [
        _words(block.code[who]),
        pa.array(seen).cast(pa.date32()),
        _take(site_names(subject, draft.sites), draft.site),
        _take(SEXES, block.sex[who]),
        _take(GROUPS, draft.group),
        pa.array(block.born[who]).cast(pa.date32()),
        pa.array(block.deprivation[who]),
        pa.array(_written(subject.measure, draft.measure, draft.factor)),
        pa.array(_written(subject.reading, draft.reading), mask=draft.reading_missing),
        _take(subject.routes, draft.route),
        pa.array(flag, mask=flag_missing),
        _lists(_written(subject.series, series).astype(np.float32)),
        _take(subject.phrases, phrase),
        pa.array(_written(subject.amount, amount)),
        _take(subject.bands, band),
        pa.array(event),
    ]
    return pa.Table.from_arrays(columns, schema=schema(subject))


def _written(figure: Figure, deviations: Numbers, factor: Numbers | float = 1.0) -> Numbers:
    """Deviations as the figure is written down: in its unit, rounded, kept within its bounds."""
    values = (figure.mean + figure.spread * deviations.astype(np.float64)) * factor
    return np.clip(np.round(values, figure.decimals), figure.low, figure.high) + 0.0


def _take(words: Iterable[str], positions: Numbers) -> pa.Array:
    return pa.array(list(words), pa.string()).take(pa.array(positions.astype(np.int32)))


def _lists(values: Numbers) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))


def _codes(seed: int, numbers: Numbers) -> Numbers:
    """Different numbers give different codes (splitmix64 is a permutation of 64 bits)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _words(codes: Numbers) -> pa.Array:
    """Codes as 16 hexadecimal digits each, without a Python object a row."""
    digits = _HEX[codes.astype(">u8").view(np.uint8)]
    offsets = np.arange(0, 16 * len(codes) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(digits))
