"""Figures of weighted records and of people with several: whose they are, and how wide their intervals."""

from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators import axes, calibration, cases, curve, discrimination, fairness, scoring
from evaluators.axes import score_positions
from evaluators.base import Context, stream
from evaluators.cases import Cases
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from tests.unit.evaluators.conftest import AgeScorer, card_document, records

REPORTS = (discrimination.discrimination, calibration.calibration, fairness.groups)


def card_of(**changes):
    document = card_document(**changes)
    columns = document["ndl:dataset"]["columns"]
    columns["grossing"] = {"kind": "number", "minimum": 0, "maximum": 4, "feature": False}
    columns["town"]["sensitive"] = columns["alone"]["sensitive"] = True
    return Card.from_json(document)


PLAIN, PEOPLE, WEIGHED = card_of(), card_of(max_rows_per_unit=9), card_of(weight="grossing")


def measured(card, task, table):
    encoding = Encoding(card, task)
    tally = reduce(add, map(scoring.count, scoring.score([table], AgeScorer(encoding), encoding)))
    context = Context(tally, card, card.task(task), key="k")
    return {(m.name, m.group, m.feature): m for report in REPORTS for m in report(context)}


def weighing(n, seed=1, *, weight=None):
    table = records(n, seed)
    given = np.ones(n) if weight is None else weight
    return table.append_column("grossing", pa.array(np.asarray(given, float)))


def times(table, n):
    """Every record so many times, the copies of a record being of the same person."""
    return table.take(pa.array(np.repeat(np.arange(table.num_rows), n)))


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_a_record_that_weighs_three_is_worth_three_records(task):
    weight = stream("weights").integers(0, 5, 300)
    by_weight = measured(WEIGHED, task, weighing(300, weight=weight))
    copied = measured(PLAIN, task, times(weighing(300), weight))
    tenths = ("reliability", "reliability_mean", "ece")  # joined from wider bins where there are replicates
    # which groups of a pair (or by the rates of a class) are measured depends on how many have enough records
    few = ("tpr", "fpr", "ppv", "macro_auc_gap") if task == "kind" else ()
    compared = [
        key
        for key, m in by_weight.items()
        if m.value is not None
        and key[0] not in tenths
        and axes.PAIR not in key[1]
        and not key[0].startswith(few)
    ]
    assert len(compared) >= {"fell": 20, "kind": 8, "cost": 4}[task]
    for key in compared:
        assert by_weight[key].value == pytest.approx(copied[key].value, abs=1e-9), key
        if key[0] != "auc_gap":
            assert by_weight[key].n <= 300


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_copies_of_a_persons_records_tell_nothing_new(task):
    table = weighing(700, seed=3)
    once, often = measured(PEOPLE, task, table), measured(PEOPLE, task, times(table, 6))
    taken_for_people = measured(PLAIN, task, times(table, 6))
    for key, m in often.items():
        if (
            m.low is None or key[0].endswith("_gap") or m.value == 0
        ):  # where nothing varies, replicates know less
            continue
        assert m.value == pytest.approx(once[key].value, abs=1e-9), key
        width, narrow = m.high - m.low, taken_for_people[key].high - taken_for_people[key].low
        if key[0] not in ("ece", "reliability"):  # 64 replicates know a width to a tenth or so
            assert width == pytest.approx(once[key].high - once[key].low, rel=0.25), key
        if key[0] in ("auc", "accuracy", "brier", "mae", "r2") and not key[1]:
            assert width > 2 * narrow, key


def test_too_few_counts_people_and_never_weight():
    few = weighing(8, weight=np.full(8, 4.0))
    assert measured(WEIGHED, "fell", few)["accuracy", "", ""].status == "too few"
    assert measured(PEOPLE, "fell", times(weighing(8), 9))["accuracy", "", ""].status == "too few"
    assert measured(PLAIN, "fell", times(weighing(8), 9))["accuracy", "", ""].status == "ok"
    hardly = weighing(200, weight=np.where(np.arange(200) < 4, 4.0, 0.001))
    assert measured(WEIGHED, "fell", hardly)["accuracy", "", ""].status == "too few"  # four people say it all


def test_without_weights_and_with_a_record_a_person_the_counts_are_taken_as_they_are():
    counts = np.array([[30, 10], [10, 50]])
    scores = Cases.plain(counts)
    assert scores.effective(curve.auc, curve.auc_variance) is counts
    assert scores.group(0).counts.base is counts
    assert scores.coarse() is scores


