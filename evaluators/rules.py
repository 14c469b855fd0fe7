"""What do measurements mean under a policy? Judgements, in sentences a person can act on.

Pure functions of measurements, so the same rules judge exact figures inside and noisy ones outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from evaluators import drift_rules, intervals, membership_rules, model_rules
from evaluators.axes import PAIR
from evaluators.fairness import HEADLINES
from evaluators.judgement import Judgement, Measured, Occasion, between, estimate_of, find
from evaluators.policy import Policy, above, off_centre
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement

__all__ = ["Judgement", "Occasion", "judge"]

WORDS = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "r2": "R²",
    "auc_gap": "AUC",
    "accuracy_gap": "accuracy",
    "mae_gap": "mean absolute error (in halves of the target's range)",
}


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
    after, before = find(now, name), find(reference, name)
    if not at.reference or after is None or before is None:
        return
    word, was, here = WORDS.get(name, name), estimate_of(before), estimate_of(after)
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
    how = f"a fall of {fall.value:.3f}, {between(fall)}"
    if fall.value <= 0:
        rise = intervals.difference(here, was)
        how = f"a rise of {rise.value:.3f}, {between(rise)}"
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
    limit, after = policy.calibration.bias, find(now, "calibration_bias")
    if after is None:
        return
    here = estimate_of(after)
    if here is None:
        sentence = f"Wave {at.wave} has too few cases to say whether predictions are right on average."
        yield Judgement("calibration", after.name, Verdict.UNKNOWN, "Low", sentence, None, limit)
        return
    verdict = off_centre(here, limit)
    side = "above" if here.value > 0 else "below"
    before = find(reference, "calibration_bias")
    earlier = ""
    if before is not None and before.value is not None:
        was = "above" if before.value > 0 else "below"
        earlier = f", after {abs(before.value):.3f} {was} in wave {at.reference}"
    moved = (
        f"Predictions in wave {at.wave} were on average {abs(here.value):.3f} {side} what happened"
        f" (difference {between(here)}){earlier}"
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
    """One judgement for each column of groups, and one for all pairs of columns: of the pair furthest apart."""
    limit, measure = policy.fairness.gap, HEADLINES[at.kind]
    name = f"{measure}_gap"
    gaps = [m for m in now if m.name == name]
    for after in [m for m in gaps if PAIR not in m.group] + _furthest(gaps, limit):
        here, word, column = estimate_of(after), WORDS[name], f"“{at.words(after.group)}”"
        if here is None:
            sentence = f"Wave {at.wave} has too few cases to compare {word} between groups of {column}."
            yield Judgement("fairness", after.group, Verdict.UNKNOWN, "Low", sentence, None, limit)
            continue
        verdict = above(here, limit)
        before = find(reference, name, group=after.group)
        earlier = ""
        if before is not None and before.value is not None:
            earlier = f", after {before.value:.3f} in wave {at.reference}"
        moved = (
            f"Between the groups of {column} furthest apart, {word} differed by {here.value:.3f}"
            f" in wave {at.wave} ({between(here)}){earlier}{_worst(now, measure, after.group)}"
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


def _furthest(gaps: Measured, limit: float) -> list[Measurement]:
    """Of the pairs of columns the one to speak of: surest beyond the limit, else least surely within it."""
    known = [(m, e) for m in gaps if PAIR in m.group and (e := estimate_of(m))]
    if not known:
        return []
    surest = max(known, key=lambda pair: pair[1].low)
    return [(surest if surest[1].low > limit else max(known, key=lambda pair: pair[1].high))[0]]


def _worst(now: Measured, measure: str, column: str) -> str:
    """The group the model works worst for, where the figures name it; the public's do not."""
    named = (m.group for m in now if m.name == f"{measure}_worst" and m.group.startswith(f"{column}="))
    end = "highest" if measure == "mae" else "lowest"
    return "".join(f", {end} for “{group.removeprefix(f'{column}=')}”" for group in named)


_RULES: dict[str, Callable[[Policy, Measured, Measured, Occasion], Iterator[Judgement]]] = {
    "discrimination": _quality,
    "calibration": _calibration,
    "groups": _fairness,
    "input_drift": drift_rules.inputs,
    "score_drift": drift_rules.scores,
    "outcome_drift": drift_rules.outcomes,
    "relation_drift": drift_rules.relation,
    "volume": drift_rules.volume,
    "robustness": model_rules.robustness,
    "stability": model_rules.stability,
    "expected": model_rules.expected,
    "membership": membership_rules.broken_promise,
}


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
