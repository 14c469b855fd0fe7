"""What does the training's audit prove of its epsilon? The lower bound that canaries prove, beside the claim.

Both are the certificate's (sandbox.training.gate). The claim is an upper bound, by accounting, and holds for certain;
the bounds are lower ones at the certificate's confidence, rounded down to three digits, and so have no interval of
their own. They are the same on every wave, for the training was before any. The release gate lets no model through
whose bound lies above its claim.
"""

from __future__ import annotations

from collections.abc import Iterator

from evaluators.base import Context, evaluator
from sandbox.privacy.wording import rounded_down
from sandbox.records import Measurement

BOUNDS = ("epsilon_audited", "epsilon_audited_gaussian")


@evaluator("audit", version=1)
def audit(context: Context) -> Iterator[Measurement]:
    certificate = context.origin.certificate
    claimed = certificate.get("epsilon")
    if claimed is None:
        yield Measurement("epsilon_claimed", None, 0, status="not recorded")
    else:
        yield Measurement("epsilon_claimed", float(claimed), int(certificate["units"]))
    for name in BOUNDS:
        bound = certificate.get(name)
        if bound is None:
            yield Measurement(name, None, 0, status="not audited")
        else:
            yield Measurement(name, rounded_down(bound), int(certificate["audit_canaries"]))
