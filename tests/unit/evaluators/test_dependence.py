"""Drift, the watch, robustness, stability and noisy figures where people have several records, or records weigh
differently: whose they are, and that copies of a person's records tell nothing new."""

import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators import change, drift, intervals, robustness, scoring, stability
from evaluators.base import Context, stream
from evaluators.counting import EVERYDAY, Builder, count_batches
from evaluators.monitor import FIGURES, check
from sandbox.catalogue.encoding import Encoding
from sandbox.tally import Tally
from tests.unit.evaluators.conftest import AgeScorer
from tests.unit.evaluators.test_cases import PEOPLE, PLAIN, WEIGHED, times, weighing

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from simulations import clustered

DRIFT = (drift.input_drift, drift.volume, drift.score_drift, drift.outcome_drift, drift.relation_drift)
TASKS = pytest.mark.parametrize("task", ["fell", "kind", "cost"])


class Calmer(AgeScorer):
    """The version before: of the same mind, and less sure."""

    def probabilities(self, features):
        said = super().probabilities(features)
        return 0.8 * said + 0.1


def tally_of(card, task, table):
    encoding = Encoding(card, task)
    builders = [
        EVERYDAY,
        Builder("robustness", 1, robustness.count, 10**6),
        Builder("stability", 1, stability.count, 10**6, beside=True),
    ]
    batches = scoring.score([table], AgeScorer(encoding), encoding)
    made = count_batches(batches, builders, table.num_rows, "k", {"before": Calmer(encoding)})
    return Tally(reduce(lambda tables, tally: {**tables, **tally.tables}, made, {}))


def measured(card, task, now, reference, reports):
    tallies = [tally_of(card, task, table) for table in (now, reference)]
    context = Context(tallies[0], card, card.task(task), tallies[1], "k")
    return {(m.name, m.group, m.feature): m for report in reports for m in report(context)}


def widths(found):
    return {key: m.high - m.low for key, m in found.items() if m.low is not None}


@TASKS
def test_a_record_that_weighs_three_is_worth_three_records(task):
    weight, other = (stream("weights", at).integers(0, 5, 400) for at in (1, 2))
    reports = (*DRIFT, robustness.robustness, stability.stability)
    by_weight = measured(
        WEIGHED, task, weighing(400, 1, weight=weight), weighing(400, 2, weight=other), reports
    )
    tables = (times(weighing(400, at), w) for at, w in ((1, weight), (2, other)))
    copied = measured(PLAIN, task, *tables, reports)
    exact = ("missing_share", "unknown_change", "score_mean", "outcome_rate", "version_", "flips_missing")
    compared = [key for key in by_weight if key[0].startswith(exact) or key[0] == "auc_fall_missing"]
    assert len(compared) >= 10
    for key in compared:
        assert by_weight[key].value == pytest.approx(copied[key].value, abs=1e-9), key
        assert by_weight[key].n <= (800 if key[0].endswith("_change") else 400)


@TASKS
def test_copies_of_a_persons_records_tell_nothing_new(task):
    now, reference = weighing(600, 3), weighing(900, 4)
    reports = (*DRIFT, robustness.robustness, stability.stability)
    once = measured(PEOPLE, task, now, reference, reports)
    often = measured(PEOPLE, task, times(now, 6), times(reference, 6), reports)
    naive = measured(PLAIN, task, times(now, 6), times(reference, 6), reports)
    for name in (
        "missing_share",
        "score_mean",
        "version_shift",
        "flips_missing",
        "shift_missing",
        "auc_fall_missing",
    ):
        for key in (key for key in widths(often) if key[0] == name and widths(once)[key] > 0):
            assert often[key].value == pytest.approx(once[key].value, abs=1e-9), key
            assert widths(often)[key] == pytest.approx(widths(once)[key], rel=0.35), key
            assert widths(often)[key] > 1.5 * widths(naive)[key], key
    seldom = [m for key, m in often.items() if key[0].endswith("_p") and m.value < 0.01]
    assert len(seldom) <= 1
    cried = [m for key, m in naive.items() if key[0].endswith("_p") and m.value < 0.01]
    assert len(cried) >= 3  # what is said of records taken as independent


def test_the_ratio_of_volumes_is_as_unsure_as_the_number_of_people_is():
    now, reference = (times(weighing(500, at), 6) for at in (1, 2))
    (plain,), (people,) = (
        measured(card, "fell", now, reference, [drift.volume]).values() for card in (PLAIN, PEOPLE)
    )
    assert people.value == plain.value
    assert 1.8 < (people.high - people.low) / (plain.high - plain.low) < 3.2  # root of 6


@given(share=st.floats(0, 1), cases=st.integers(3, 2000), more=st.floats(1, 5))
def test_an_interval_tells_of_as_many_cases_as_it_was_made_of(share, cases, more):
    exact = intervals.rate(share * cases, cases)
    told = intervals.told_by(share, exact.high - exact.low, cases * more)
    assert told == pytest.approx(cases, rel=1e-6)
    assert intervals.told_by(share, 0.0, cases) == cases


def test_the_search_for_that_number_ends_in_the_thousands_too():
    """Where two numbers lie further apart than it looked for, it went on for ever."""
    exact = intervals.rate(880.0, 2_700.0)
    assert intervals.told_by(880 / 2_700, exact.high - exact.low, 5_400.0) == pytest.approx(2_700, rel=1e-6)


def test_the_watch_counts_as_many_records_as_the_figure_tells_of():
    accuracy, _, bias = FIGURES["binary"]
    narrow, wide = intervals.rate(160, 200), intervals.rate(40, 50)
    assert check(accuracy, narrow).n == 200
    assert check(accuracy, intervals.Estimate(0.8, wide.low, wide.high, 200)).n == pytest.approx(50)
    (mae, _) = FIGURES["regression"]
    assert check(mae, intervals.Estimate(0.2, 0.19, 0.21, 300)).n == 300
    assert check(bias, intervals.Estimate(0.01, -0.01, 0.03, 300)) == change.Check(
        0.01, 300, pytest.approx(0.0001, rel=0.1)
    )


@pytest.mark.parametrize("crowd", clustered.CROWDS, ids=lambda crowd: crowd.words)
def test_the_promises_hold_for_people_with_several_records_and_for_weights(crowd):
    quiet, naive = clustered.years(crowd, 1)
    assert (quiet.share, naive.share) == (0, 1)
    promised, as_if = clustered.quiet_streams(crowd, 12)
    assert promised.alarms == 0
    assert as_if.alarms >= (0 if crowd.again else 1)
    for shift in (0.0, 0.4):
        row = clustered.covers(crowd, 200, shift, 100)
        assert row.covered >= 0.945 - 3.2 * np.sqrt(0.945 * 0.055 / row.tried), row


def test_noisy_intervals_cover_where_a_person_has_several_records():
    row, naive = (clustered.noisy_covers(4, honoured, 120) for honoured in (True, False))
    assert naive.covered < 0.85 < 0.945 - 3.2 * np.sqrt(0.945 * 0.055 / row.tried) <= row.covered
