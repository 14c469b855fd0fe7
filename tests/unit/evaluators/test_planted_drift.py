"""The generator's planted drifts are found at their exact onset and by their kind, and its quiet runs are quiet."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from evaluators import drift, scoring
from evaluators.base import Context
from evaluators.judgement import Occasion
from evaluators.policy import Policy
from evaluators.rules import judge
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.people import PeoplePlan, chunk_table, chunks, generate
from sandbox.catalogue.people_drift import Drift
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

ONSET = 2
HELD_OUT = 6000
PLAN = PeoplePlan(seed=7, rows=20_000, wave_rows=14_000, waves=3, recurs=False, max_rows_per_person=1)
EVALUATORS = {
    "input_drift": drift.input_drift, "volume": drift.volume, "score_drift": drift.score_drift,
    "outcome_drift": drift.outcome_drift, "relation_drift": drift.relation_drift,
}  # fmt: skip
POLICY = Policy.model_validate(
    {name: {"distance": 0.03} for name in ("input_drift", "score_drift", "outcome_drift", "relation_drift")}
)


@pytest.fixture(scope="module")
def encoding(tmp_path_factory):
    small = replace(PLAN, rows=1000, wave_rows=100, waves=1)
    folder = generate(tmp_path_factory.mktemp("people") / "made", small)
    return Encoding(Card.from_json(json.loads((folder / "card.json").read_text())), "admitted")


@pytest.fixture(scope="module")
def found(encoding):
    """Makes the findings beyond tolerance of each wave, of a model fitted on the first."""
    from sklearn.linear_model import LogisticRegression

    def seen(features):
        return np.column_stack([features["numbers"], *(features["categories"] == at for at in range(8))])

    def table(number, *drifts):
        """The first is the share of its file that is held out; later ones are whole."""
        (chunk,) = chunks(replace(PLAN, drifts=drifts), number)
        made = chunk_table(PLAN if not drifts else replace(PLAN, drifts=drifts), chunk)
        return made if number else made.slice(0, HELD_OUT)

    first = table(0)
    fitted = LogisticRegression(max_iter=200).fit(
        seen(encoding.features(first)), first["admitted"].to_numpy(zero_copy_only=False)
    )

    class Scorer:
        def probabilities(self, features):
            return fitted.predict_proba(seen(features))[:, 1]

    @cache
    def tally(number, *drifts):
        (batch,) = scoring.score([table(number, *drifts)], Scorer(), encoding)
        return scoring.count(batch)

    def findings(*drifts):
        waves, card, task = {}, encoding.card, encoding.task
        for number in range(1, PLAN.waves + 1):
            earlier = tuple(tally(n, *drifts) for n in range(number - 1, 0, -1))
            context = Context(tally(number, *drifts), card, task, tally(0), f"{number}", earlier=earlier)
            occasion = Occasion("binary", f"w{number}", "w0")
            waves[number] = [
                j
                for name, report in EVALUATORS.items()
                for j in judge(POLICY, name, list(report(context)), [], occasion)
                if j.verdict is Verdict.BEYOND
            ]
        return waves

    return findings


def kinds(judgements):
    return {(j.rule, j.subject if j.rule == "input drift" else "") for j in judgements}


def test_a_quiet_run_is_quiet(found):
    assert not any(found().values())


@pytest.mark.parametrize(
    ("planted", "must", "may", "words"),
    [
        (Drift("inputs", ONSET, 0.5), {("input drift", "weight_kg")}, {"score drift", "outcome drift"}, ""),
        (Drift("category", ONSET, 0.3), {("input drift", "referral")}, {"score drift", "outcome drift"}, ""),
        (
            Drift("missingness", ONSET, 0.3), {("input drift", "blood_pressure")},
            {"score drift", "relation drift"}, "missing values",
        ),
        (Drift("labels", ONSET, 1.0), {("outcome drift", ""), ("relation drift", "")}, set(), ""),
        (Drift("unit", ONSET, 0.5), {("input drift", "weight_kg")}, {"score drift", "relation drift"}, ""),
    ],
    ids=lambda value: value.kind if isinstance(value, Drift) else "",
)  # fmt: skip
def test_a_planted_drift_is_found_from_its_onset_on_and_by_its_kind(found, planted, must, may, words):
    waves = found(planted)
    assert not waves[ONSET - 1]
    for number in range(ONSET, PLAN.waves + 1):
        beyond = kinds(waves[number])
        assert must <= beyond, beyond
        assert {rule for rule, _ in beyond - must} <= may, beyond
        assert all(words in j.sentence for j in waves[number] if j.rule == "input drift")


def test_a_relation_that_turns_round_moves_no_input_and_is_found_as_a_relation(found):
    waves = found(*(Drift("relation", ONSET, 1.0, group) for group in ("Group A", "Group B", "Group C")))
    assert not waves[ONSET - 1]
    for number in range(ONSET, PLAN.waves + 1):
        assert ("relation drift", "") in kinds(waves[number])
        assert not {rule for rule, _ in kinds(waves[number])} & {"input drift", "score drift"}


def test_less_than_half_a_wave_is_a_finding_about_volume():
    now = [Measurement("volume_ratio", 0.4, 400, 0.38, 0.42)]
    (only,) = judge(POLICY, "volume", now, [], Occasion("binary", "w1", "w0"))
    assert only.verdict is Verdict.BEYOND
    assert "whether the wave is whole" in only.sentence


@pytest.mark.parametrize(("recurs", "ratio"), [(False, 0.7), (True, 0.7 / 0.3)])
def test_volume_is_held_against_the_file_that_the_reference_wave_was_held_out_of(encoding, recurs, ratio):
    """A later wave is whole where units do not recur, and its own held-out share where they do."""
    card = encoding.card.model_copy(update={"recurs": recurs})
    now, before = (
        Tally({"score": Table((Axis("score", ("any",)),), np.array([n]))}) for n in (14_000, HELD_OUT)
    )
    (found,) = drift.volume(Context(now, card, encoding.task, before, "w1"))
    assert found.value == pytest.approx(ratio)
    assert found.low < ratio < found.high
