"""A wave and a model become counts: the same whatever the batches, and nothing is lost in silence."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluators import axes, scoring
from sandbox.catalogue.card import Column
from sandbox.catalogue.encoding import Encoding


def tally(table, scorer, card, task="fell"):
    encoding = Encoding(card, task)
    scorer.encoding = encoding
    batches = [table] if isinstance(table, pa.Table) else table
    return [scoring.count(b) for b in scoring.score(batches, scorer, encoding)]


def test_row_groups_of_any_size_give_the_same_tally(tmp_path, card, scorer, people):
    table, seen = people(2000), set()
    for size in (97, 500, 5000):
        file = tmp_path / f"{size}.parquet"
        pq.write_table(table, file, row_group_size=size)
        seen.add(scoring.tally_wave(file, scorer, Encoding(card, "fell")).to_bytes())
    assert len(seen) == 1


def test_every_record_lands_once_in_every_table(card, scorer, people):
    (found,) = tally(people(700), scorer, card)
    assert {t.total for t in found.tables.values()} == {700}
    assert {"score", "outcome", "scores", "scores:town", "input:age", "input:seen"} <= found.tables.keys()
    assert "input:fell" not in found.tables
    assert "input:person" not in found.tables


@pytest.mark.parametrize("cells", [1, 300, 10**6])
def test_columns_are_counted_the_same_together_and_each_alone(card, scorer, people, monkeypatch, cells):
    table = people(500)
    (found,) = tally(table, scorer, card)
    monkeypatch.setattr(scoring, "JOINT_CELLS", cells)
    (other,) = tally(table, scorer, card)
    assert found.to_bytes() == other.to_bytes()
    for name in Encoding(card, "fell").feature_columns:
        places = axes.column_positions(table.column(name), card.columns[name])
        assert np.array_equal(
            found[f"input:{name}"].counts, np.bincount(places, minlength=len(found[f"input:{name}"].counts))
        )


def test_group_tables_add_up_to_the_whole(card, scorer, people):
    (found,) = tally(people(900), scorer, card)
    by_town, whole = found["scores:town"].counts.sum(axis=0), found["scores"].counts
    assert np.array_equal(by_town, whole.reshape(2, 256, 4).sum(axis=-1))


def test_missing_and_new_categories_have_their_own_places(card, scorer, people):
    (found,) = tally(people(3000), scorer, card)
    ward = dict(zip(found["input:ward"].axes[0].labels, found["input:ward"].counts, strict=True))
    assert list(ward) == ["a", "b", "c", "unknown", "missing"]
    assert ward["unknown"] > 600
    assert 20 < ward["missing"] < 120
    assert 40 < found["input:age"].counts[-1] < 160


def test_records_without_an_outcome_count_as_inputs_and_scores_only(card, scorer, people):
    table = people(400)
    fell = table.column("fell").to_pylist()
    table = table.set_column(
        table.schema.get_field_index("fell"), "fell", pa.array(fell[:300] + [None] * 100)
    )
    (found,) = tally(table, scorer, card)
    assert found["scores"].total == found["scores:town"].total == found["outcome"].total == 300
    assert found["score"].total == found["input:age"].total == 400


def test_a_number_outside_the_cards_bounds_is_refused_without_quoting_it(card, scorer, people):
    table = people(50)
    ages = [137.5, *table.column("age").to_pylist()[1:]]
    table = table.set_column(table.schema.get_field_index("age"), "age", pa.array(ages))
    with pytest.raises(ValueError, match="outside the axis 'age'") as refused:
        tally(table, scorer, card)
    assert "137" not in str(refused.value)


def test_a_model_that_answers_for_too_few_records_is_refused(card, scorer, people):
    class Short:
        def probabilities(self, features):
            return np.full(3, 0.5)

    with pytest.raises(ValueError, match="one row for each record"):
        tally(people(50), Short(), card)


def test_an_empty_wave_gives_empty_tables(tmp_path, card, scorer, people):
    pq.write_table(people(10).slice(0, 0), tmp_path / "none.parquet")
    found = scoring.tally_wave(tmp_path / "none.parquet", scorer, Encoding(card, "fell"))
    assert {t.total for t in found.tables.values()} == {0}


def test_several_classes_are_counted_by_class_and_by_confidence(card, scorer, people):
    (found,) = tally(people(800), scorer, card, "kind")
    assert found["confusion"].counts.shape == (3, 3)
    assert found["confusion:town"].counts.shape == (3, 3, 3)
    assert {"own:x", "own:y", "own:z", "confidence", "likelihood"} <= found.tables.keys()
    assert found["confidence"].counts[1].sum() == np.trace(found["confusion"].counts)


def test_regression_is_counted_by_residual(card, scorer, people):
    (found,) = tally(people(800), scorer, card, "cost")
    assert found["residual"].counts.shape == (1024,)
    assert found["residual:town"].counts.shape == (3, 256)


def test_images_sequences_and_texts_are_counted_by_mean_and_length():
    scan = Column(kind="image", shape=(1, 2, 2), minimum=0.0, maximum=16.0, missing=True)
    pixels = pa.chunked_array([[[0, 0, 0, 0], None, [16, 16, 16, 16]]])
    assert axes.column_positions(pixels, scan).tolist() == [0, 32, 31]
    note = Column(kind="text", length=64)
    notes = pa.chunked_array([["", "é" * 16, "x" * 200]])
    assert axes.column_positions(notes, note).tolist() == [0, 16, 31]


def test_a_value_on_the_upper_bound_lies_in_the_last_bin(card):
    age = card.columns["age"]
    places = axes.column_positions(pa.chunked_array([[0.0, 99.999, 100.0, None]]), age)
    assert places.tolist() == [0, 63, 63, 64]


def test_missing_numbers_have_the_last_place_whatever_else_there_is(card):
    age = card.columns["age"]
    for others in ([50.0], [100.0], [50.0, 137.5]):
        places = axes.column_positions(pa.chunked_array([[None, *others]]), age)
        assert places[0] == 64
        assert places[1] == min(int(others[0] * 0.64), 63)
        assert not (places[2:] <= 64).any()


def test_a_group_the_card_does_not_allow_is_refused(card):
    closed = card.columns["town"]
    assert axes.group_axis("town", closed).labels == closed.categories
    at = axes.column_positions(pa.chunked_array([["Leeds", "Atlantis"]]), closed)
    places = axes.group_positions(at, "town", closed)
    assert places.tolist() == [0, -1]
    opened = closed.model_copy(update={"open": True, "missing": True})
    assert axes.group_axis("town", opened).labels == (*closed.categories, "unknown", "missing")
