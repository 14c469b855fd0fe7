"""What a model loses when its inputs get worse, on a model and records that a reader can follow.

The model says 0.9 for who lives alone and 0.1 for who does not, and looks at nothing else:

    lives alone   records   of whom fell
        yes          60          45
        no           40          10
"""

import numpy as np
import pyarrow as pa
import pytest

from evaluators import scoring
from evaluators.base import Context
from evaluators.counting import Builder, count_batches
from evaluators.perturbations import NOISE, Change, changed, changes, present
from evaluators.robustness import count, robustness
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding

COLUMNS = {
    "person": {"kind": "identifier", "feature": False},
    "alone": {"kind": "boolean"},
    "age": {"kind": "number", "minimum": 0, "maximum": 100, "missing": True},
    "ward": {"kind": "category", "categories": ["a", "b", "c"]},
    "fell": {"kind": "boolean", "feature": False},
    "kind": {"kind": "category", "categories": ["x", "y", "z"], "feature": False},
    "cost": {"kind": "number", "minimum": 0, "maximum": 10, "feature": False},
}
CARD = Card.from_json({"name": "Falls", "ndl:dataset": {
    "name": "falls", "population": "falls_people", "unit": "person", "unit_means": "one person",
    "custodian": {"name": "Dana", "contact": "dana@example.org"}, "licence": "OGL-UK-3.0",
    "attribution": "Made up", "synthetic": True, "purposes": ["testing"], "columns": COLUMNS,
    "tasks": {
        "fell": {"kind": "binary", "target": "fell", "question": "Will this person fall?"},
        "kind": {"kind": "multiclass", "target": "kind", "question": "Which kind of fall?"},
        "cost": {"kind": "regression", "target": "cost", "question": "What will it cost?"},
    },
    "training": {"file": "t.parquet", "wave": "w1", "day": "2026-01-01", "held_out_share": 0.3},
    "budget": {"training": {"epsilon": 8, "delta": 1e-6}, "held_out": {"epsilon": 3, "delta": 1e-6}},
}})  # fmt: skip


class LooksAtWhoIsAlone:
    """0.9 for +1 (alone), 0.1 for -1 (not), 0.5 between, whatever else is known."""

    def __init__(self, encoding):
        self.encoding = encoding

    def probabilities(self, features):
        alone = features["numbers"][:, self.encoding.number_names.index("alone")]
        p = np.asarray(0.5 + 0.4 * alone)
        if self.encoding.task.kind == "regression":
            return 0.8 * alone
        return (
            p if self.encoding.task.kind == "binary" else np.stack([p, (1 - p) * 0.6, (1 - p) * 0.4], axis=1)
        )


def people():
    alone = np.repeat([True, False], [60, 40])
    fell = np.concatenate([np.arange(60) < 45, np.arange(40) < 10])
    return pa.table({
        "person": [str(i) for i in range(100)], "alone": alone,
        "age": pa.array(np.linspace(1, 99, 100), mask=np.arange(100) % 10 == 0),
        "ward": np.resize(["a", "b", "c"], 100), "fell": fell,
        "kind": np.where(fell, "x", "y"), "cost": np.where(fell, 9.0, 1.0),
    })  # fmt: skip


def measured(task):
    encoding = Encoding(CARD, task)
    (batch,) = scoring.score([people()], LooksAtWhoIsAlone(encoding), encoding)
    everyday, own = count_batches(
        [batch], [Builder("tally", 1, scoring.count), Builder("robustness", 1, count, 4000)], 100, "key"
    )
    tally = scoring.Tally({**everyday.tables, **own.tables})
    found = list(robustness(Context(tally, CARD, CARD.task(task), minimum=5)))
    return {(m.name, m.feature): m for m in found}


