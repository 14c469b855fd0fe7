"""Can an attacker tell who was in the training? Three attacks by insiders, beside what epsilon allows anybody.

Done once for a model version, on the held-out side of the file that was split: there, members and others differ in
nothing else. A share of all members found is written at the false positive rate that an attacker would accept.
Intervals hold for all figures at once. An attack surely beyond what epsilon allows means that a promise is broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators import intervals
from evaluators.attacks import ATTACKS
from evaluators.base import Context, evaluator, too_few
from evaluators.cases import Cases
from evaluators.discrimination import auc_of, of
from evaluators.intervals import Estimate
from sandbox.privacy import telling
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

if TYPE_CHECKING:
    from evaluators.inside import Inside
    from sandbox.training.membership import Said

AUC = "membership_auc"
FOUND = {"membership_tpr_1": 0.01, "membership_tpr_01": 0.001}
"""Share of members found, at these false positive rates."""
TITLES = {"loss": "loss threshold", "lira": "LiRA", "rmia": "RMIA"}
ALLOWED = "_allowed"
LEVEL = 1 - (1 - intervals.LEVEL) / (len(ATTACKS) * (1 + len(FOUND)))

_WHY = Axis("why", ("too few", "too costly", "no record graph"))
_SIDE = Axis("in training", ("no", "yes"))


def attack(inside: Inside) -> Tally:
    """Where each unit stands among all in each attack's order, members and others apart; or why there is no attack."""
    from sandbox.registry.artifact import Scorer
    from sandbox.training.membership import NotGathered, gather

    try:
        if not isinstance(inside.scorer, Scorer):
            raise NotGathered("no record graph")
        said = gather(
            inside.store,
            inside.settings,
            inside.version,
            inside.wave,
            inside.scorer.model,
            inside.rng("attack"),
        )
    except NotGathered as reason:
        return Tally({"why": Table.count([_WHY], np.array([_WHY.labels.index(str(reason))]))})
    return ranked(said)


def ranked(said: Said) -> Tally:
    """The scores as ranks, which is all that rates depend on; units with the same score share one."""
    return Tally({name: _ranks(score(said), said.member) for name, score in ATTACKS.items()})


def _ranks(scores: NDArray[np.float64], member: NDArray[np.bool_]) -> Table:
    different, places = np.unique(np.nan_to_num(scores), return_inverse=True)
    axis = Axis("rank", tuple(str(rank) for rank in range(len(different))))
    return Table.count([_SIDE, axis], member.astype(np.int64), places)


@evaluator("membership", version=1, inside=attack)
def membership(context: Context) -> Iterator[Measurement]:
    """Can an attacker tell who was in the training?"""
    why = _reason(context.tally)
    if why:
        names = product((AUC, *FOUND), ATTACKS)
        yield from (Measurement(name, None, 0, group=_group(a), status=why) for name, a in names)
        return
    for name in ATTACKS:
        yield from measured(context.tally[name].counts, _group(name), context.minimum)
    yield from allowed(context.origin.certificate)


def measured(counts: NDArray[np.int64], group: str, minimum: int) -> Iterator[Measurement]:
    """The figures of one attack, from counts of others and members by rank, the likeliest members last."""
    others, n = int(counts[0].sum()), int(counts.sum())
    auc = auc_of(Cases.plain(counts), minimum, LEVEL)
    yield of(AUC, auc, group) if auc else too_few(AUC, n, group)
    for name, rate in FOUND.items():
        enough = others * rate >= minimum and counts[1].any()
        yield of(name, found_at(counts, rate, LEVEL), group) if enough else too_few(name, n, group)


def allowed(certificate: Mapping[str, Any]) -> Iterator[Measurement]:
    """What the certificate's epsilon and delta allow any attack; nothing of a model without a certificate."""
    if "epsilon" not in certificate:
        return
    epsilon, delta = float(certificate["epsilon"]), float(certificate["delta"])
    units = int(certificate.get("units", 0))
    yield Measurement(AUC + ALLOWED, telling.best_auc(epsilon, delta), units)
    for name, rate in FOUND.items():
        yield Measurement(name + ALLOWED, telling.most_found(epsilon, delta, rate), units)


def found_at(counts: NDArray[np.int64], rate: float, level: float = intervals.LEVEL) -> Estimate:
    """The share of members found at a false positive rate of `rate`.

    Which threshold has that rate among all others is itself unknown. Surely no more lenient is the one above which lie
    so few of these others that their share is surely at most `rate`; surely no stricter, the one with so many that
    it is surely at least `rate` (exact, by order statistics). The bounds are those of the members found there
    (Clopper and Pearson); half of the error allowed is spent on either.
    """
    from scipy.special import betaincinv

    others, members = (
        np.append(np.cumsum(side[::-1])[::-1], 0) for side in counts
    )  # found from each rank up
    n, m, tail, inner = int(others[0]), int(members[0]), (1 - level) / 4, 1 - (1 - level) / 2
    k = np.arange(n)
    few = int((betaincinv(k + 1, n - k, 1 - tail) <= rate).sum()) - 1
    many = int((betaincinv(k + 1, n - k, tail) < rate).sum()) + 1
    value = int(members[np.argmax(others <= int(rate * n))]) / m
    low = intervals.rate(int(members[np.argmax(others <= few)]), m, inner).low if few >= 0 else 0.0
    found = int(members[int((others >= many).sum()) - 1]) if many <= n else m
    return Estimate(value, min(low, value), max(intervals.rate(found, m, inner).high, value), m)


def _reason(tally: Tally) -> str:
    """Why there is nothing to measure; empty where there is. Nobody looks inside on later waves."""
    if "why" in tally.tables:
        return _WHY.labels[int(tally["why"].counts.argmax())]
    return "" if tally.tables.keys() >= ATTACKS.keys() else "reference"


def _group(attack: str) -> str:
    return f"attack={TITLES[attack]}"
