"""The exit gate's rules as tables: what is wrong with a content, and what suppression makes of one."""

import copy
import json
import math
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.disclosure import rules
from sandbox.disclosure.suppression import suppress

CONTENT = json.loads((Path(__file__).parent / "release_content.json").read_text())
W, NORTH, SOUTH, EAST = "waves.0", "waves.0.groups.0", "waves.0.groups.1", "waves.0.groups.2"
OK = {"value": 0.5, "low": 0.4, "high": 0.6, "status": "ok"}


def changed(path, value):
    content = copy.deepcopy(CONTENT)
    *way, last = path.split(".")
    part = content
    for step in way:
        part = part[int(step)] if isinstance(part, list) else part[step]
    if value is ...:
        del part[last]
    else:
        part[int(last) if isinstance(part, list) else last] = value
    return content


def group(label, n, attribute="district"):
    return {"attribute": attribute, "attribute_title": "District", "label": label, "n": n,
            "status": "ok" if n is not None else "too few", "measures": {}}  # fmt: skip


def test_a_content_that_keeps_the_rules_has_no_problems():
    assert rules.problems(CONTENT) == []


@pytest.mark.parametrize(
    ("path", "value", "where", "what"),
    [
        # shape
        ("format", "ndl-release/2", "format", "input should be"),
        ("words.title", ..., "words.title", "missing"),
        ("words.joke", "Ha.", "words.joke", "unknown key"),
        ("records", [1, 2], "records", "unknown key"),
        (f"{W}.rows", 6475, f"{W}.rows", "unknown key"),
        (f"{W}.measures.auc.n", 2000, f"{W}.measures.auc.n", "unknown key"),
        ("version", "1", "version", "valid integer"),
        ("version", True, "version", "valid integer"),
        ("standing", "anonymised", "standing", "input should be"),
        ("privacy.adjacency", "replace one", "privacy.adjacency", "input should be"),
        ("privacy.budget.share", 1.2, "privacy.budget.share", "less than or equal to 1"),
        ("publication.mechanism", "none", "publication.mechanism", "input should be"),
        ("updated", "today", "updated", "pattern"),
        ("words.summary", "Bad \u202e words", "words.summary", "control or direction characters"),
        ("words.summary", "x" * 1001, "words.summary", "at most 1000"),
        ("model", "../etc", "model", "pattern"),
        # unsafe statistics
        (f"{W}.measures.maximum_age", OK, f"{W}.measures", "no rule allows"),
        (f"{W}.measures.median", OK, f"{W}.measures", "no rule allows"),
        (f"{W}.measures.min", OK, f"{W}.measures", "no rule allows"),
        # numbers
        (f"{W}.measures.auc.value", math.nan, f"content.{W}.measures.auc.value", "not a finite number"),
        (f"{W}.measures.auc.high", math.inf, f"content.{W}.measures.auc.high", "not a finite number"),
        ("privacy.epsilon", math.inf, "content.privacy.epsilon", "not a finite number"),
        ("updated", date(2016, 8, 2), "content.updated", "not a JSON value"),
        ("limits", {1: 0.3}, "content.limits", "a key that is not text"),
        # threshold, zero included, and rounding
        (f"{W}.n", 5, f"{W}.n", "below the threshold of 10"),
        (f"{NORTH}.n", 0, f"{NORTH}.n", "below the threshold of 10"),
        (f"{NORTH}.n", -5, f"{NORTH}.n", "below the threshold of 10"),
        (f"{NORTH}.n", 1502, f"{NORTH}.n", "not rounded to 5"),
        (f"{W}.n", 1999, f"{W}.n", "not rounded to 5"),
        (f"{W}.n", 2000.0, f"{W}.n", "valid integer"),
        # figures without a count
        (f"{EAST}.measures", {"tpr": OK}, EAST, "no count that may be shown"),
        (f"{W}.n", None, W, "no count that may be shown"),
        # contradictions
        (f"{EAST}.status", "ok", EAST, "contradict"),
        (f"{NORTH}.status", "too few", NORTH, "contradict"),
        (f"{W}.measures.auc.status", "too few", f"{W}.measures.auc", "contradict"),
        (f"{W}.measures.auc_gap.status", "ok", f"{W}.measures.auc_gap", "contradict"),
        (f"{W}.measures.auc_gap.low", 0.2, f"{W}.measures.auc_gap", "contradict"),
        # secondary suppression and repetition
        (EAST, group("East", 50), "waves.0.groups", "exactly one group of district"),
        (EAST, group("North", None), "waves.0.groups", "there twice"),
        ("waves", CONTENT["waves"] * 2, "waves", "2016 is there twice"),
        # precision
        (f"{W}.measures.auc.value", 0.75712, f"{W}.measures.auc", "more than 3 decimals"),
        (f"{NORTH}.measures.auc.low", 0.70001, f"{NORTH}.measures.auc", "more than 3 decimals"),
        ("findings.0.value", 0.00612, "findings.0", "more than 3 decimals"),
        ("privacy.sampling_rate", 0.02913, "privacy.sampling_rate", "two significant figures"),
        # sentences
        ("findings.0.sentence", "AUC fell for 7 people.", "findings.0.sentence", "too small or not rounded"),
        ("findings.0.sentence", "It fell among 1,234 records.", "findings.0.sentence", "too small or not"),
        ("history.0.what", "Suspended (n = 3).", "history.0.what", "too small or not rounded"),
        ("history.0.what", "AUC was 0.75713.", "history.0.what", "more than 3 decimals"),
    ],
)  # fmt: skip
def test_a_content_that_breaks_a_rule_is_told_which(path, value, where, what):
    found = rules.problems(changed(path, value))
    assert any(p.where == where and what in p.what.lower() + p.what for p in found), found


