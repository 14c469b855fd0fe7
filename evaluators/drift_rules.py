"""What kind of change is it, and does it matter? The sentences about inputs, scores, outcomes, relation, volume."""

from __future__ import annotations

from collections.abc import Iterator

from evaluators.judgement import Judgement, Measured, Occasion, estimate_of, find
from evaluators.policy import Drift, Policy, above
from sandbox.lifecycle import Verdict
from sandbox.records import Measurement

RELATION = "How outcomes follow from scores"


def inputs(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    todo = "Ask the custodian whether recording changed, and look at this model's quality on this wave."
    streams = sum(m.name == "input_distance" for m in now)
    for m in (m for m in now if m.name == "input_distance"):
        words = f"Input “{at.words(m.feature)}”{_kind(now, m)}"
        yield from _drifted(policy.input_drift, "input drift", m.feature, words, todo, m, now, streams, at)


def scores(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    todo, words = "Look at which inputs moved, and at calibration.", "The model's scores"
    yield from _one(policy.score_drift, "score", words, todo, now, at)


def outcomes(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    todo = "Ask whether the outcome is still recorded in the same way; if it is, recalibrate."
    yield from _one(policy.outcome_drift, "outcome", "Outcomes", todo, now, at)


def relation(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    todo = "The model has learned what no longer holds: recalibrate, or train it on newer records."
    words = "The model's errors" if at.kind == "regression" else RELATION
    yield from _one(policy.relation_drift, "relation", words, todo, now, at)


def volume(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    m, limit = find(now, "volume_ratio"), policy.volume.change
    here = None if m is None else estimate_of(m)
    if m is None or here is None:
        return
    if here.low > limit or here.high < 1 / limit:
        verdict = Verdict.BEYOND
    else:
        verdict = Verdict.WITHIN if 1 / limit < here.low and here.high < limit else Verdict.UNKNOWN
    said = (
        f"Wave {at.wave} has {here.value:.2f} records for each one in the file of wave {at.reference}"
        f" (95 % interval {here.low:.2f} to {here.high:.2f})"
    )
    allowed = f"from {1 / limit:.2g} to {limit:.2g}"
    sentence = {
        Verdict.BEYOND: f"{said}, outside {allowed}. Ask the custodian whether the wave is whole.",
        Verdict.WITHIN: f"{said}, which is {allowed}. Nothing to do.",
        Verdict.UNKNOWN: f"{said}; whether that is {allowed} cannot be told yet.",
    }[verdict]
    level = policy.volume.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("volume", "records", verdict, level, sentence, here.value, limit)


def _one(
    section: Drift, what: str, words: str, todo: str, now: Measured, at: Occasion
) -> Iterator[Judgement]:
    m = find(now, f"{what}_distance")
    if m is not None:
        yield from _drifted(section, f"{what} drift", what, words, todo, m, now, 1, at)


def _kind(now: Measured, distance: Measurement) -> str:
    """Which part of an input moved, where missing or unknown values make up most of it."""
    for what, words in (("missing", "missing values"), ("unknown", "categories that the card does not list")):
        change, share = (find(now, f"{what}_{end}", feature=distance.feature) for end in ("change", "share"))
        if change is None or share is None or change.value is None or share.value is None:
            continue
        if change.low is None or change.high is None or change.low <= 0 <= change.high:
            continue
        if abs(change.value) >= (distance.value or 0.0) / 2:
            before = share.value - change.value
            return f", {words} ({before * 100:.1f} % before, now {share.value * 100:.1f} %)"
    return ""


def _drifted(
    section: Drift, rule: str, subject: str, words: str, todo: str,
    distance: Measurement, now: Measured, streams: int, at: Occasion,
) -> Iterator[Judgement]:  # fmt: skip
    limit, here = section.distance, estimate_of(distance)
    p, scale = (
        find(now, distance.name.replace("_distance", end), feature=distance.feature)
        for end in ("_p", "_scale")
    )
    if distance.status == "reference":
        return
    if here is None or p is None or p.value is None:
        sentence = f"{words} in wave {at.wave}: too few cases to compare with wave {at.reference}."
        yield Judgement(rule, subject, Verdict.UNKNOWN, "Low", sentence, None, limit)
        return
    verdict, moved = above(here, limit), p.value < section.p_limit(streams)
    if verdict is Verdict.BEYOND and not moved:
        verdict = Verdict.UNKNOWN
    waves = f"wave {at.wave}"
    if scale is not None and scale.value is not None and scale.value > 1:
        waves = f"the last {scale.value:.0f} waves together"
    size = f"{here.value * 100:.1f} % of the records in {waves} would have to be elsewhere to look like"
    if words == RELATION:
        size = f"at the same score, outcomes in {waves} differed by {here.value * 100:.1f} points on average from"
    what = (
        f"{words}: {size} wave {at.reference}"
        f" (95 % interval {here.low * 100:.1f} to {here.high * 100:.1f} {'points' if words == RELATION else '%'})"
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
