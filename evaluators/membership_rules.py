"""What does a membership attack mean beside the promise? One sentence on the figure that comes nearest to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from evaluators.intervals import Estimate
from evaluators.judgement import Judgement, Measured, Occasion, between, estimate_of, find
from evaluators.membership import ALLOWED, AUC, FOUND
from evaluators.policy import Policy, above
from sandbox.lifecycle import Verdict


class _Figure(NamedTuple):
    attack: str
    words: str
    here: Estimate
    most: float


def broken_promise(policy: Policy, now: Measured, _reference: Measured, at: Occasion) -> Iterator[Judgement]:
    """Beyond: an attack surely does better than epsilon allows anybody. Within: all surely do no better."""
    figures = list(_figures(now))
    if not figures:
        return
    nearest = max(figures, key=lambda figure: figure.here.low - figure.most)
    verdicts = {above(figure.here, figure.most) for figure in figures}
    verdict = next(v for v in (Verdict.BEYOND, Verdict.UNKNOWN, Verdict.WITHIN) if v in verdicts)
    here, most = nearest.here, f"this model's ε allows nobody more than {nearest.most:.3f}"
    tried = (
        f"An attack by {nearest.attack} on the records of the training and of wave {at.wave} {nearest.words}"
    )
    tried += f" {here.value:.3f} ({between(here)})"
    sentence = {
        Verdict.BEYOND: f"{tried}, but {most}. A promise to people is broken, or this evaluation is wrong: suspend the "
        "model, release nothing more of it, and look into its training.",
        Verdict.WITHIN: f"{tried}; {most}, and every attack stayed surely below. Nothing to do.",
        Verdict.UNKNOWN: f"{tried}; {most}. Whether all attacks stay within that cannot be told from so few people.",
    }[verdict]
    level = policy.membership.level if verdict is Verdict.BEYOND else "Low"
    yield Judgement("membership", "attacks", verdict, level, sentence, here.value, nearest.most)


def _figures(now: Measured) -> Iterator[_Figure]:
    words = {AUC: "told members from others with an AUC of"}
    words |= {
        name: f"found, at a false alarm for {rate * 100:g} % of others, a share of"
        for name, rate in FOUND.items()
    }
    for m in now:
        most, here = find(now, m.name + ALLOWED), estimate_of(m)
        if m.name in words and most is not None and most.value is not None and here is not None:
            yield _Figure(m.group.partition("=")[2], words[m.name], here, most.value)
