"""The certificate's claim and what canaries prove of it, as measurements; a bound is never rounded up."""

import pytest

from evaluators.audit import audit
from evaluators.base import Context
from evaluators.origins import Origin

CERTIFICATE = {
    "epsilon": 0.9981, "units": 9000, "epsilon_audited": 0.27199, "epsilon_audited_gaussian": 0.4655,
    "audit_canaries": 2000,
}  # fmt: skip


def measured(certificate):
    return {m.name: m for m in audit(Context(None, None, None, origin=Origin(certificate)))}


def test_claim_and_bounds_by_hand():
    found = measured(CERTIFICATE)
    assert {name: (m.value, m.n) for name, m in found.items()} == {
        "epsilon_claimed": (0.9981, 9000),
        "epsilon_audited": (0.271, 2000),
        "epsilon_audited_gaussian": (0.465, 2000),
    }


@pytest.mark.parametrize("certificate", [{}, {"epsilon": 0.9981, "units": 9000}])
def test_what_was_not_audited_says_so(certificate):
    found = measured(certificate)
    assert (found["epsilon_audited"].value, found["epsilon_audited"].status) == (None, "not audited")
    assert found["epsilon_claimed"].status == ("ok" if certificate else "not recorded")
