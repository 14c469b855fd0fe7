"""Every bundled dataset keeps the promises that intake asks of a stranger's."""

from __future__ import annotations

import pytest

from sandbox.catalogue.check import check_card

BUNDLED = ("wy_crime", "digits", "adult", "rand_hie")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_dataset_passes_every_check_of_intake(datasets, name):
    assert check_card(datasets / name).name == name


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_dataset_states_its_licence_beside_the_data(datasets, name):
    card = check_card(datasets / name)
    words = (datasets / name / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "Licen" in words
    assert card.document["license"] in words
    assert not card.synthetic
