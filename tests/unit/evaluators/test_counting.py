"""A sample is bounded, random and the same again; a question is asked of a bounded number."""

import weakref

import numpy as np
import pytest

from evaluators import robustness, scoring
from evaluators.counting import EVERYDAY, Builder, count_batches
from sandbox.catalogue.encoding import Encoding
from sandbox.tally import Axis, Table, Tally
from tests.unit.evaluators.conftest import AgeScorer


def who(seen):
    """A builder's count that notes whom it was given."""

    def count(batch):
        seen.append(batch)
        return Tally({"who": Table.count([Axis("one", ("all",))], np.zeros(len(batch.said), int))})

    return count


def batches(encoding, table, size):
    parts = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    return list(scoring.score(parts, AgeScorer(encoding), encoding))


@pytest.mark.parametrize(("rows", "share"), [(0, 1), (100, 1), (101, 0.5), (200, 0.5), (201, 0.25)])
def test_the_share_is_the_largest_power_of_a_half_that_leaves_as_many_as_wanted(rows, share):
    assert Builder("x", 1, scoring.count, sample=100).share(rows) == share
    assert Builder("x", 1, scoring.count).share(rows) == 1


def test_a_sample_is_random_the_same_again_and_counted_once_for_all_batches(card, people):
    encoding, table, seen = Encoding(card, "fell"), people(4000), []
    builder = Builder("x", 1, who(seen), sample=1000)
    for key in ("k", "k", "l"):
        (made,) = count_batches(batches(encoding, table, 700), [builder], 4000, key)
        assert 900 < made["who"].total < 1100
    first, again, other = (set(batch.table.column("person").to_pylist()) for batch in seen)
    assert first == again != other
    in_turn = [at for at, name in enumerate(table.column("person").to_pylist()) if name in first]
    assert np.histogram(in_turn, 4, (0, 4000))[0].min() > 180  # from everywhere in the file
    (batch, *_) = seen
    assert len(batch.outcome) == batch.labelled.sum()
    assert np.array_equal(batch.outcome, encoding.target(batch.table))
    assert np.array_equal(batch.said, AgeScorer(encoding).probabilities(batch.features))


def test_what_was_read_is_let_go_before_more_is_read(card, people):
    encoding, read = Encoding(card, "fell"), []

    def records():
        for seed in range(4):
            assert not [table for table in read if table() is not None]
            table = people(300, seed=seed)
            read.append(weakref.ref(table))
            yield table
            del table

    builders = [EVERYDAY, Builder("x", 1, robustness.count, sample=100)]
    count_batches(scoring.score(records(), AgeScorer(encoding), encoding), builders, 1200, "k")
    assert len(read) == 4


def test_asking_again_is_bounded_however_many_records_and_columns(card, people):
    class Counts(AgeScorer):
        asked = 0

        def probabilities(self, features):
            Counts.asked += len(features["numbers"])
            return super().probabilities(features)

    encoding = Encoding(card, "fell")
    parts = list(scoring.score([people(9000)], Counts(encoding), encoding))
    Counts.asked = 0
    builder = Builder("robustness", 1, robustness.count, sample=robustness.SAMPLE)
    count_batches(parts, [builder], 9000, "k")
    assert 0 < Counts.asked <= 1.1 * robustness.SAMPLE * robustness.COLUMNS * 2
