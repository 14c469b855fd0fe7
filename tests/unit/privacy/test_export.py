"""What is handed over stands alone: every event and total, and nothing about records."""

import json

import pytest

from sandbox.errors import NotFound
from sandbox.privacy import ledger
from sandbox.privacy.accounting import dp_sgd_event
from sandbox.privacy.export import export

POOL = "training:pupils"
TRAINING = dp_sgd_event(4.09, 0.02, 600)


def test_the_document_stands_alone(store, card, opened, dataset):
    opened(card())
    dataset(units=12_345)
    ledger.reserve(store, POOL, TRAINING, "pupil", "training m", "wanda")
    document = export(store, POOL)
    [pool], [population] = document["pools"], document["populations"]
    assert (pool["unit"], pool["adjacency"], pool["epsilon"], pool["delta"]) == (
        "pupil",
        "add/remove",
        8,
        1e-6,
    )
    assert pool["rule"] == {"rule": "filter", "order": 4}
    [charge] = pool["charges"]
    assert (charge["purpose"], charge["reserved_by"], charge["state"], charge["counts"]) == (
        "training m", "wanda", "reserved", True,
    )  # fmt: skip
    assert charge["event"] == TRAINING
    assert document["versions"].keys() == {"ndl-sandbox", "dp-accounting", "python"}
    assert population["compose_in_parallel"] == [POOL]
    assert "if parameters had been fixed in advance" in document["what"]["pld_epsilon"]


def test_the_document_holds_nothing_about_records(store, card, opened, dataset):
    """Not even how many there are."""
    opened(card())
    dataset(units=12_345)
    text = json.dumps(export(store))
    assert "12345" not in text
    assert "nowhere" not in text  # where the records lie
    assert "rows" not in text


def test_one_pool_or_all_can_be_exported_and_an_unknown_one_is_named(store, card, opened):
    assert export(store)["pools"] == []
    opened(card())
    opened(card(population="patients"))
    assert [p["pool"] for p in export(store)["pools"]] == ["training:patients", POOL]
    document = export(store, POOL)
    assert ([p["pool"] for p in document["pools"]], len(document["populations"])) == ([POOL], 1)
    with pytest.raises(NotFound, match="training:patients"):
        export(store, "training:nobody")
