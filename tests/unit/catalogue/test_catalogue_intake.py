"""Datasets and waves come in whole or not at all, once, by the right person, with their budgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.api import Sandbox
from sandbox.catalogue import intake
from sandbox.catalogue.card import Card
from sandbox.catalogue.dummy import write_dummy
from sandbox.errors import Invalid, NDLError, NotFound, Quarantined, Refused
from sandbox.lifecycle import WaveState
from sandbox.privacy import ledger
from sandbox.records import Dataset, Wave
from sandbox.roles import Person, Role

FEBRUARY = date(2024, 2, 29)


def bring(box: Sandbox, place: Path) -> Dataset:
    return intake.add_dataset(box.store, box.settings, place, box.person)


def deliver(box: Sandbox, file: Path, name: str = "second", day: date = FEBRUARY) -> Wave:
    return intake.add_wave(box.store, box.settings, "jobs", file, name, day, box.person)


def units(table: pa.Table) -> set[str]:
    return set(table.column("person").to_pylist())


@pytest.fixture
def place(section: dict[str, Any], folder: Callable[..., Path]) -> Path:
    return folder(section)


def test_a_dataset_is_split_once_and_both_sides_are_kept(box: Sandbox, place: Path) -> None:
    dataset = bring(box, place)
    first = box.store.get(Wave, "jobs/first")
    training, held_out = intake.read_training(dataset), intake.read_wave(first)
    assert units(training) | units(held_out) == {f"t{i}" for i in range(200)}
    assert not units(training) & units(held_out)
    assert (dataset.training_rows, first.rows) == (training.num_rows, held_out.num_rows)
    assert 30 <= first.rows <= 90
    assert intake.card_of(dataset) == intake.card_of(box.store.get(Dataset, "jobs"))


def test_budgets_open_with_what_they_protect(box: Sandbox, place: Path) -> None:
    bring(box, place)
    deliver(box, place / "w.parquet")
    opened = {status.pool: (status.epsilon, status.delta) for status in ledger.statuses(box.store)}
    assert opened == {
        "training:adults": (8, 1e-6), "held-out:adults/first": (3, 1e-6), "held-out:adults/second": (3, 1e-6),
    }  # fmt: skip


def test_the_same_dataset_again_is_the_stored_one(box: Sandbox, place: Path) -> None:
    dataset = bring(box, place)
    lines = len(box.store.audit_lines())
    assert bring(box, place) == dataset
    assert len(box.store.audit_lines()) == lines


def test_another_dataset_of_the_same_name_is_refused(
    box: Sandbox, place: Path, section: dict[str, Any], folder: Callable[..., Path]
) -> None:
    bring(box, place)
    section["columns"]["age"]["maximum"] = 130
    with pytest.raises(Refused, match="with another card"):
        bring(box, folder(section, "other"))


def test_only_a_custodian_brings_in_data(box: Sandbox, place: Path) -> None:
    developer = Person("dev", frozenset({Role.DEVELOPER}))
    with pytest.raises(Refused, match="Only a custodian"):
        intake.add_dataset(box.store, box.settings, place, developer)
    bring(box, place)
    with pytest.raises(Refused, match="Only a custodian"):
        intake.add_wave(box.store, box.settings, "jobs", place / "w.parquet", "x", FEBRUARY, developer)


def test_a_dataset_that_fails_half_way_leaves_nothing_and_can_come_again(
    box: Sandbox, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "open_budgets", lambda *_: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError):
            bring(box, place)
    assert box.store.all(Dataset) == []
    assert box.store.all(Wave) == []
    dataset = bring(box, place)
    assert intake.read_training(dataset).num_rows == dataset.training_rows
    assert list((box.folder / "incoming").iterdir()) == []


def test_two_who_bring_in_the_same_dataset_at_once_get_the_same_one(box: Sandbox, place: Path) -> None:
    store = box.store  # opened before the threads start
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: bring(box, place), range(2)))
    assert both[0] == both[1] == store.get(Dataset, "jobs")
    assert intake.read_training(both[0]).num_rows == both[0].training_rows
    assert sum(line.action == "dataset added" for line in store.audit_lines()) == 1


def test_a_side_without_units_is_refused(
    box: Sandbox, section: dict[str, Any], card: Card, records: Callable[..., pa.Table],
    folder: Callable[..., Path],
) -> None:  # fmt: skip
    section["training"]["held_out_share"] = 1e-9
    with pytest.raises(Invalid, match="held-out: no unit is on this side"):
        bring(box, folder(section, training=records(card, 5, "t")))


def test_a_dummy_file_is_never_training_data(box: Sandbox, place: Path, card: Card) -> None:
    write_dummy(card, 200, place).replace(place / "t.parquet")
    document = json.loads((place / "card.json").read_text())
    from sandbox.catalogue.document import sha256_of

    document["distribution"][0]["sha256"] = sha256_of(place / "t.parquet")
    (place / "card.json").write_text(json.dumps(document))
    with pytest.raises(Invalid, match="marked as dummy data"):
        bring(box, place)


def test_an_accepted_wave_is_kept_as_it_came_and_audited(box: Sandbox, place: Path) -> None:
    bring(box, place)
    wave = deliver(box, place / "w.parquet")
    assert (wave.state, wave.rows, wave.units) == (WaveState.ACCEPTED, 50, 50)
    assert intake.read_wave(wave).equals(pq.read_table(place / "w.parquet"))
    assert box.store.audit_lines()[-2].action == "wave accepted"
    assert deliver(box, place / "w.parquet") == wave


def test_an_accepted_wave_never_changes(box: Sandbox, place: Path) -> None:
    bring(box, place)
    deliver(box, place / "w.parquet")
    with pytest.raises(Refused, match="with another day"):
        deliver(box, place / "w.parquet", day=date(2024, 3, 1))
    pq.write_table(pq.read_table(place / "w.parquet").slice(1), place / "w.parquet")
    with pytest.raises(Refused, match="with other records"):
        deliver(box, place / "w.parquet")


def test_a_bad_wave_is_put_aside_whole_with_its_file_and_report(box: Sandbox, place: Path) -> None:
    bring(box, place)
    bad = spoilt(place)
    with pytest.raises(Quarantined, match="town: a category that the card does not list in 50 records"):
        deliver(box, bad)
    wave = box.store.get(Wave, "jobs/second")
    assert wave.state is WaveState.QUARANTINED
    assert Path(wave.path).read_bytes() == bad.read_bytes()
    assert "quarantine" in wave.path
    assert "Atlantis" not in json.dumps(wave.report)
    assert "held-out:adults/second" not in {status.pool for status in ledger.statuses(box.store)}
    with pytest.raises(Refused, match="in quarantine"):
        intake.read_wave(wave)


def test_a_bad_wave_delivered_again_says_the_same_and_stores_nothing_new(box: Sandbox, place: Path) -> None:
    bring(box, place)
    bad = spoilt(place)
    for _ in range(2):
        with pytest.raises(Quarantined, match="put aside whole"):
            deliver(box, bad)
    assert sum(line.action == "wave quarantined" for line in box.store.audit_lines()) == 1


def test_the_mended_delivery_takes_the_place_of_the_bad_one(box: Sandbox, place: Path) -> None:
    bring(box, place)
    with pytest.raises(Quarantined):
        deliver(box, spoilt(place))
    kept = box.store.get(Wave, "jobs/second").path
    assert deliver(box, place / "w.parquet").state is WaveState.ACCEPTED
    assert Path(kept).is_file()
    assert [line.action for line in box.store.audit_lines() if line.subject == "jobs/second"] == [
        "wave quarantined", "wave accepted",
    ]  # fmt: skip


def test_the_same_file_is_no_second_wave(box: Sandbox, place: Path) -> None:
    bring(box, place)
    deliver(box, place / "w.parquet")
    with pytest.raises(Quarantined, match="the same as that of the wave second"):
        deliver(box, place / "w.parquet", "third")


def test_units_that_do_not_recur_are_not_counted_twice(box: Sandbox, place: Path) -> None:
    bring(box, place)
    both = pa.concat_tables(
        [pq.read_table(place / "w.parquet"), pq.read_table(place / "t.parquet").slice(0, 3)]
    )
    pq.write_table(both, place / "again.parquet")
    with pytest.raises(Quarantined, match="already has in 3 records"):
        deliver(box, place / "again.parquet")


def test_units_that_recur_stay_on_the_side_they_were_on(
    box: Sandbox, section: dict[str, Any], folder: Callable[..., Path]
) -> None:
    section |= {"recurs": True}
    place = folder(section)
    dataset = bring(box, place)
    trained_on = units(intake.read_training(dataset))
    pq.write_table(pq.read_table(place / "t.parquet").slice(0, 199), place / "later.parquet")
    wave = deliver(box, place / "later.parquet")
    assert not units(intake.read_wave(wave)) & trained_on
    [note] = [note for note in wave.report["notes"] if note["column"] == "person"]
    assert note["count"] == 199 - wave.rows > 0
    first = box.store.get(Wave, "jobs/first")
    assert units(intake.read_wave(wave)) <= units(intake.read_wave(first))


def test_a_wave_of_units_trained_on_only_is_put_aside(
    box: Sandbox, section: dict[str, Any], folder: Callable[..., Path]
) -> None:
    section |= {"recurs": True}
    place = folder(section)
    trained_on = intake.read_training(bring(box, place))
    pq.write_table(trained_on, place / "later.parquet")
    with pytest.raises(Quarantined, match="holds only units on the training side"):
        deliver(box, place / "later.parquet")


@pytest.mark.parametrize(
    ("name", "day"), [("../up", FEBRUARY), ("Second", FEBRUARY), ("x", date(2024, 1, 1))]
)
def test_an_impossible_name_or_day_is_refused(box: Sandbox, place: Path, name: str, day: date) -> None:
    bring(box, place)
    with pytest.raises(Invalid):
        deliver(box, place / "w.parquet", name, day)
    assert [wave.name for wave in box.store.all(Wave)] == ["first"]


def test_what_is_not_there_is_not_found(box: Sandbox, place: Path) -> None:
    with pytest.raises(NotFound, match="dataset"):
        deliver(box, place / "w.parquet")
    bring(box, place)
    with pytest.raises(NotFound, match="wave file"):
        deliver(box, place / "gone.parquet")


def test_a_stored_file_that_was_changed_or_lost_is_noticed(box: Sandbox, place: Path) -> None:
    dataset = bring(box, place)
    wave = deliver(box, place / "w.parquet")
    pq.write_table(intake.read_wave(wave).slice(1), wave.path)
    with pytest.raises(NDLError, match="not the one that was accepted"):
        intake.read_wave(wave)
    Path(dataset.training_path).unlink()
    with pytest.raises(NDLError, match="is gone"):
        intake.read_training(dataset)


def spoilt(place: Path) -> Path:
    """The wave's records, all in a town that the card does not know."""
    table = pq.read_table(place / "w.parquet")
    towns = pa.array(["Atlantis"] * table.num_rows)
    file = place / "spoilt.parquet"
    pq.write_table(table.set_column(table.column_names.index("town"), "town", towns), file)
    return file
