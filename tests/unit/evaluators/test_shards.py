"""A large wave is counted in shards by whoever is free, and the whole is then found counted."""

from types import SimpleNamespace

import pytest

from evaluators import jobs, tallies
from evaluators.catalogue import evaluators_for
from evaluators.counting import builder_of
from evaluators.harness import arguments_of, pairs_due


@pytest.fixture
def large(world, settings, people, scorer, monkeypatch):
    """A wave of four row groups, each large enough here to be a shard, and a box to count it in."""
    monkeypatch.setattr(tallies, "KEPT_ROWS", 100)
    monkeypatch.setattr(jobs, "SHARD_ROWS", 800)
    quiet = [e for e in evaluators_for("binary") if not e.sample]  # the others ask again, of a few records
    monkeypatch.setattr(jobs, "evaluators_for", lambda _kind: quiet)
    monkeypatch.setattr(tallies.Tallies.__init__, "__defaults__", (lambda *_: scorer,))
    world.wave("w1", people(2000))
    world.model()
    return SimpleNamespace(store=world.store, settings=settings)


def test_every_row_group_is_in_one_shard_and_counted_once(large, scorer):
    own = tallies.Tallies(large.store, large.settings)
    (pair,) = pairs_due(large.store, own)
    shards = jobs.KIND.plan(large, arguments_of(pair))
    assert sorted(group for shard in shards for group in shard["groups"]) == [0, 1, 2, 3]
    assert len(shards) == 2
    for shard in [*shards, shards[0]]:
        jobs.KIND.shard(large, shard)
    assert scorer.calls == 4
    whole = own.of(pair.model_version, pair.wave)
    assert scorer.calls == 4
    assert whole["outcome"].counts.sum() == 2000


def test_a_small_wave_is_no_parent(large, monkeypatch):
    monkeypatch.setattr(jobs, "SHARD_ROWS", 1001)
    (pair,) = pairs_due(large.store, tallies.Tallies(large.store, large.settings))
    assert jobs.KIND.plan(large, arguments_of(pair)) == []


def test_a_shard_counts_the_tables_of_every_evaluator(large, monkeypatch):
    monkeypatch.setattr(jobs, "evaluators_for", evaluators_for)
    (pair,) = pairs_due(large.store, tallies.Tallies(large.store, large.settings))
    for shard in jobs.KIND.plan(large, arguments_of(pair)):
        jobs.KIND.shard(large, shard)
    monkeypatch.setattr(tallies.Tallies.__init__, "__defaults__", (lambda *_: pytest.fail("asked again"),))
    own = [made for e in evaluators_for("binary") if (made := builder_of(e)) and not e.beside]
    assert len(own) >= 2
    found = tallies.Tallies(large.store, large.settings).count(pair.model_version, pair.wave, own)
    assert not [made for made in found if isinstance(made, Exception)]