def test_two_classes_by_hand():
    found = measured("fell")
    flips = found["flips_swap", "alone"]
    assert (flips.value, flips.n) == (1.0, 100)  # every 0.9 becomes 0.1 and the other way round
    # before: of 55 x 45 pairs 45 x 30 are ranked rightly, 45 x 15 + 10 x 30 tied; after, the other way round
    auc = (45 * 30 + (45 * 15 + 10 * 30) / 2) / (55 * 45)
    assert found["auc_fall_swap", "alone"].value == pytest.approx(auc - (1 - auc))
    # without it all say 0.5: those at 0.1 are now at one half and above, and nothing is ranked
    assert found["flips_missing", "alone"].value == 0.4
    assert found["auc_fall_missing", "alone"].value == pytest.approx(auc - 0.5)
    for name in ("flips_missing", "flips_noise", "auc_fall_missing", "auc_fall_noise"):
        assert found[name, "age"].value == 0.0  # the model does not look at it
        assert found[name, "age"].n == 90  # of whom it is known
    assert found["flips_swap", "ward"].value == 0.0


def test_several_classes_by_hand():
    found = measured("kind")
    assert found["flips_swap", "alone"].value == 1.0
    # right before: 45 who are alone and fell (x), 30 who are and did neither (y); after: the 15 and 10 others
    fall = found["accuracy_fall_swap", "alone"]
    assert (fall.value, fall.n) == (pytest.approx(0.75 - 0.25), 100)
    assert fall.low < fall.value < fall.high
    assert found["accuracy_fall_missing", "ward"].value == 0.0


def test_a_number_by_hand():
    found = measured("cost")
    assert found["shift_swap", "alone"].value == pytest.approx(1.6, abs=0.01)  # from 0.8 to -0.8
    # outcomes are 0.8 and -0.8: of 100, 75 were right and 25 were 1.6 off; swapped, 75 are off
    rise = found["rmse_rise_swap", "alone"]
    assert rise.value == pytest.approx(1.6 * (np.sqrt(0.75) - np.sqrt(0.25)), abs=0.01)
    assert rise.low < rise.value < rise.high
    assert found["shift_noise", "age"].value == 0.0


@pytest.fixture
def encoded():
    encoding = Encoding(CARD, "fell")
    return encoding, encoding.features(people())


def test_each_change_touches_its_column_only(encoded):
    encoding, features = encoded
    assert [c.label for c in changes(encoding)] == [
        "missing alone", "swap alone", "missing age", "noise age", "missing ward", "swap ward",
    ]  # fmt: skip
    for change in changes(encoding):
        made = changed(features, encoding, change, np.random.default_rng(1))
        own = {i for i, name in enumerate(encoding.number_names) if name.startswith(change.column)}
        moved = set(np.flatnonzero((made["numbers"] != features["numbers"]).any(axis=0)))
        assert moved <= own
        assert ((made["categories"] != features["categories"]).any()) == (change.column == "ward")
        assert all(np.array_equal(a, b) for a, b in zip(features.values(), encoded[1].values(), strict=True))


def test_noise_stays_within_public_bounds_and_has_its_size(encoded):
    encoding, features = encoded
    many = {name: np.repeat(array, 200, axis=0) for name, array in features.items()}
    made = changed(many, encoding, Change("noise", "age"), np.random.default_rng(1))
    at = encoding.number_names.index("age")
    moved = made["numbers"][:, at] - many["numbers"][:, at]
    assert np.abs(made["numbers"][:, at]).max() <= 1
    assert moved[many["numbers"][:, at] == 0].std() == pytest.approx(2 * NOISE, rel=0.05)


def test_a_swapped_category_is_another_that_the_card_lists(encoded):
    encoding, features = encoded
    made = changed(features, encoding, Change("swap", "ward"), np.random.default_rng(1))
    assert not (made["categories"] == features["categories"]).any()
    assert set(made["categories"][:, 0]) <= {2, 3, 4}


def test_what_is_missing_is_encoded_as_missing(encoded):
    encoding, features = encoded
    made = changed(features, encoding, Change("missing", "age"), np.random.default_rng(1))
    gone = people().set_column(2, "age", pa.nulls(100, pa.float64()))
    assert np.array_equal(made["numbers"], encoding.features(gone)["numbers"])
    assert present(features, encoding, "age").sum() == 90
    assert not present(made, encoding, "age").any()
