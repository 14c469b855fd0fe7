"""What do measurements mean under a policy? Judgements, in sentences a person can act on.

Pure functions of measurements, so the same rules judge exact figures inside and noisy ones outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evaluators import intervals
from evaluators.intervals import Estimate
from evaluators.policy import Drift, Kind, Policy, above, off_centre
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement

WORDS = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "r2": "R²",
    "auc_gap": "AUC",
    "accuracy_gap": "accuracy",
}


@dataclass(frozen=True)
class Occasion:
    """Which wave is judged against which; `reference` is empty on the reference wave itself.

    `titles` are the words for columns, where the card has any.
    """

    kind: Kind
    wave: str
    reference: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)

    def words(self, column: str) -> str:
        return self.titles.get(column) or column.replace("_", " ")


@dataclass(frozen=True)
class Judgement:
    """One answer of one rule on one subject; `value` is what was held against `limit`."""

    rule: str
    subject: str
    verdict: Verdict
    level: str
    sentence: str
    value: float | None
    limit: float


Measured = Sequence[Measurement]


def judge(
    policy: Policy, evaluator: str, now: Measured, reference: Measured, occasion: Occasion
) -> list[Judgement]:
    """What the policy says of one evaluator's measurements; nothing for evaluators it has no rule on.

    `reference` holds the same evaluator's measurements on the reference wave, empty if this is it.
    """
    rule = _RULES.get(evaluator)
    return list(rule(policy, now, reference, occasion)) if rule else []


def _quality(policy: Policy, now: Measured, reference: Measured, at: Occasion) -> Iterator[Judgement]:
    limit, name = policy.quality.fall, policy.quality.measure.get(at.kind, "")
    after, before = _find(now, name), _find(reference, name)
    if not at.reference or after is None or before is None:
        return
    word, was, here = WORDS.get(name, name), _estimate(before), _estimate(after)
    if was is None or here is None:
        few = at.wave if here is None else at.reference
        sentence = f"Wave {few} has too few cases to say whether {word} fell. Wait for more records."
        yield Judgement("quality", name, Verdict.UNKNOWN, "Low", sentence, None, limit)
        return
    fall = intervals.difference(was, here)
    verdict = above(fall, limit)
    went = "fell" if fall.value > 0 else "rose"
    moved = f"{_capital(word)} {went} from {was.value:.3f} in wave {at.reference}"
    moved += f" to {here.value:.3f} in wave {at.wave}"
    how = f"a fall of {fall.value:.3f}, {_between(fall)}"
    if fall.value <= 0:
        rise = intervals.difference(here, was)
        how = f"a rise of {rise.value:.3f}, {_between(rise)}"
    sentence = {
        Verdict.BEYOND: f"{moved}: {how}, which is beyond the limit of {limit:g}. "
        "Consider suspending this model, or training it on newer records.",
        Verdict.WITHIN: f"{moved}: {how}. A fall beyond the limit of {limit:g} is ruled out. Nothing to do.",
        Verdict.UNKNOWN: f"{moved}: {how}. Whether it fell beyond the limit of {limit:g} cannot be told yet. "
        "Watch the next wave; a larger one would settle it.",
    }[verdict]
    level = policy.quality.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("quality", name, verdict, level, sentence, fall.value, limit)


def _calibration(policy: Policy, now: Measured, reference: Measured, at: Occasion) -> Iterator[Judgement]:
    limit, after = policy.calibration.bias, _find(now, "calibration_bias")
    if after is None:
        return
    here = _estimate(after)
    if here is None:
        sentence = f"Wave {at.wave} has too few cases to say whether predictions are right on average."
        yield Judgement("calibration", after.name, Verdict.UNKNOWN, "Low", sentence, None, limit)
        return
    verdict = off_centre(here, limit)
    side = "above" if here.value > 0 else "below"
    before = _find(reference, "calibration_bias")
    earlier = ""
    if before is not None and before.value is not None:
        was = "above" if before.value > 0 else "below"
        earlier = f", after {abs(before.value):.3f} {was} in wave {at.reference}"
    moved = (
        f"Predictions in wave {at.wave} were on average {abs(here.value):.3f} {side} what happened"
        f" (difference {_between(here)}){earlier}"
    )
    sentence = {
        Verdict.BEYOND: f"{moved}: beyond the limit of {limit:g} either way. "
        "Do not read the probabilities at face value; recalibrate or retrain.",
        Verdict.WITHIN: f"{moved}: within the limit of {limit:g} either way. Nothing to do.",
        Verdict.UNKNOWN: f"{moved}: it may or may not pass the limit of {limit:g} either way. "
        "Watch the next wave; a larger one would settle it.",
    }[verdict]
    level = policy.calibration.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("calibration", after.name, verdict, level, sentence, here.value, limit)


def _fairness(policy: Policy, now: Measured, reference: Measured, at: Occasion) -> Iterator[Judgement]:
    limit = policy.fairness.gap
    name = "auc_gap" if at.kind == "binary" else "accuracy_gap"
    for after in (m for m in now if m.name == name):
        here, word, column = _estimate(after), WORDS[name], f"“{at.words(after.group)}”"
        if here is None:
            sentence = f"Wave {at.wave} has too few cases to compare {word} between groups of {column}."
            yield Judgement("fairness", after.group, Verdict.UNKNOWN, "Low", sentence, None, limit)
            continue
        verdict = above(here, limit)
        before = _find(reference, name, group=after.group)
        earlier = ""
        if before is not None and before.value is not None:
            earlier = f", after {before.value:.3f} in wave {at.reference}"
        moved = (
            f"Between the groups of {column} furthest apart, {word} differed by {here.value:.3f}"
            f" in wave {at.wave} ({_between(here)}){earlier}"
        )
        sentence = {
            Verdict.BEYOND: f"{moved}: beyond the limit of {limit:g}. "
            "Look at the groups one by one before this model is used further.",
            Verdict.WITHIN: f"{moved}: within the limit of {limit:g}. Nothing to do.",
            Verdict.UNKNOWN: f"{moved}: it may or may not pass the limit of {limit:g}. "
            "Watch the next wave; the smaller groups need more records.",
        }[verdict]
        level = policy.fairness.level if verdict is Verdict.BEYOND else "Low"
        yield Judgement("fairness", after.group, verdict, level, sentence, here.value, limit)


def _input_drift(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    todo = "Ask the custodian whether recording changed, and look at this model's quality on this wave."
    streams = sum(m.name == "input_distance" for m in now)
    for m in (m for m in now if m.name == "input_distance"):
        p = _find(now, "input_p", feature=m.feature)
        words = f"Input “{at.words(m.feature)}”"
        yield from _drifted(policy.input_drift, "input drift", m.feature, words, todo, m, p, streams, at)


def _score_drift(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    m, p = _find(now, "score_distance"), _find(now, "score_p")
    todo = "Look at which inputs moved, and at calibration."
    if m is not None:
        words = "The model's scores"
        yield from _drifted(policy.score_drift, "score drift", "score", words, todo, m, p, 1, at)


def _outcome_drift(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    m, p = _find(now, "outcome_distance"), _find(now, "outcome_p")
    todo = "Ask whether the outcome is still recorded in the same way; if it is, recalibrate."
    if m is not None:
        words = "Outcomes"
        yield from _drifted(policy.outcome_drift, "outcome drift", "outcome", words, todo, m, p, 1, at)


def _drifted(
    section: Drift, rule: str, subject: str, words: str, todo: str,
    distance: Measurement, p: Measurement | None, streams: int, at: Occasion,
) -> Iterator[Judgement]:  # fmt: skip
    limit, here = section.distance, _estimate(distance)
    if distance.status == "reference":
        return
    if here is None or p is None or p.value is None:
        sentence = f"{words} in wave {at.wave}: too few cases to compare with wave {at.reference}."
        yield Judgement(rule, subject, Verdict.UNKNOWN, "Low", sentence, None, limit)
        return
    verdict, moved = above(here, limit), p.value < section.p_limit(streams)
    if verdict is Verdict.BEYOND and not moved:
        verdict = Verdict.UNKNOWN
    what = (
        f"{words}: {here.value * 100:.1f} % of the records in wave {at.wave} would have to be elsewhere"
        f" to look like wave {at.reference} (95 % interval {here.low * 100:.1f} to {here.high * 100:.1f} %)"
    )
    sure = f"chance alone would say so in fewer than {section.false_alarms_a_year * 100:g} % of years"
    allowed = f"the limit of {limit * 100:g} %"
    sentence = {
        Verdict.BEYOND: f"{what}, which is beyond {allowed}; {sure}. {todo}",
        Verdict.WITHIN: f"{what}, which is within {allowed}. Nothing to do.",
        Verdict.UNKNOWN: f"{what}, which may or may not pass {allowed}; "
        + (
            f"it has moved, though: {sure}. {todo}"
            if moved
            else "chance is not ruled out. Watch the next wave."
        ),
    }[verdict]
    level = {Verdict.BEYOND: section.level, Verdict.UNKNOWN: "Medium" if moved else "Low"}.get(verdict, "Low")
    yield Judgement(rule, subject, verdict, level, sentence, here.value, limit)


_RULES: dict[str, Callable[[Policy, Measured, Measured, Occasion], Iterator[Judgement]]] = {
    "discrimination": _quality,
    "calibration": _calibration,
    "groups": _fairness,
    "input_drift": _input_drift,
    "score_drift": _score_drift,
    "outcome_drift": _outcome_drift,
}


def _find(measurements: Measured, name: str, group: str = "", feature: str = "") -> Measurement | None:
    key = (name, group, feature)
    return next((m for m in measurements if (m.name, m.group, m.feature) == key), None)


def _estimate(m: Measurement) -> Estimate | None:
    if m.value is None or m.low is None or m.high is None:
        return None
    return Estimate(m.value, m.low, m.high, m.n)


def _between(estimate: Estimate) -> str:
    return f"95 % interval {estimate.low:.3f} to {estimate.high:.3f}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
