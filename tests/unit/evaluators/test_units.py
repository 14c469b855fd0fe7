"""Weights add exactly whatever the batches; people with several records stand or fall together."""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators import axes, scoring, units
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.disclosure import noisy
from sandbox.errors import Invalid
from sandbox.privacy.mechanisms import l2_sensitivity
from sandbox.tally import Axis, Table
from tests.unit.evaluators.conftest import AgeScorer, card_document, records


def weighted_card(**changes):
    document = card_document(weight="grossing", max_rows_per_unit=5, **changes)
    columns = document["ndl:dataset"]["columns"]
    columns["grossing"] = {"kind": "number", "minimum": 0, "maximum": 40, "feature": False}
    columns["town"]["sensitive"] = columns["alone"]["sensitive"] = True
    return Card.from_json(document)


CARD = weighted_card()


def weighed(n, seed=1):
    rng = np.random.default_rng(seed)
    table = records(n, seed)
    people = pa.array([f"p{i}" for i in np.sort(rng.integers(0, n // 2, n))])
    table = table.set_column(0, "person", people)
    return table.append_column("grossing", pa.array(np.round(rng.gamma(2, 3, n), 3).clip(0, 40)))


def tally(batches, task="fell"):
    encoding = Encoding(CARD, task)
    found = [scoring.count(b) for b in scoring.score(batches, AgeScorer(encoding), encoding)]
    total = found[0]
    for part in found[1:]:
        total = total + part
    return total


TABLE = weighed(600)
WHOLE = {task: tally([TABLE], task).to_bytes() for task in ("fell", "kind", "cost")}


@given(
    st.lists(st.integers(0, 600), max_size=4),
    st.sampled_from(sorted(WHOLE)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_any_sharding_of_weighted_clustered_records_gives_bit_identical_tallies(cuts, task, random):
    edges = [0, *sorted(cuts), 600]
    shards = [TABLE.slice(a, b - a) for a, b in pairwise(edges)]
    random.shuffle(shards)
    assert tally(shards, task).to_bytes() == WHOLE[task]


def test_every_table_equals_a_direct_count():
    found, frame = tally([TABLE]), TABLE.to_pandas()
    said = AgeScorer(Encoding(CARD, "fell")).probabilities(Encoding(CARD, "fell").features(TABLE))
    place = np.searchsorted(axes.score_edges(1024)[1:-1], said.astype(float), side="right")
    steps = np.rint(frame.grossing / 40 * 65536).astype(int)
    for name, weights, group in (
        ("scores", np.ones(600, int), None), ("weighted:scores", steps, None),
        ("scores:town", np.ones(600, int), "town"), ("weighted:scores:town", steps, "town"),
    ):  # fmt: skip
        table = found[name]
        direct = np.zeros(table.counts.shape, np.int64)
        width = 1024 // table.counts.shape[-1]
        for row in range(600):
            at = (int(frame.fell[row]), place[row] // width)
            if group:
                at = (table.axes[0].labels.index(frame[group][row]), *at)
            direct[at] += weights[row]
        assert np.array_equal(direct, table.counts), name


def test_pairs_of_groups_add_up_to_each_group():
    found = tally([TABLE])
    pair = found["scores:town & alone"]
    assert pair.axes[0].labels[:2] == ("Leeds & false", "Leeds & true")
    by_town = pair.counts.reshape(3, 2, 2, 64).sum(axis=1)
    assert np.array_equal(by_town, found["scores:town"].counts.reshape(3, 2, 64, 4).sum(axis=-1))
    alone = found["scores:alone"].counts.reshape(2, 2, 64, 4).sum(axis=-1)
    assert np.array_equal(pair.counts.reshape(3, 2, 2, 64).sum(axis=0), alone)


@pytest.mark.parametrize("task", sorted(WHOLE))
def test_every_table_has_weights_and_replicates_that_add_up(task):
    found = tally([TABLE], task)
    plain = [n for n in found.tables if n.split(":")[0] not in ("weighted", "replicates")]
    assert {n.split(":")[0] for n in plain} >= {"input", "score", "outcome"}
    assert [n for n in plain if f"replicates:{n}" not in found.tables] == []
    for name in found.tables:
        kind, _, of = name.partition(":")
        if kind == "replicates":
            weighted, summed = found[f"weighted:{of}"].counts, found[name].counts.sum(axis=0)
            wide = weighted.reshape(*summed.shape, -1).sum(axis=-1)
            assert np.array_equal(wide, summed), of
            assert found[of].axes[:-1] == found[f"weighted:{of}"].axes[:-1]


def test_the_records_of_a_person_are_in_one_replicate_and_weigh_what_they_weigh():
    found = tally([TABLE])
    assert found["replicates:scores"].total == found["weighted:scores"].total
    assert np.array_equal(
        found["replicates:scores:town"].counts.sum(axis=(0, 2, 3)),
        found["weighted:scores:town"].counts.sum(axis=(1, 2)),
    )
    one = TABLE.slice(0, 1)
    again = tally([one, one, one])["replicates:scores"].counts
    assert np.count_nonzero(again.sum(axis=(1, 2))) == 1


def test_a_card_without_weights_or_repeated_people_has_neither_kind_of_table(card, people):
    encoding = Encoding(card, "fell")
    (batch,) = scoring.score([people(100)], AgeScorer(encoding), encoding)
    assert not [n for n in scoring.count(batch).tables if n.startswith(("weighted", "replicates"))]


@pytest.mark.parametrize("bad", [None, -0.5, 40.5, math.nan, math.inf])
def test_a_weight_that_is_missing_or_out_of_bounds_is_refused_without_quoting_it(bad):
    grossing = [bad, *TABLE.column("grossing").to_pylist()[1:]]
    table = TABLE.set_column(
        TABLE.schema.get_field_index("grossing"), "grossing", pa.array(grossing, pa.float64())
    )
    with pytest.raises(ValueError, match="a weight is missing or outside") as refused:
        tally([table])
    assert "40.5" not in str(refused.value)


def test_the_smallest_weight_still_counts():
    table = pa.table({"grossing": [0.0, 1e-9, 40.0]})
    assert units.weights(table, CARD).tolist() == [0, 1, units.WEIGHT_STEPS]


def test_a_card_whose_weight_may_be_missing_is_refused():
    document = card_document(weight="grossing")
    document["ndl:dataset"]["columns"]["grossing"] = {
        "kind": "number", "minimum": 0, "maximum": 40, "feature": False, "missing": True,
    }  # fmt: skip
    with pytest.raises(Invalid, match="grossing may be missing"):
        Card.from_json(document)


def test_the_standard_error_counts_people_not_records():
    """Ten identical records of each person say no more than one: the error is that of the persons."""
    rng = np.random.default_rng(5)
    axis, ratios, freedoms = Axis("outcome", ("no", "yes")), [], []
    for _ in range(100):
        n = 2000
        outcome, names = rng.random(n) < 0.3, [f"p{rng.integers(1 << 40)}" for _ in range(n)]
        card = CARD.model_copy(update={"weight": None})
        where = units.replicates(pa.table({"person": np.repeat(names, 10)}), card)
        table = Table.count([units.REPLICATE_AXIS, axis], where, np.repeat(outcome, 10).astype(np.int64))
        error, freedom = units.jackknife(table.counts, lambda c: c[..., 1] / c.sum(axis=-1))
        freedoms.append(freedom)
        ratios.append(error / math.sqrt(0.3 * 0.7 / n))
    assert 0.9 < np.mean(ratios) < 1.1
    assert 50 < np.median(freedoms) <= max(freedoms) == units.REPLICATES - 1


def test_names_in_sequence_fall_into_replicates_by_chance():
    """So that how uneven replicates are says how many people there are (units.effective)."""
    told = []
    for at in range(40):
        names = pa.table({"person": [f"{at}-{number}" for number in range(3000)], "grossing": [1.0] * 3000})
        told.append(units.effective(np.bincount(units.replicates(names, CARD), minlength=units.REPLICATES)))
    assert 2600 < np.mean(told) < 3500
    assert 300 < np.std(told) < 900  # 18 %: what 64 replicates leave open


def test_one_person_moves_a_release_no_further_than_is_charged_for():
    whole = noisy.released_tables(CARD, "fell", tally([TABLE]))
    charged = l2_sensitivity(CARD.max_rows_per_unit, len(whole))
    people = TABLE.column("person").to_pylist()
    most, name = max((people.count(name), name) for name in set(people))
    assert most > 2
    for person in (name, *people[:10]):
        kept = TABLE.filter(pa.array([other != person for other in people]))
        without = noisy.released_tables(CARD, "fell", tally([kept]))
        moved = sum(float(((whole[n].counts - without[n].counts) ** 2).sum()) for n in whole) ** 0.5
        assert 0 < moved <= charged
    assert not [n for n in whole if n.startswith(("weighted", "replicates"))]
