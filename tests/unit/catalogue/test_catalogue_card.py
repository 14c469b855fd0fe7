"""What a card says, once it is sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.catalogue.card import Card, load_card
from sandbox.catalogue.check import check_card
from sandbox.errors import Invalid, NotFound


def test_features_are_what_may_be_known_beforehand(card: Card) -> None:
    assert card.features("hired") == ("age", "sector", "note")  # no unit, target, leak; sex is sensitive only
    assert card.features("pay") == ("age", "sector")  # as the task says, in the card's order


def test_groups_are_the_sensitive_columns_and_the_site(card: Card) -> None:
    assert card.groups == ("town", "sex")


def test_classes_follow_the_task_then_the_target(card: Card) -> None:
    assert card.classes("where") == ("York", "Leeds")
    assert card.classes("hired") == ("false", "true")
    assert card.classes("pay") == ()


def test_a_card_says_where_an_unknown_task_can_be_looked_up(card: Card) -> None:
    with pytest.raises(NotFound, match="Known: hired, pay, where"):
        card.task("fired")


def test_the_digest_is_of_the_content_not_of_its_order(card: Card, section: dict[str, Any]) -> None:
    turned = dict(reversed(card.document.items()))
    assert Card.from_json(turned).digest == card.digest
    section["columns"]["age"]["maximum"] = 121
    assert Card.from_json({**card.document, "ndl:dataset": section}).digest != card.digest


def test_a_column_may_be_left_plain(card: Card) -> None:
    town = card.columns["town"]
    assert (town.missing, town.open, town.sensitive, town.feature) == (False, False, False, True)


def test_dates_bound_as_days_since_1970(section: dict[str, Any]) -> None:
    section["columns"]["seen"] = {"kind": "date", "minimum": "1970-01-02", "maximum": "1971-01-01"}
    assert Card.from_json({"name": "x", "ndl:dataset": section}).columns["seen"].bounds == (1.0, 365.0)


def test_a_folder_without_a_card_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"card\.json"):
        load_card(tmp_path)


def test_a_sound_folder_is_read_and_checked_alike(
    section: dict[str, Any], folder: Callable[..., Path]
) -> None:
    place = folder(section)
    assert check_card(place).digest == load_card(place).digest


def test_training_records_that_break_the_card_are_named(
    section: dict[str, Any], folder: Callable[..., Path]
) -> None:
    place = folder(section)
    narrow = json.loads((place / "card.json").read_text())
    narrow["ndl:dataset"]["columns"]["age"]["maximum"] = 17
    narrow["ndl:dataset"]["columns"]["age"]["missing"] = False
    (place / "card.json").write_text(json.dumps(narrow))
    with pytest.raises(Invalid) as refusal:
        check_card(place)
    said = [problem.what.partition(" in ")[0] for problem in refusal.value.problems]
    assert said == ["age: no value", "age: above the card's maximum"]


def test_a_refusal_never_quotes_a_record(section: dict[str, Any], folder: Callable[..., Path]) -> None:
    place = folder(section)
    narrow = json.loads((place / "card.json").read_text())
    narrow["ndl:dataset"]["columns"]["sector"] |= {"categories": ["trade"], "open": False}
    (place / "card.json").write_text(json.dumps(narrow))
    with pytest.raises(Invalid) as refusal:
        check_card(place)
    assert "a category that the card does not list" in str(refusal.value)
    assert "care" not in str(refusal.value)
