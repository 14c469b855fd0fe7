"""Whatever the sharding, a tally is the same to the last bit; what lies outside its axes is refused."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators import axes
from sandbox.tally import Axis, Table, Tally

AXES = (Axis("group", ("a", "b", "c")), Axis("score", tuple("01234567")))
RECORDS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), max_size=200)


def tally(records):
    places = np.array(records, np.int64).reshape(-1, 2)
    return Tally(
        {"t": Table.count(AXES, places[:, 0], places[:, 1]), "g": Table.count(AXES[:1], places[:, 0])}
    )


@given(RECORDS, st.lists(st.integers(0, 200), max_size=6), st.randoms(use_true_random=False))
def test_any_sharding_in_any_order_gives_bit_identical_tallies(records, cuts, random):
    whole = tally(records)
    random.shuffle(records)
    edges = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    shards = [tally(records[a:b]) for a, b in pairwise(edges)]
    random.shuffle(shards)
    while len(shards) > 1:  # merge as a tree, as workers would
        left = shards.pop(random.randrange(len(shards)))
        right = shards.pop(random.randrange(len(shards)))
        shards.append(left + right)
    assert shards[0].to_bytes() == whole.to_bytes()


@given(RECORDS)
def test_every_record_is_in_exactly_one_cell_of_each_table(records):
    assert all(table.total == len(records) for table in tally(records).tables.values())


@given(RECORDS, st.sampled_from([(-1, 0), (3, 0), (0, 8), (0, -1), (2**40, 0)]))
def test_a_record_outside_the_axes_is_refused(records, stray):
    with pytest.raises(ValueError, match="outside the axis"):
        tally([*records, stray])


@given(RECORDS, st.tuples(st.integers(0, 2), st.integers(0, 7)))
def test_one_more_record_changes_one_count_by_one(records, extra):
    before, after = tally(records)["t"].counts, tally([*records, extra])["t"].counts
    assert np.abs(after - before).sum() == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
@settings(max_examples=50)
def test_a_score_lies_between_the_edges_of_its_bin_on_every_axis(scores):
    places = axes.score_positions(np.array(scores))
    for bins in (1024, 256, 16):
        edges, at = axes.score_edges(bins), axes.coarser(places, bins)
        assert np.all(edges[at] <= scores)
        assert np.all((scores < edges[at + 1]) | (at == bins - 1))


@given(st.sampled_from([float("nan"), -1e-9, 1 + 1e-9, float("inf")]))
def test_a_score_that_is_no_probability_is_refused(score):
    with pytest.raises(ValueError, match="not a probability"):
        axes.score_positions(np.array([0.5, score]))


@given(
    st.lists(st.floats(0, 1), max_size=50),
    st.lists(st.tuples(st.integers(0, 1024), st.sampled_from([-1, 0, 1]))),
)
@settings(max_examples=100)
def test_scores_lie_where_a_binary_search_finds_them(scores, near_edges):
    edges = axes.score_edges(1024)
    beside = [np.nextafter(edges[at], side * np.inf) if side else edges[at] for at, side in near_edges]
    values = np.array([*scores, *beside]).clip(0, 1)
    assert np.array_equal(axes.score_positions(values), np.searchsorted(edges[1:-1], values, side="right"))


@given(st.lists(st.floats(-10, 30), max_size=50), st.integers(1, 64))
@settings(max_examples=100)
def test_numbers_lie_in_their_bin_or_off_the_axis(values, bins):
    for part in (values, [v for v in values if 0 <= v < 20]):
        for value, place in zip(part, axes.uniform_positions(np.array(part), 0, 20, bins), strict=True):
            share = value / 20
            outside = share < 0 or share > 1
            assert not 0 <= place < bins if outside else place == min(int(share * bins), bins - 1)
