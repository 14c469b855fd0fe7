"""What is handed over can be replayed by anybody with dp-accounting and nothing of ours."""

import json
import subprocess
import sys

import pytest

from sandbox.privacy import ledger
from sandbox.privacy.accounting import (
    best_of_event,
    compose,
    dp_sgd_event,
    epsilon_of,
    gaussian_event,
    with_steps,
)
from sandbox.privacy.export import export
from tests.unit.privacy.conftest import card, opened, operator, slots, store

__all__ = ["card", "opened", "operator", "slots", "store"]

POOL = "training:pupils"
TRAINING = dp_sgd_event(4.09, 0.02, 600)
NOTHING_OF_OURS = """
import runpy, sys
for name in ("sandbox", "evaluators", "dashboards"):
    sys.modules[name] = None  # importing it now fails
runpy.run_path(sys.argv.pop(1))
"""


@pytest.fixture
def replayed(store, tmp_path):
    """What the program in the document finds, in a process that cannot import us."""

    def run(document):
        (tmp_path / "export.json").write_text(json.dumps(document, allow_nan=False))
        (tmp_path / "replay.py").write_text("\n".join(document["replay"]))
        done = subprocess.run(
            [sys.executable, "-c", NOTHING_OF_OURS, "replay.py", "export.json"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {line["pool"]: line for line in map(json.loads, done.stdout.splitlines())}

    return run


def test_dp_accounting_alone_finds_every_total_of_the_document(
    store, card, opened, slots, operator, replayed
):
    opened(card())
    opened(card(population="patients", training=(2, 1e-6, *slots)))
    opened(card(population="tuned"))
    opened(card(population="nobody"))
    first, _, lost = (
        ledger.reserve(store, POOL, TRAINING, "pupil", f"training {i}", "wanda") for i in range(3)
    )
    ledger.touch(store, first.id, "wanda")
    ledger.settle(store, first.id, with_steps(TRAINING, 150), "wanda")
    ledger.release(store, lost.id, "the machine was lost", operator)
    ledger.reserve(
        store, POOL, compose([gaussian_event(9.0), dp_sgd_event(3, 1, 2)]), "pupil", "several", "wanda"
    )
    ledger.reserve(store, "training:patients", gaussian_event(6.0), "patient", "release", "omar")
    for shape in (0, 1, "infinity"):
        event = best_of_event(dp_sgd_event(8.0, 0.02, 100), 4, shape)
        ledger.reserve(store, "training:tuned", event, "person", "tuning", "wanda")

    document = export(store)
    found = replayed(document)
    totals = {pool["pool"]: pool["totals"] for pool in document["pools"]}
    assert set(found) == set(totals) == {POOL, "training:patients", "training:tuned", "training:nobody"}
    for pool, said in totals.items():
        for name, number in found[pool].items():
            if name != "pool":
                assert number == pytest.approx(said[name], rel=1e-6, abs=1e-12), (pool, name)
    assert found["training:tuned"].keys() == {"pool", "rdp_total", "rdp_bound"}
    assert totals["training:tuned"]["pld_epsilon"] is None
    assert found["training:patients"]["plan_epsilon"] <= 2
    # and the totals are the ledger's own
    share = ledger.status(store, POOL).share
    assert found[POOL]["rdp_total"] / found[POOL]["rdp_bound"] == pytest.approx(share)
    counted = [with_steps(TRAINING, 150), TRAINING, gaussian_event(9.0), dp_sgd_event(3, 1, 2)]
    assert found[POOL]["pld_epsilon"] == pytest.approx(epsilon_of(counted, 1e-6), rel=1e-3)


def test_a_document_that_was_tampered_with_replays_to_another_total(store, card, opened, replayed):
    opened(card())
    ledger.reserve(store, POOL, TRAINING, "pupil", "training", "wanda")
    document = export(store)
    [pool] = document["pools"]
    pool["charges"][0]["dp_event"]["count"] = 60
    assert replayed(document)[POOL]["rdp_total"] < 0.2 * pool["totals"]["rdp_total"]