@pytest.mark.parametrize(
    "sentence",
    [
        "It fell among 1,235 records.",
        "n = 20 was enough.",
        "Version 2 approved in 2018.",
        "Fewer than 5% of years.",
    ],
)
def test_a_sentence_that_keeps_the_rules_passes(sentence):
    assert rules.problems(changed("history.0.what", sentence)) == []


def test_no_message_quotes_a_figure():
    content = changed(f"{NORTH}.n", 7)
    content["waves"][0]["measures"]["auc"]["value"] = 0.987654
    text = "\n".join(map(str, rules.problems(content)))
    assert "7" not in text
    assert "0.98" not in text


def shown(counts):
    """What suppression leaves of one attribute's groups, by count: None where withheld."""
    content = changed(f"{W}.groups", [group(f"g{i}", n) for i, n in enumerate(counts)])
    return [g["n"] for g in suppress(content)["waves"][0]["groups"]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1502, 498], [1500, 500]),
        ([1503, 497], [1505, 495]),
        ([10, 12, 13], [10, 10, 15]),
        ([9, 500, 600], [None, None, 600]),  # alone it would follow from the total
        ([0, 500, 600], [None, None, 600]),
        ([-40, 500, 600], [None, None, 600]),  # noise
        ([9, 8, 500, 600], [None, None, 500, 600]),  # 17 together: two are enough
        ([1, 2, 500, 600], [None, None, None, 600]),  # 3 together would still be too few
        ([1, 2, 3, 500], [None, None, None, None]),
        ([9, 500], [None, None]),
        ([9], [None]),
        ([1, 2], [None, None]),
        ([], []),
        ([20, 20, 9], [None, 20, None]),  # of equals, the first label goes
    ],
)
def test_suppression_of_one_attribute(before, after):
    assert shown(before) == after


def test_attributes_are_protected_apart():
    groups = [group("a", 5), group("b", 50), group("c", 60), group("x", 70, "age"), group("y", 45, "age")]
    left = suppress(changed(f"{W}.groups", groups))["waves"][0]["groups"]
    assert [g["n"] for g in left] == [None, None, 60, 70, 45]
    assert [g["status"] for g in left] == ["too few", "suppressed", "ok", "ok", "ok"]