PINNED = {
    # written down from version 2 of these evaluators, which knew nothing of weights: task, name, group (but for R2,
    # whose interval was mended since, and errors of numbers, whose bins are finest near 0 since)
    ("fell", "auc", ""): (0.8149427112275409, 0.7661323667528763, 0.854693946463324),
    ("fell", "f1", ""): (0.6643356643356644, 0.5958847090258577, 0.7264897630758317),
    ("fell", "log_loss", ""): (0.49963756184824787, 0.4529270329599786, 0.5561020459065955),
    ("fell", "average_precision", ""): (0.7496429464639319, 0.6724961864844766, 0.813652638808895),
    ("fell", "calibration_bias", ""): (-0.01480561135883568, -0.05732394639716781, 0.0264218549133583),
    ("fell", "calibration_slope", ""): (1.0110841879877366, 0.78391352847818, 1.2382548474972932),
    ("fell", "ece", ""): (0.008923588196392496, 0.0, 0.09074060753512911),
    ("fell", "auc", "town=Hull"): (0.8409090909090909, 0.7008051009687821, 0.922647967355632),
    ("fell", "tpr", "town=York"): (0.6363636363636364, 0.4956314549119864, 0.7618616207865172),
    ("kind", "macro_auc", ""): (0.49955096410249583, 0.4369950640745704, 0.5621293399015292),
    ("kind", "log_loss", ""): (1.3110284215037573, 1.2303988255320761, 1.3961196747566123),
    ("kind", "f1", ""): (0.28936024632227164, 0.2559178175042307, 0.32526248361997495),
    ("kind", "calibration_bias", ""): (0.17834888284609351, 0.12544583099916023, 0.2291361056379999),
    ("cost", "mae", ""): (0.5744148635864258, 0.5346574478286654, 0.615435489126819),
    ("cost", "rmse", ""): (0.6970694325428719, 0.651360280553511, 0.7439259787156389),
}


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_without_weights_and_with_a_record_a_person_nothing_is_otherwise_than_before_there_were_any(task):
    found = measured(PLAIN, task, records(400, 400))
    for (of, name, group), expected in PINNED.items():
        if of == task:
            m = found[name, group, ""]
            assert (m.value, m.low, m.high) == pytest.approx(expected, rel=1e-12), name


cells = st.lists(st.integers(0, 60), min_size=4, max_size=4)


@given(st.lists(cells, min_size=3, max_size=20), st.integers(1, 1000))
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_value_and_does_not_depend_on_the_unit_of_weight(replicates, unit):
    counts = np.array(replicates).reshape(-1, 2, 2)
    total = counts.sum(axis=0)
    for metric in ("rate", "auc", "brier", "bias"):
        made = []
        for scale in (1, unit):
            scores = Cases(total, total * 1.0, counts * scale)
            if scores.rarest < 2:
                return
            made.append({
                "rate": lambda s: cases.rate(s.part(lambda c: c.sum(axis=-1))),
                "auc": lambda s: discrimination.auc_of(s, 0),
                "brier": lambda s: discrimination.loss_of(s, "brier"),
                "bias": calibration.bias,
            }[metric](scores))  # fmt: skip
        one, other = made
        assert one.low <= one.value <= one.high
        for bound in ("value", "low", "high"):
            assert getattr(one, bound) == pytest.approx(getattr(other, bound), rel=1e-6, abs=1e-9)


def test_intervals_of_weighted_people_with_several_records_hold_the_truth():
    """People of 1 to 5 records, alike within a person, sampled with unequal chances and weighted for it."""
    rng = stream("people")
    people = 4000
    rows = rng.integers(1, 6, people)
    of = np.repeat(np.arange(people), rows)
    tilt = rng.normal(size=people)
    chance = 1 / (1 + np.exp(-(tilt[of] - 1)))
    outcome = (rng.normal(size=people)[of] * 0.8 + rng.normal(size=len(of)) * 0.6 < _probit(chance)).astype(
        int
    )
    place = score_positions(chance)
    weight = np.maximum(np.rint(1000 * np.exp(0.3 * tilt)), 1).astype(int)
    whole = np.bincount(outcome * 1024 + place, minlength=2048).reshape(2, 1024)
    start = np.concatenate([[0], rows.cumsum()[:-1]])
    names, held = ("auc", "accuracy", "tpr", "calibration_bias", "log_loss"), dict.fromkeys(range(5), 0)
    for _ in range(250):
        drawn = rng.choice(people, 200, p=(1 / weight) / (1 / weight).sum())
        at = np.concatenate([np.arange(start[p], start[p] + rows[p]) for p in drawn])
        heavy, replicate = weight[of[at]], np.repeat(rng.integers(0, 64, 200), rows[drawn])
        flat = outcome[at] * 1024 + place[at]
        found, weighed = (np.bincount(flat, w, 2048).reshape(2, 1024) for w in (None, heavy))
        replicates = np.zeros((64, 2, 256), int)
        np.add.at(replicates, (replicate, outcome[at], place[at] // 4), heavy)
        scores = Cases(found, weighed * (found.sum() / weighed.sum()), replicates)
        made = (
            discrimination.auc_of(scores, 1), cases.rate(scores.part(discrimination.wrong_and_right)),
            cases.rate(scores.part(fairness.RATES["tpr"])), calibration.bias(scores),
            discrimination.loss_of(scores, "log_loss"),
        )  # fmt: skip
        for number, (name, estimate) in enumerate(zip(names, made, strict=True)):
            held[number] += estimate.low <= float(curve.METRICS[name](whole)) <= estimate.high
    assert min(held.values()) / 250 >= 0.91, dict(zip(names, held.values(), strict=True))


def _probit(p):
    from scipy.special import ndtri

    return ndtri(p)
