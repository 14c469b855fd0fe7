from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import load_card
from sandbox.catalogue.document import sha256_of

MONTHS = ("2016-07", "2017-07", "2018-07")


@pytest.fixture
def folder(datasets):
    return datasets / "wy_crime"


def months(folder: Path) -> list[pa.Table]:
    return [pq.read_table(folder / f"{month}.parquet") for month in MONTHS]


def test_a_card_says_the_digest_and_size_of_each_file(folder):
    for entry in json.loads((folder / "card.json").read_text())["distribution"]:
        path = folder / entry["contentUrl"]
        assert entry["sha256"] == sha256_of(path)
        assert entry["contentSize"] == f"{path.stat().st_size} B"


def test_it_holds_the_records_and_the_shares_that_its_attribution_states(folder):
    whole = pa.concat_tables(months(folder))
    assert [table.num_rows for table in months(folder)] == [18_381, 21_077, 25_343]
    assert pc.mean(whole["suspect_identified"]).as_py() == pytest.approx(0.588, abs=5e-4)
    assert pc.mean(whole["formal_outcome"]).as_py() == pytest.approx(0.123, abs=5e-4)


def test_a_crime_is_one_record_within_and_across_the_months(folder):
    whole = pa.concat_tables(months(folder))
    assert len(whole["crime_id"].unique()) == whole.num_rows == 64_801


def test_every_value_lies_within_the_public_bounds_and_categories_of_the_card(folder):
    card = load_card(folder)
    whole = pa.concat_tables(months(folder))
    assert set(whole.column_names) == set(card.columns)
    for name, column in card.columns.items():
        values = whole[name]
        assert values.null_count == 0
        if column.kind == "category":
            assert set(values.unique().to_pylist()) <= set(column.categories)
        if column.kind == "number":
            least, most = pc.min_max(values).as_py().values()
            assert column.bounds[0] < least < most < column.bounds[1] or least == column.bounds[0] == 0


def test_no_feature_gives_the_outcome_away(folder):
    card = load_card(folder)
    for task in card.tasks:
        assert not {"outcome", "suspect_identified", "formal_outcome", "density_quarter", "crime_id"} & set(
            card.features(task)
        )
    assert card.groups == ("district", "density_quarter")


def test_the_order_of_the_rows_says_nothing(folder):
    """Labels in file order alternate as often as chance would have it: within four standard errors."""
    for table in months(folder):
        labels = table["suspect_identified"].to_numpy()
        share = labels.mean()
        expected = 2 * share * (1 - share)
        seen = (labels[1:] != labels[:-1]).mean()
        assert abs(seen - expected) < 4 * (expected * (1 - expected) / len(labels)) ** 0.5


def test_a_wheel_with_another_digest_is_refused(script, tmp_path):
    wheel = tmp_path / "crime_sim_toolkit-1.5.0-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(SystemExit, match="sha256 differs"):
        script("wy_crime").rebuild(wheel, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))
