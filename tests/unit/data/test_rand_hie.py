"""rand_hie: real people with several rows each, so that the unit is the person."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import load_card
from sandbox.catalogue.document import sha256_of
from sandbox.catalogue.split import held_out


@pytest.fixture
def folder(datasets):
    return datasets / "rand_hie"


@pytest.fixture
def table(folder):
    return pq.read_table(folder / "years.parquet")


def test_it_holds_the_people_years_and_shares_that_its_attribution_states(folder, table):
    rows = np.unique(table["person_id"].to_pylist(), return_counts=True)[1]
    assert (table.num_rows, len(rows), rows.max()) == (20_190, 5_912, 5)
    assert load_card(folder).max_rows_per_unit == 5
    assert pc.mean(table["saw_doctor"]).as_py() == pytest.approx(0.688, abs=5e-4)
    assert table["visits_band"].to_pylist().count("5 or more") / table.num_rows == pytest.approx(
        0.2, abs=5e-4
    )


def test_nobody_has_a_year_twice_and_nobody_is_on_both_sides_of_a_split(table):
    years = list(zip(table["person_id"].to_pylist(), table["year"].to_pylist(), strict=True))
    assert len(set(years)) == len(years)
    held = held_out(table["person_id"], b"k" * 32, 0.3)
    people = np.array(table["person_id"].to_pylist())
    assert not set(people[held]) & set(people[~held])


def test_every_value_lies_within_the_public_bounds_and_categories_of_the_card(folder, table):
    card = load_card(folder)
    assert set(table.column_names) == set(card.columns)
    for name, column in card.columns.items():
        values = table[name]
        assert column.missing or values.null_count == 0
        if column.kind == "category":
            assert set(values.unique().to_pylist()) == set(column.categories)
        if column.kind == "number":
            least, most = pc.min_max(values).as_py().values()
            assert column.bounds[0] <= least < most <= column.bounds[1]


def test_no_feature_gives_an_outcome_away(folder):
    card = load_card(folder)
    for task in card.tasks:
        assert not {"visits", "saw_doctor", "visits_band", "person_id"} & set(card.features(task))


def test_it_is_rebuilt_byte_for_byte_from_the_installed_statsmodels(folder, script, tmp_path):
    module = script("rand_hie")
    made, kept = module.rebuild(module.source(), tmp_path), folder / "years.parquet"
    assert pq.read_table(made).equals(pq.read_table(kept))
    if pq.read_metadata(made).created_by == pq.read_metadata(kept).created_by:
        assert sha256_of(made) == sha256_of(kept)


def test_its_source_is_the_table_that_statsmodels_says_is_in_the_public_domain(script):
    source = script("rand_hie").source()
    with source.open() as whole, (source.parents[1] / "randhie.csv").open() as published:
        pairs = zip(csv.DictReader(whole), csv.DictReader(published), strict=True)
        assert all(
            ours["mdvis"] == theirs["mdvis"] and ours["idp"] == theirs["idp"] for ours, theirs in pairs
        )
    assert "public domain" in (source.parents[1] / "data.py").read_text()


def test_another_source_is_refused(script, tmp_path):
    (tmp_path / "randhie.csv").write_text("mdvis\n0\n")
    with pytest.raises(SystemExit, match="sha256 differs"):
        script("rand_hie").rebuild(tmp_path / "randhie.csv", tmp_path)
