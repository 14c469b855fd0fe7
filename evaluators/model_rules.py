"""What must an overseer know of the model itself? How much hangs on one input, what a new version decides otherwise,
and whether what was expected without outcomes came true.

The first two are the model's own, whatever wave it is asked about: they are judged once, on the reference wave.
"""

from __future__ import annotations

from collections.abc import Iterator

from evaluators import intervals
from evaluators.intervals import Estimate
from evaluators.judgement import Judgement, Measured, Occasion, between, estimate_of, find
from evaluators.policy import Policy, above
from sandbox.lifecycle import Verdict

LOST = {
    "binary": ("auc_fall", "AUC falls by"),
    "multiclass": ("accuracy_fall", "accuracy falls by"),
    "regression": ("rmse_rise", "the root mean square error (in halves of the target's range) grows by"),
}
CHANGES = {"missing": "is missing", "noise": "carries noise", "swap": "holds another category"}


def robustness(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    """Of all inputs the one whose loss costs most; bounds hold for all of them at once."""
    limit, (name, falls) = policy.robustness.fall, LOST[at.kind]
    known = [(m, e) for m in now if m.name.startswith(name) and (e := estimate_of(m))]
    if at.reference or not known:
        return
    found = [(m, _strict(estimate, len(known))) for m, estimate in known]
    surest = max(found, key=lambda pair: pair[1].low)
    m, here = surest if surest[1].low > limit else max(found, key=lambda pair: pair[1].high)
    verdict, change = above(here, limit), m.name.removeprefix(f"{name}_")
    said = f"Where “{at.words(m.feature)}” {CHANGES[change]}, {falls} {here.value:.3f} ({between(here)})"
    sentence = {
        Verdict.BEYOND: f"{said}, which is beyond the limit of {limit:g}. Ask the custodian how surely it is recorded,"
        " and watch whether more of it goes missing.",
        Verdict.WITHIN: f"{said}: no input alone costs more than the limit of {limit:g}. Nothing to do.",
        Verdict.UNKNOWN: f"{said}; whether that is beyond the limit of {limit:g} cannot be told from so few records.",
    }[verdict]
    level = policy.robustness.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("robustness", m.feature, verdict, level, sentence, here.value, limit)


def stability(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    """Against the champion, whose answers are acted on; where there is no other, against the version before."""
    number, limit = at.kind == "regression", policy.stability.change
    against = {"champion": "the champion", "version": "the one before"}
    names = {f"{word}_{'shift' if number else 'flips'}": other for word, other in against.items()}
    known = [(name, e) for name in names if (m := find(now, name)) and (e := estimate_of(m))]
    if at.reference or not known:
        return
    name, here = known[0]
    verdict = above(here, limit)
    what = (
        f"Answers of this version and of {names[name]} lie {here.value:.3f} halves of the target's range apart"
        if number
        else f"This version decides otherwise than {names[name]} for {here.value * 100:.1f} % of records"
    )
    said = f"{what} ({between(here)})"
    sentence = {
        Verdict.BEYOND: f"{said}, beyond the limit of {limit:g}. Tell those who act on its answers before it is used.",
        Verdict.WITHIN: f"{said}, within the limit of {limit:g}. Nothing to do.",
        Verdict.UNKNOWN: f"{said}; whether that is beyond the limit of {limit:g} cannot be told from so few records.",
    }[verdict]
    level = policy.stability.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("stability", name, verdict, level, sentence, here.value, limit)


def expected(policy: Policy, now: Measured, _: Measured, at: Occasion) -> Iterator[Judgement]:
    """Of the measures that were expected, the one that came true least often."""
    limit = policy.expected.held
    held = [(m, e) for m in now if m.name.endswith("_held") and (e := estimate_of(m))]
    if not held:
        return
    m, here = min(held, key=lambda pair: pair[1].value)
    verdict = Verdict.BEYOND if here.high < limit else Verdict.WITHIN if here.low > limit else Verdict.UNKNOWN
    said = (
        f"What was expected without outcomes came true on {round(here.value * here.n)} of {here.n} waves"
        f" up to {at.wave}"
    )
    sentence = {
        Verdict.BEYOND: f"{said}, surely fewer than {limit:.0%}: outcomes no longer follow from scores as they did."
        " Do not rely on the estimate; wait for outcomes.",
        Verdict.WITHIN: f"{said}, surely more than {limit:.0%}. Nothing to do.",
        Verdict.UNKNOWN: f"{said}: too few waves to tell whether it can be relied on.",
    }[verdict]
    level = policy.expected.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("expected", m.name.removesuffix("_held"), verdict, level, sentence, here.value, limit)


def _strict(estimate: Estimate, compared: int) -> Estimate:
    """As wide as bounds of about this shape are that hold for so many at once (Bonferroni)."""
    level = intervals.LEVEL
    wider = intervals.z_of(1 - (1 - level) / compared) / intervals.z_of(level)
    below, over = (wider * abs(end - estimate.value) for end in (estimate.low, estimate.high))
    return Estimate(estimate.value, estimate.value - below, estimate.value + over, estimate.n)
