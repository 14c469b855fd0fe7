"""A finding gives one of three answers, says what moved and what to do, and is honest about doubt."""

import tomllib
from pathlib import Path

import pytest

from evaluators.policy import Policy, load_policy
from evaluators.rules import Occasion, judge
from sandbox.errors import Invalid, NotFound
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement
from sandbox.settings import Evaluation

NOW = Occasion("binary", "2018-07", "2016-07")
FIRST = Occasion("binary", "2016-07")


def m(name, value, low=None, high=None, group="", feature="", n=1000, status="ok"):
    return Measurement(name, value, n, low, high, group, feature, status)


def one(evaluator, now, reference=(), at=NOW, policy=None):
    (found,) = judge(policy or Policy(), evaluator, now, reference, at)
    return found


def test_the_shipped_policy_is_the_built_in_one():
    file = Path(__file__).parents[3] / "configs/policies/default.toml"
    assert load_policy(file) == Policy()
    assert set(tomllib.loads(file.read_text())) == set(Policy.model_fields)


def test_a_policy_with_wrong_keys_is_refused_with_all_of_them(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text('[quality]\nfal = 0.1\n[fairness]\ngap = 7\n[driftt]\n[calibration]\nlevel = "high"\n')
    with pytest.raises(Invalid) as refused:
        load_policy(file)
    assert {p.where for p in refused.value.problems} == {
        "quality.fal",
        "fairness.gap",
        "driftt",
        "calibration.level",
    }


def test_a_policy_file_that_is_missing_is_not_found_unless_it_is_the_default(tmp_path, monkeypatch):
    with pytest.raises(NotFound):
        load_policy(tmp_path / "none.toml")
    monkeypatch.chdir(tmp_path)
    assert load_policy(Evaluation().policy) == Policy()


@pytest.mark.parametrize(
    ("now", "verdict", "level"),
    [
        ((0.687, 0.676, 0.698), Verdict.BEYOND, "High"),
        ((0.726, 0.716, 0.736), Verdict.UNKNOWN, "Low"),
        ((0.765, 0.755, 0.775), Verdict.WITHIN, "Low"),
    ],
)
def test_quality_is_held_against_the_reference_wave(now, verdict, level):
    found = one("discrimination", [m("auc", *now)], [m("auc", 0.757, 0.739, 0.775)])
    assert (found.rule, found.subject, found.verdict, found.level) == ("quality", "auc", verdict, level)
    assert found.value == pytest.approx(0.757 - now[0])


def test_a_quality_finding_reads_as_a_person_would_say_it():
    found = one("discrimination", [m("auc", 0.687, 0.676, 0.698)], [m("auc", 0.757, 0.739, 0.775)])
    assert found.sentence == (
        "AUC fell from 0.757 in wave 2016-07 to 0.687 in wave 2018-07: a fall of 0.070, 95 % interval "
        "0.049 to 0.091, which is beyond the limit of 0.03. "
        "Consider suspending this model, or training it on newer records."
    )


def test_the_reference_wave_has_nothing_to_fall_from():
    assert judge(Policy(), "discrimination", [m("auc", 0.7, 0.6, 0.8)], [], FIRST) == []


def test_too_few_cases_are_too_little_data_to_tell():
    few = m("auc", None, n=7, status="too few")
    found = one("discrimination", [few], [m("auc", 0.757, 0.739, 0.775)])
    assert (found.verdict, found.value, found.level) == (Verdict.UNKNOWN, None, "Low")
    assert "7" not in found.sentence.replace("2018-07", "").replace("2016-07", "")


@pytest.mark.parametrize(
    ("bias", "verdict"),
    [
        ((0.067, 0.064, 0.071), Verdict.BEYOND),
        ((-0.067, -0.071, -0.064), Verdict.BEYOND),
        ((0.047, 0.041, 0.053), Verdict.UNKNOWN),
        ((-0.047, -0.053, -0.041), Verdict.UNKNOWN),
        ((0.0, -0.08, 0.08), Verdict.UNKNOWN),
        ((0.01, -0.02, 0.04), Verdict.WITHIN),
    ],
)
def test_calibration_is_judged_either_way_and_on_the_reference_wave_too(bias, verdict):
    assert one("calibration", [m("calibration_bias", *bias)], at=FIRST).verdict is verdict


def test_fairness_is_judged_for_each_group_column():
    gaps = [
        m("auc_gap", 0.2, 0.12, 0.28, group="district"),
        m("auc_gap", 0.02, 0.0, 0.06, group="density"),
        m("tpr_gap", 0.9, 0.8, 1.0, group="density"),
    ]
    found = {j.subject: j.verdict for j in judge(Policy(), "groups", gaps, [], NOW)}
    assert found == {"district": Verdict.BEYOND, "density": Verdict.WITHIN}


def drifted(distance, p, features=1, policy=None):
    now = [m("input_distance", *distance, feature="age"), m("input_p", p, feature="age")]
    for at in range(features - 1):
        now += [m("input_distance", 0, 0, 0.01, feature=f"f{at}"), m("input_p", 0.5, feature=f"f{at}")]
    return judge(policy or Policy(), "input_drift", now, [], NOW)[0]


def test_drift_is_beyond_when_large_and_not_by_chance():
    assert drifted((0.25, 0.24, 0.27), 1e-30).verdict is Verdict.BEYOND
    assert drifted((0.25, 0.24, 0.27), 1e-30).level == "Medium"


def test_drift_that_is_sure_but_small_is_within_tolerance():
    assert drifted((0.15, 0.14, 0.16), 1e-30).verdict is Verdict.WITHIN


def test_drift_that_looks_large_but_may_be_chance_is_too_little_data():
    found = drifted((0.25, 0.21, 0.4), 0.004)
    assert (found.verdict, found.level) == (Verdict.UNKNOWN, "Low")


def test_drift_that_is_sure_but_of_doubtful_size_is_an_early_warning():
    found = drifted((0.19, 0.16, 0.22), 1e-6)
    assert (found.verdict, found.level) == (Verdict.UNKNOWN, "Medium")
    assert "it has moved" in found.sentence


def test_the_promise_is_shared_among_all_inputs_of_a_year():
    just_enough = 0.05 / 52 / 2
    assert drifted((0.25, 0.21, 0.4), just_enough).verdict is Verdict.BEYOND
    assert drifted((0.25, 0.21, 0.4), just_enough, features=20).verdict is Verdict.UNKNOWN


def test_the_reference_wave_is_not_held_against_itself():
    now = [m("input_distance", None, feature="age", status="reference")]
    assert judge(Policy(), "input_drift", now, [], FIRST) == []


def test_columns_are_called_by_their_titles():
    at = Occasion("binary", "w2", "w1", {"age": "Age at admission"})
    now = [m("input_distance", 0.2, 0.15, 0.25, feature="age"), m("input_p", 0.0, feature="age")]
    (found,) = judge(Policy(), "input_drift", now, [], at)
    assert "“Age at admission”" in found.sentence
    assert found.subject == "age"


def test_an_evaluator_without_a_rule_leads_to_no_finding():
    assert judge(Policy(), "somebody_elses", [m("auc", 0.1, 0.0, 0.2)], [], NOW) == []


# --- the model itself ---


def test_the_input_whose_loss_costs_most_is_named_once_for_a_model():
    now = [
        m("auc_fall_missing", 0.02, 0.01, 0.03, feature="age"),
        m("auc_fall_missing", 0.21, 0.17, 0.25, feature="home_town"),
        m("auc_fall_swap", 0.15, 0.05, 0.25, feature="ward"),
        m("flips_missing", 0.4, 0.3, 0.5, feature="age"),
    ]
    found = one("robustness", now, at=FIRST)
    assert (found.subject, found.verdict, found.value) == ("home_town", Verdict.BEYOND, 0.21)
    assert "Where “home town” is missing, AUC falls by 0.210" in found.sentence
    assert judge(Policy(), "robustness", now, [], NOW) == []  # it is the model's, not the wave's
    doubt = one("robustness", [m("auc_fall_noise", 0.09, 0.05, 0.13, feature="age")], at=FIRST)
    assert (doubt.verdict, doubt.level) == (Verdict.UNKNOWN, "Low")
    surely = one("robustness", [m("auc_fall_noise", 0.01, 0.0, 0.02, feature="age")], at=FIRST)
    assert surely.verdict is Verdict.WITHIN


def test_bounds_on_what_one_of_many_inputs_costs_hold_for_all_of_them_at_once():
    alone = [m("auc_fall_missing", 0.14, 0.105, 0.175, feature="age")]
    many = alone + [m("auc_fall_missing", 0.0, -0.03, 0.03, feature=f"x{at}") for at in range(19)]
    assert one("robustness", alone, at=FIRST).verdict is Verdict.BEYOND
    assert one("robustness", many, at=FIRST).verdict is Verdict.UNKNOWN
    assert (
        "95 % interval 0.086 to 0.194" in one("robustness", many, at=FIRST).sentence
    )  # 3.023 / 1.960 as wide


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("binary", "version_flips", "decides otherwise than the one before for 14.0 % of records"),
        ("regression", "version_shift", "lie 0.140 halves of the target's range apart"),
    ],
)
def test_a_version_that_decides_otherwise_than_the_one_before_says_so_once(kind, name, words):
    found = one("stability", [m(name, 0.14, 0.12, 0.16)], at=Occasion(kind, "2016-07"))
    assert (found.verdict, found.level) == (Verdict.BEYOND, "Medium")
    assert words in found.sentence
    assert judge(Policy(), "stability", [m(name, 0.14, 0.12, 0.16)], [], Occasion(kind, "w2", "w1")) == []
    assert judge(Policy(), "stability", [m(name, None, status="no earlier version")], [], FIRST) == []


