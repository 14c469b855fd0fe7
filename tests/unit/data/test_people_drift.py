"""Drift begins at its wave, to the row: before it nothing differs, from it on only what it says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import chi2_contingency, ks_2samp
from sklearn.metrics import roc_auc_score

from sandbox.catalogue.people import PeoplePlan, chunk_table, chunks
from sandbox.catalogue.people_drift import DRIFTS, Drift

ONSET = 3
PLAN = PeoplePlan(seed=7, rows=20_000, wave_rows=20_000, waves=4, recurs=False, max_rows_per_person=1)
OUTCOMES = {"visits_next_year", "care_level", "admitted"}
TOUCHES = {
    "inputs": {"weight_kg", *OUTCOMES},
    "category": {"referral", *OUTCOMES},
    "missingness": {"blood_pressure"},
    "labels": OUTCOMES,
    "relation": OUTCOMES,
    "unit": {"weight_kg"},
}


@cache
def table(number: int, *drifts: Drift) -> pa.Table:
    plan = replace(PLAN, drifts=drifts)
    (chunk,) = chunks(plan, number)
    return chunk_table(plan, chunk)


def wave(number: int, *drifts: Drift) -> pd.DataFrame:
    return table(number, *drifts).to_pandas()


def changed_columns(number: int, *drifts: Drift) -> set[str]:
    """Columns of a wave in which at least one record differs from the same wave without drift."""
    before, after = table(number), table(number, *drifts)
    return {name for name in before.column_names if not before[name].equals(after[name])}


@pytest.mark.parametrize("kind", DRIFTS)
def test_before_the_onset_the_records_are_the_ones_without_drift(kind):
    drift = Drift(kind, ONSET, 0.7)
    for number in (0, ONSET - 1):
        assert changed_columns(number, drift) == set()


@pytest.mark.parametrize("kind", DRIFTS)
def test_from_the_onset_on_only_what_the_kind_says_has_changed(kind):
    drift = Drift(kind, ONSET, 0.7)
    for number in (ONSET, ONSET + 1):
        assert changed_columns(number, drift) == TOUCHES[kind]


def test_without_drift_a_later_wave_has_the_distribution_of_the_first():
    first, last = wave(0), wave(4)
    for name in ("referral", "site", "ethnic_group", "care_level", "admitted", "note"):
        counts = pd.crosstab(
            np.repeat(["first", "last"], len(first)), np.concatenate([first[name], last[name]])
        )
        assert chi2_contingency(counts).pvalue > 0.001
    for name in ("weight_kg", "visits_next_year"):
        assert ks_2samp(first[name], last[name]).pvalue > 0.001


def test_inputs_move_by_the_strength_and_their_relation_stays():
    before, after = wave(ONSET), wave(ONSET, Drift("inputs", ONSET, 0.5))
    assert after["weight_kg"].mean() - before["weight_kg"].mean() == pytest.approx(0.5 * 14, abs=0.01)
    assert rate_at_weight(after, 80) == pytest.approx(rate_at_weight(before, 80), abs=0.04)
    assert after["admitted"].mean() > before["admitted"].mean() + 0.03


def test_one_category_takes_the_share_of_records_that_the_strength_says():
    before, after = (w["referral"].value_counts(normalize=True) for w in both("category", 0.3))
    assert after["Another clinic"] == pytest.approx(before["Another clinic"] * 0.7 + 0.3, abs=0.01)
    for other in ("General practice", "Emergency", "Self"):
        assert after[other] == pytest.approx(before[other] * 0.7, abs=0.01)


def test_missingness_grows_by_the_strength():
    before, after = (w["blood_pressure"].isna().mean() for w in both("missingness", 0.4))
    assert before == pytest.approx(0.05, abs=0.01)
    assert after == pytest.approx(0.05 + 0.95 * 0.4, abs=0.01)


def test_labels_become_more_common_while_no_input_moves():
    before, after = (w["admitted"].mean() for w in both("labels", 1.0))
    assert after - before > 0.15


@pytest.mark.parametrize(("strength", "low", "high"), [(0.5, 0.46, 0.54), (1.0, 0.0, 0.35)])
def test_the_relation_changes_in_one_group_only(strength, low, high):
    before, after = both("relation", strength)
    inside = before["ethnic_group"] == "Group C"
    pd.testing.assert_frame_equal(before[~inside], after[~inside])
    known = before["blood_pressure"].notna()
    scores = before["blood_pressure"]
    assert roc_auc_score(before["admitted"][inside & known], scores[inside & known]) > 0.7
    assert low < roc_auc_score(after["admitted"][inside & known], scores[inside & known]) < high


def test_a_changed_unit_multiplies_the_measure_at_a_share_of_the_sites():
    before, after = both("unit", 0.5)
    changed = before["site"].isin(["Clinic 01", "Clinic 02", "Clinic 03"])
    assert after["weight_kg"][changed].mean() / before["weight_kg"][changed].mean() == pytest.approx(
        2.2046, abs=1e-3
    )
    assert (after["weight_kg"][~changed] == before["weight_kg"][~changed]).all()


def test_several_drifts_act_together_each_from_its_own_onset():
    drifts = (Drift("missingness", 2, 0.4), Drift("unit", 3))
    assert changed_columns(1, *drifts) == set()
    assert changed_columns(2, *drifts) == {"blood_pressure"}
    assert changed_columns(3, *drifts) == {"blood_pressure", "weight_kg"}


def both(kind: str, strength: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    return wave(ONSET), wave(ONSET, Drift(kind, ONSET, strength))


def rate_at_weight(records: pd.DataFrame, weight: float) -> float:
    return records["admitted"][(records["weight_kg"] - weight).abs() < 4].mean()
