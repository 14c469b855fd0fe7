"""A unit is on one side of the split, for ever, whatever else is in the file."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.catalogue.split import held_out, split_key, unit_is_held_out
from sandbox.records import Wave

units = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=60)
keys = st.binary(min_size=32, max_size=32)
shares = st.floats(0.01, 0.99)


def sides(listed: list[str], key: bytes, share: float) -> dict[str, set[bool]]:
    mask = held_out(pa.chunked_array([listed], pa.string()), key, share)
    return {unit: {bool(m) for u, m in zip(listed, mask, strict=True) if u == unit} for unit in listed}


@settings(max_examples=50, deadline=None)
@given(units, keys, shares)
def test_a_unit_is_never_on_both_sides(listed: list[str], key: bytes, share: float) -> None:
    assert all(len(found) == 1 for found in sides(listed * 3, key, share).values())


@settings(max_examples=50, deadline=None)
@given(units, units, keys, shares, st.randoms())
def test_a_unit_never_changes_sides_when_rows_are_added_removed_or_reordered(
    listed: list[str], others: list[str], key: bytes, share: float, random: object
) -> None:
    before = sides(listed, key, share)
    shuffled = [*listed, *others]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    after = sides(shuffled, key, share)
    assert all(after[unit] == before[unit] for unit in listed)
    assert sides(listed[:1], key, share)[listed[0]] == before[listed[0]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40), keys, shares)
def test_a_number_and_its_text_name_the_same_unit(numbers: list[int], key: bytes, share: float) -> None:
    as_text = pa.array([str(number) for number in numbers])
    assert np.array_equal(held_out(pa.array(numbers), key, share), held_out(as_text, key, share))
    assert np.array_equal(held_out(as_text.dictionary_encode(), key, share), held_out(as_text, key, share))


@settings(max_examples=50, deadline=None)
@given(keys, st.floats(0.05, 0.9), st.floats(0.0, 0.09))
def test_a_larger_share_only_adds_units_to_the_held_out_side(key: bytes, share: float, more: float) -> None:
    listed = pa.array([f"u{i}" for i in range(50)])
    assert np.all(held_out(listed, key, share) <= held_out(listed, key, share + more))


@settings(max_examples=10, deadline=None)
@given(keys, shares)
def test_about_the_declared_share_is_held_out(key: bytes, share: float) -> None:
    n = 5000
    found = held_out(pa.array([f"u{i}" for i in range(n)]), key, share).mean()
    assert abs(found - share) < 6 * (share * (1 - share) / n) ** 0.5


def test_the_side_depends_on_the_key_and_is_written_down() -> None:
    listed = [f"u{i}" for i in range(64)]
    assert [unit_is_held_out(u, b"a" * 32, 0.5) for u in listed] != [
        unit_is_held_out(u, b"b" * 32, 0.5) for u in listed
    ]
    # blake2b(key=32 x "a", digest_size=8, person="ndl split") of u0 to u9, below one half: fixed for ever
    known = [unit_is_held_out(u, b"a" * 32, 0.5) for u in listed[:10]]
    assert known == KNOWN


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = split_key(tmp_path, "jobs")
    assert len(key) == 32
    assert split_key(tmp_path, "jobs") == key
    assert split_key(tmp_path, "homes") != key
    assert stat.S_IMODE((tmp_path / "secrets" / "jobs.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert sorted(file.name for file in (tmp_path / "secrets").iterdir()) == ["homes.key", "jobs.key"]


def test_a_damaged_key_is_never_replaced_in_silence(tmp_path: Path) -> None:
    split_key(tmp_path, "jobs")
    (tmp_path / "secrets" / "jobs.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="restore it"):
        split_key(tmp_path, "jobs")


KNOWN = [True, False, True, True, False, True, True, True, True, True]


def test_a_person_whom_two_datasets_share_is_on_the_same_side_in_both(tmp_path):
    from sandbox.catalogue import intake
    from sandbox.catalogue.people import PeoplePlan, generate_linked
    from sandbox.roles import Person, Role
    from sandbox.settings import load
    from sandbox.storage import Store

    settings = load(None, {"NDL_STORAGE__FOLDER": str(tmp_path / "var")})
    store = Store(f"sqlite:///{tmp_path}/ndl.db")
    dana = Person("dana", frozenset({Role.CUSTODIAN}))
    sides = []
    for folder in generate_linked(tmp_path / "linked", PeoplePlan(rows=1000)):
        dataset = intake.add_dataset(store, settings, folder, dana)
        unit = intake.card_of(dataset).unit
        wave = next(w for w in store.all(Wave, dataset=dataset.name))
        training = set(intake.read_training(dataset)[unit].to_pylist())
        sides.append((training, set(intake.read_wave(wave)[unit].to_pylist())))
    (training_one, held_one), (training_two, held_two) = sides
    assert training_one & training_two
    assert held_one & held_two
    assert not training_one & held_two
    assert not training_two & held_one