def test_where_there_is_a_champion_a_version_is_judged_by_what_it_decides_otherwise_than_that_one():
    now = [m("version_flips", 0.14, 0.12, 0.16), m("champion_flips", 0.04, 0.03, 0.05)]
    found = one("stability", now, at=FIRST)
    assert (found.subject, found.verdict) == ("champion_flips", Verdict.WITHIN)
    assert "otherwise than the champion for 4.0 % of records" in found.sentence
    alone = [now[0], m("champion_flips", None, status="no other version is champion")]
    assert one("stability", alone, at=FIRST).subject == "version_flips"


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ((0.25, 0.09, 0.49, 20), Verdict.BEYOND),
        ((0.95, 0.85, 0.99, 52), Verdict.WITHIN),
        ((1.0, 0.40, 1.0, 4), Verdict.UNKNOWN),
    ],
)
def test_an_estimate_without_outcomes_that_seldom_came_true_is_not_to_be_relied_on(held, verdict):
    value, low, high, n = held
    now = [m("expected_auc", 0.8, 0.7, 0.9), m("expected_auc_held", value, low, high, n=n)]
    found = one("expected", now)
    assert (found.subject, found.verdict) == ("expected_auc", verdict)
    assert f"came true on {round(value * n)} of {n} waves" in found.sentence
