"""Groups and pairs of groups: which is worst, how far apart they are, and how often that is said in error."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators import fairness, intervals
from evaluators.axes import (
    PAIR,
    RESIDUAL,
    pair_axis,
    residual_axis,
    root_positions,
    score_axis,
    score_positions,
)
from evaluators.base import Context, stream
from evaluators.policy import Policy
from evaluators.rules import Occasion, judge
from sandbox.catalogue.card import Column
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally
from tests.unit.evaluators.test_cases import PLAIN, measured, weighing

SEX, TOWN = Axis("sex", ("f", "m")), Axis("town", ("Leeds", "York", "Hull"))
COLUMNS = {
    "sex": Column(kind="category", categories=SEX.labels),
    "town": Column(kind="category", categories=TOWN.labels),
}
CARD = SimpleNamespace(groups=("sex", "town"), columns=COLUMNS)


def reported(sex, town, outcome, score):
    """What `groups` measures of these records, by name and group."""
    happened, place = Axis("outcome", ("no", "yes")), score_positions(score)
    both = sex * 3 + town
    tables = {
        f"scores:{axis.name}": Table.count([axis, happened, score_axis(bins)], at, outcome, place // (1024 // bins))
        for axis, at, bins in ((SEX, sex, 256), (TOWN, town, 256), (pair_axis(SEX, TOWN), both, 64))
    }  # fmt: skip
    context = Context(Tally(tables), CARD, SimpleNamespace(kind="binary"))
    return {(m.name, m.group): m for m in fairness.groups(context)}


def drawn(rng, n, worse=0.0):
    """Records of equal groups, but that for women in Hull the score says less by so much."""
    sex, town, logit = rng.integers(0, 2, n), rng.integers(0, 3, n), rng.normal(size=n) * 1.5
    outcome = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    blurred = np.where((sex == 0) & (town == 2), worse * rng.normal(size=n) * 3 + (1 - worse) * logit, logit)
    return sex, town, outcome, 1 / (1 + np.exp(-blurred))


def test_the_worst_group_of_a_pair_is_named_though_neither_column_shows_it_as_clearly():
    found = reported(*drawn(stream("pair"), 12_000, worse=1.0))
    pair = found["auc_gap", "sex & town"]
    assert ("auc_worst", "sex & town=f & Hull") in found
    assert found["auc_worst", "sex & town=f & Hull"].value == pytest.approx(0.5, abs=0.06)
    assert pair.low > 0.2 > found["auc_gap", "sex"].value
    assert ("auc_worst", "town=Hull") in found


def test_of_a_pair_only_the_few_worst_groups_are_measured_one_by_one():
    found = reported(*drawn(stream("few"), 6000))
    of_pair = {group for name, group in found if name == "auc" and PAIR in group}
    assert len(of_pair) == fairness.PAIR_GROUPS
    shown = max(found["auc", group].value for group in of_pair)
    assert found["auc_worst", min(of_pair, key=lambda g: found["auc", g].value)].value <= shown


def test_equal_groups_are_rarely_said_to_differ_in_any_column_or_pair():
    """At most 5 waves of 100 say so of any of the gaps in one measure: the error is shared among them all."""
    rng, wrong, rounds = stream("family"), dict.fromkeys(fairness.GAPS.values(), 0), 120
    for _ in range(rounds):
        found = reported(*drawn(rng, 900))
        for name in wrong:
            lows = [m.low for (measure, _), m in found.items() if measure == name and m.low is not None]
            wrong[name] += bool(lows) and max(lows) > 0
    assert max(wrong.values()) <= 0.05 * rounds + 3 * (rounds * 0.05 * 0.95) ** 0.5, wrong


def test_the_group_with_the_largest_errors_is_named_and_equal_ones_rarely_differ():
    rng, wrong, rounds = stream("errors"), 0, 120
    happened = [(SEX, rng.integers(0, 2, 900)), (TOWN, rng.integers(0, 3, 900))]
    happened.append((pair_axis(SEX, TOWN), happened[0][1] * 3 + happened[1][1]))

    def reported(off):
        tables = {
            f"residual:{axis.name}": Table.count(
                [axis, residual_axis(256)], at, root_positions(off, RESIDUAL, 256)
            )
            for axis, at in happened
        }
        context = Context(Tally(tables), CARD, SimpleNamespace(kind="regression"))
        return {(m.name, m.group): m for m in fairness.groups(context)}

    for _ in range(rounds):
        found = reported(rng.normal(0.02, 0.1, 900))
        wrong += max(m.low for (name, _), m in found.items() if name == "mae_gap") > 0
    assert wrong <= 0.05 * rounds + 3 * (rounds * 0.05 * 0.95) ** 0.5
    found = reported(rng.normal(0, np.where(happened[2][1] == 2, 0.5, 0.1)))
    assert found["mae_worst", "sex & town=f & Hull"].value == pytest.approx(
        0.5 * np.sqrt(2 / np.pi), abs=0.06
    )
    assert found["mae_gap", "sex & town"].low > 0.1
    assert found["mae", "sex=m"].value == pytest.approx(0.08, abs=0.01)
    (column, *_) = judge(Policy(), "groups", list(found.values()), [], Occasion("regression", "w2", "w1"))
    assert "mean absolute error (in halves of the target's range) differed by" in column.sentence
    assert ", highest for “f”" in column.sentence


def test_the_group_whose_classes_are_told_apart_worst_is_named_and_equal_ones_rarely_differ():
    rng, wrong, rounds = stream("classes"), 0, 60
    names, town = ("x", "y", "z"), rng.integers(0, 3, 900)
    card = SimpleNamespace(groups=("town",), columns=COLUMNS)

    def reported(tilt):
        said = rng.dirichlet(np.ones(3), 900)
        likely = said ** tilt[:, None]
        happened = (likely.cumsum(axis=1) < rng.random((900, 1)) * likely.sum(axis=1)[:, None]).sum(axis=1)
        outcome, answers = Axis("outcome", names), Axis("is_class", ("no", "yes"))
        chosen, scores = said.argmax(axis=1), score_positions(said) // 4
        right, sure = (chosen == happened).astype(int), score_positions(said.max(axis=1)) // 4
        tables = {
            "confusion:town": Table.count([TOWN, outcome, Axis("predicted", names)], town, happened, chosen),
            "confidence:town": Table.count([TOWN, answers, score_axis(256)], town, right, sure),
        }
        for at, name in enumerate(names):
            of_class = (happened == at).astype(int)
            tables[f"own by town:{name}"] = Table.count(
                [TOWN, answers, score_axis(256)], town, of_class, scores[:, at]
            )
        context = Context(Tally(tables), card, SimpleNamespace(kind="multiclass"))
        return {(m.name, m.group): m for m in fairness.groups(context) if not m.feature}

    for _ in range(rounds):
        wrong += reported(np.ones(900))["macro_auc_gap", "town"].low > 0
    assert wrong <= 0.05 * rounds + 3 * (rounds * 0.05 * 0.95) ** 0.5
    found = reported(np.where(town == 1, 0.0, 2.0))  # in York what happens has nothing to do with the score
    assert found["macro_auc_worst", "town=York"].value == pytest.approx(0.5, abs=0.07)
    assert found["macro_auc_gap", "town"].low > 0.2
    assert found["macro_auc", "town=Hull"].value > 0.8


def test_one_class_against_all_others_by_hand():
    #                       chosen  x   y   z
    confusion = np.array([[10, 2, 3], [4, 20, 1], [5, 6, 30]])
    assert fairness._against_others(1, confusion).tolist() == [[10 + 3 + 5 + 30, 2 + 6], [4 + 1, 20]]


estimates = st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3))


@given(st.lists(estimates, min_size=2, max_size=8))
@settings(max_examples=80, deadline=None)
def test_the_widest_gap_equals_a_loop_over_all_pairs_of_groups(groups):
    made = [intervals.Estimate(v, v - below, v + above, 10) for v, below, above in groups]
    gap = intervals.worst_gap([lambda _, e=e: e for e in made])
    loop = [intervals.difference(a, b) for a in made for b in made if a is not b]
    assert gap.value == pytest.approx(max(g.value for g in loop), abs=1e-12)
    assert gap.high == pytest.approx(max(g.high for g in loop), abs=1e-12)
    assert gap.low == pytest.approx(max(0.0, max(g.low for g in loop)), abs=1e-12)
    assert gap.low <= gap.value <= gap.high


def test_the_measures_of_a_pair_are_those_of_its_records_alone():
    table = weighing(4000, seed=5)
    found = measured(PLAIN, "fell", table)
    worst = [group for name, group, _ in found if name == "tpr" and PAIR in group]
    frame = table.to_pandas()
    for group in worst:
        town, alone = group.split("=")[1].split(PAIR)
        of = frame[(frame.town == town) & (frame.alone == (alone == "true"))]
        assert found["outcome_rate", group, ""].value == pytest.approx(of.fell.mean())
        assert found["outcome_rate", group, ""].n == len(of)


def gap(value, low, high, group):
    return Measurement("auc_gap", value, 500, low, high, group)


def test_the_finding_names_the_worst_group_and_speaks_of_one_pair_only():
    at = Occasion("binary", "w2", "w1", {"sex": "Sex", "town": "Home town"})
    now = [
        gap(0.05, 0.0, 0.09, "town"),
        gap(0.30, 0.05, 0.50, "sex & age"),
        gap(0.25, 0.12, 0.40, "sex & town"),
        Measurement("auc_worst", 0.5, 90, 0.4, 0.6, "sex & town=f & Hull"),
    ]
    column, pair = judge(Policy(), "groups", now, [], at)
    assert (column.subject, column.verdict) == ("town", Verdict.WITHIN)
    assert (pair.subject, pair.verdict) == ("sex & town", Verdict.BEYOND)
    assert pair.sentence.startswith(
        "Between the groups of “Sex & Home town” furthest apart, AUC differed by 0.250"
    )
    assert "lowest for “f & Hull”" in pair.sentence
    _, unsure = judge(Policy(), "groups", now[:2], [], at)
    assert (unsure.subject, unsure.verdict) == ("sex & age", Verdict.UNKNOWN)
