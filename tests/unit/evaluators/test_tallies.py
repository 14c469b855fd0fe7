"""A tally is counted once and kept; a killed count goes on, a longer file costs its new row groups only."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evaluators import scoring, tallies
from evaluators.counting import EVERYDAY, Builder
from evaluators.tallies import Tallies
from sandbox.catalogue import document


@pytest.fixture
def counted(monkeypatch):
    """Row groups of 500 are kept too; says which were counted."""
    monkeypatch.setattr(tallies, "KEPT_ROWS", 1)
    seen, real = [], scoring.read

    def read(path, encoding, groups=None):
        seen.append(groups)
        return real(path, encoding, groups)

    monkeypatch.setattr(scoring, "read", read)
    return seen


def test_a_wave_of_row_groups_gives_the_tally_of_the_whole_and_is_counted_once(
    world, store, settings, scorer, people, counted
):
    wave, model = world.wave("w1", people(1700)), world.model()
    source = Tallies(store, settings, lambda *_: scorer)
    found = source.of(model, wave)
    assert counted == [[0], [1], [2], [3]]
    encoding = source.encoding("falls", "fell")
    assert found.to_bytes() == scoring.tally_wave(Path(wave.path), scorer, encoding).to_bytes()
    assert (
        Tallies(store, settings, lambda *_: pytest.fail("asked")).of(model, wave).to_bytes()
        == found.to_bytes()
    )
    assert counted[4:] == [None]  # the whole, above


def test_a_longer_file_costs_its_new_row_group_only(
    world, store, settings, scorer, people, counted, tmp_path
):
    table, model = people(2000), world.model()
    Tallies(store, settings, lambda *_: scorer).of(model, world.wave("w1", table.slice(0, 1500)))
    counted.clear()
    longer = Tallies(store, settings, lambda *_: scorer).of(model, world.wave("w2", table))
    assert counted == [[3]]
    assert longer["scores"].total == 2000


def test_a_killed_count_goes_on_where_it_was(world, store, settings, scorer, people, counted):
    wave, model = world.wave("w1", people(1500)), world.model()

    class Dies:
        def __init__(self):
            self.left = 2

        def probabilities(self, features):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return scorer.probabilities(features)

    dying = Dies()
    with pytest.raises(KeyboardInterrupt):
        Tallies(store, settings, lambda *_: dying).of(model, wave)
    counted.clear()
    assert Tallies(store, settings, lambda *_: scorer).of(model, wave)["score"].total == 1500
    assert counted == [[2]]


def test_another_builder_version_source_model_or_wave_is_counted_for_itself(
    world, store, settings, scorer, people
):
    wave, model = world.wave("w1", people(300)), world.model()
    source = Tallies(store, settings, lambda *_: scorer)

    def ages(batch):
        return scoring.Tally({"input:age": scoring.count(batch)["input:age"]})

    own = Builder("ages", 1, ages)
    assert source.of(model, wave, own).tables.keys() == {"input:age"}
    keys = {EVERYDAY.key, own.key, replace(own, version=2).key, Builder("ages", 1, scoring.count).key}
    assert len(keys) == 4
    with store.reading() as view:
        before = view.tally(f"{tallies.tally_key(model, wave, source.encoding('falls', 'fell'))}|{own.key}")
    assert before is not None
    calls = scorer.calls
    source.of(replace(model, digest="d2"), wave, own)
    assert scorer.calls == calls + 1


def test_a_wave_that_is_not_what_was_accepted_is_trouble(world, store, settings, scorer, people, tmp_path):
    wave, model = world.wave("w1", people(300)), world.model()
    shutil.copy(world.wave("w2", people(300, seed=2)).path, wave.path)
    assert hashlib.sha256(Path(wave.path).read_bytes()).hexdigest() != wave.digest
    with pytest.raises(tallies.Trouble, match="not the one that was accepted"):
        Tallies(store, settings, lambda *_: scorer).of(model, wave)


def test_a_settled_file_is_looked_through_once_and_again_when_it_was_touched(world, people, monkeypatch):
    wave = world.wave("w1", people(300))
    path, real, read = Path(wave.path), document.sha256_of, []

    def sha256_of(path):
        read.append(path)
        return real(path)

    monkeypatch.setattr(document, "sha256_of", sha256_of)
    tallies.unchanged(wave)
    tallies.unchanged(wave)
    assert len(read) == 2  # of a file that has just come nothing is remembered
    monkeypatch.setattr(tallies, "_SETTLED_SECONDS", -1.0)
    for _ in range(3):
        tallies.unchanged(wave)
    assert len(read) == 3
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(tallies.Trouble, match="not the one that was accepted"):
        tallies.unchanged(wave)


def test_the_digest_of_a_row_group_is_of_its_records(tmp_path, people, monkeypatch):
    monkeypatch.setattr(tallies, "KEPT_ROWS", 1)
    table, digests = people(1000), {}
    for name, part in (("a", table), ("b", table.slice(0, 750)), ("c", people(1000, seed=2))):
        pq.write_table(part, tmp_path / name, row_group_size=250)
        file = tmp_path / name
        digests[name] = [tallies.group_digest(file, group) for group in tallies.row_groups(file)]
    assert digests["a"][:3] == digests["b"]
    assert len({*digests["a"], *digests["c"]}) == 8
