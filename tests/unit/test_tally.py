"""Tables of counts: what adds, what merges, what comes back from bytes."""

import numpy as np
import pytest

from sandbox.tally import Axis, Table, Tally

OUTCOME, SCORE = Axis("outcome", ("no", "yes")), Axis("score", ("0", "1", "2", "3"))


def table(*records):
    places = np.array(records, np.int64).reshape(-1, 2)
    return Table.count([OUTCOME, SCORE], places[:, 0], places[:, 1])


def test_records_are_counted_where_they_lie():
    assert table((0, 1), (1, 3), (1, 3)).counts.tolist() == [[0, 1, 0, 0], [0, 0, 0, 2]]


def test_merging_bins_keeps_every_record():
    merged = table((0, 0), (0, 1), (1, 3)).merged("score", [[0, 1], [2, 3]], ["low", "high"])
    assert merged.axes == (OUTCOME, Axis("score", ("low", "high")))
    assert merged.counts.tolist() == [[2, 0], [0, 1]]


def test_a_margin_keeps_every_record_and_the_axes_asked_for():
    joint = table((0, 1), (1, 3), (1, 3))
    outcome, score = joint.margin(0), joint.margin(1)
    assert (outcome.axes, outcome.counts.tolist()) == ((OUTCOME,), [1, 2])
    assert (score.axes, score.counts.tolist()) == ((SCORE,), [0, 1, 0, 2])
    assert np.array_equal(joint.margin(0, 1).counts, joint.counts)


def test_tables_over_other_axes_do_not_add():
    with pytest.raises(ValueError, match="same axes"):
        table((0, 0)) + table((0, 0)).merged("score", [[0, 1], [2, 3]], ["low", "high"])


def test_tallies_with_other_tables_do_not_add():
    with pytest.raises(ValueError, match="same tables"):
        Tally({"a": table()}) + Tally({"b": table()})


def test_counts_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Table((OUTCOME,), np.zeros(3, np.int64))


def test_a_tally_comes_back_from_bytes_as_it_was():
    before = Tally({"scores": table((1, 2), (0, 0)), "scores:place": table()})
    after = Tally.from_bytes(before.to_bytes())
    assert after.tables.keys() == before.tables.keys()
    for name, part in before.tables.items():
        assert after[name].axes == part.axes
        assert np.array_equal(after[name].counts, part.counts)
        assert after[name].counts.dtype == np.int64


def test_a_missing_axis_is_a_key_error():
    with pytest.raises(KeyError):
        table().axis("age")
