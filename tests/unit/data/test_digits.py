from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import load_card
from sandbox.catalogue.document import sha256_of

PARTS = ("part-1", "part-2", "part-3")


@pytest.fixture
def whole(datasets):
    return pa.concat_tables(pq.read_table(datasets / "digits" / f"{part}.parquet") for part in PARTS)


def images(table: pa.Table) -> np.ndarray:
    return np.array(table["image"].to_pylist(), float)


def test_the_images_are_those_of_scikit_learn_in_its_order(whole):
    from sklearn.datasets import load_digits

    published = load_digits()
    assert np.array_equal(images(whole), published.data)
    assert [int(digit) for digit in whole["digit"].to_pylist()] == published.target.tolist()
    assert len(whole["record_id"].unique()) == 1797


def test_an_ink_group_says_how_many_pixels_are_on(whole):
    starts = {
        "1 under 280": (0, 280),
        "2 from 280": (280, 310),
        "3 from 310": (310, 340),
        "4 from 340": (340, 1025),
    }
    for ink, group in zip(images(whole).sum(axis=1), whole["ink_group"].to_pylist(), strict=True):
        least, limit = starts[group]
        assert least <= ink < limit


def test_a_model_is_shown_the_image_alone(datasets):
    card = load_card(datasets / "digits")
    assert card.features("digit") == ("image",)
    assert card.columns["image"].shape == (1, 8, 8)
    assert card.groups == ("ink_group",)


def test_it_is_rebuilt_byte_for_byte_from_the_installed_scikit_learn(datasets, script, tmp_path):
    module = script("digits")
    for made in module.rebuild(module.source(), tmp_path):
        kept = datasets / "digits" / made.name
        assert pq.read_table(made).equals(pq.read_table(kept))
        if pq.read_metadata(made).created_by == pq.read_metadata(kept).created_by:
            assert sha256_of(made) == sha256_of(kept)


def test_another_source_is_refused(script, tmp_path):
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(gzip.compress(b"0," * 64 + b"0\n"))
    with pytest.raises(SystemExit, match="sha256 differs"):
        script("digits").rebuild(file, tmp_path)