def test_a_wave_of_too_few_keeps_only_the_names_of_its_measures():
    wave = suppress(changed(f"{W}.n", 9))["waves"][0]
    assert wave["n"] is None
    assert {m["value"] for m in wave["measures"].values()} == {None}
    assert set(wave["measures"]) == {"auc", "outcome_rate", "auc_gap"}


@pytest.mark.parametrize(
    ("measure", "left"),
    [
        ({"value": 0.12345, "low": 0.1, "high": 0.2, "status": "ok"}, (0.123, 0.1, 0.2, "ok")),
        ({"value": 0.5, "low": 0.4, "high": 0.6, "status": "ok", "n": 9}, (None, None, None, "too few")),
        ({"value": 0.5, "low": 0.4, "high": 0.6, "status": "ok", "n": 10}, (0.5, 0.4, 0.6, "ok")),
        ({"value": math.nan, "low": 0.4, "high": 0.6, "status": "ok"}, (None, None, None, "undefined")),
        ({"value": 0.5, "low": -math.inf, "high": 0.6, "status": "ok"}, (0.5, None, 0.6, "ok")),
        ({"value": 0.5, "low": 0.4, "high": 0.6, "status": "undefined"}, (None, None, None, "undefined")),
        ({"value": -0.0001, "low": None, "high": None, "status": "ok"}, (0.0, None, None, "ok")),
    ],
)
def test_suppression_of_one_measure(measure, left):
    found = suppress(changed(f"{W}.measures.auc", measure))["waves"][0]["measures"]["auc"]
    assert (found["value"], found["low"], found["high"], found["status"]) == left
    assert str(found["value"]) != "-0.0"


COUNTS = st.lists(st.integers(-60, 200), max_size=7)


@given(COUNTS, st.integers(-10, 500), st.integers(1, 20), st.integers(1, 10), st.floats(-2, 2))
@settings(max_examples=150, deadline=None)
def test_whatever_the_figures_suppression_makes_them_pass_and_repeating_it_changes_nothing(
    counts, total, threshold, round_to, value
):
    content = changed(f"{W}.groups", [group(f"g{i}", n) for i, n in enumerate(counts)])
    content["publication"] |= {"threshold": threshold, "round_to": round_to}
    content["waves"][0]["n"] = total
    for part in content["waves"][0]["groups"]:
        part["measures"] = {"auc": OK | {"value": value}}
    before = copy.deepcopy(content)
    once = suppress(content)
    assert content == before
    assert rules.problems(once) == []
    assert suppress(once) == once


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"n": 5}, "waves.0.inputs.1.n", "below the threshold"),
        ({"n": 2001}, "waves.0.inputs.1.n", "not rounded"),
        ({"n": None, "status": "too few"}, "waves.0.inputs.1", "has figures but no count"),
        ({"status": "too few"}, "waves.0.inputs.1", "contradict each other"),
        ({"column": "ward"}, "waves.0.inputs", "an input is there twice"),
        (
            {"measures": {"input_distance": OK | {"value": 0.12345}}},
            "waves.0.inputs.1",
            "more than 3 decimals",
        ),
        ({"measures": {"input_minimum": OK}}, "waves.0.inputs.1", "a measure that no rule allows"),
    ],
)
def test_inputs_keep_the_rules_of_groups(change, where, what):
    inputs = [
        {"column": column, "title": "Ward", "n": 2000, "status": "ok", "measures": {"input_distance": OK}}
        for column in ("ward", "age")
    ]
    content = changed(f"{W}.inputs", inputs)
    assert rules.problems(content) == []
    inputs[1] |= change
    found = rules.problems(content)
    assert any(where in problem.where and what in problem.what for problem in found), found


def test_inputs_of_a_wave_that_is_too_small_are_withheld_with_it():
    inputs = [{"column": "ward", "title": "Ward", "n": 7, "status": "ok", "measures": {"input_distance": OK}}]
    content = suppress(changed(W, CONTENT["waves"][0] | {"n": 7, "groups": [], "inputs": inputs}))
    assert content["waves"][0]["inputs"][0] == inputs[0] | {"n": None, "status": "too few", "measures": {}}
    assert rules.problems(content) == []
