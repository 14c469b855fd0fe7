"""What a model costs, from sums that a reader can follow; times are of the machine, measured once and kept."""

import numpy as np
import pytest

from evaluators import scoring
from evaluators.base import Context
from evaluators.cost import _SPENT, cost, count
from evaluators.counting import Builder, count_batches
from evaluators.origins import Origin
from sandbox.catalogue.encoding import Encoding
from sandbox.settings import Evaluation
from sandbox.tally import Axis, Table, Tally
from tests.spec.test_robustness_by_hand import CARD, LooksAtWhoIsAlone, people


def measured(spent, origin=None, rows=20_000):
    score = Table((Axis("score", ("low", "high")),), np.array([rows, 0]))
    tally = Tally({"cost": Table((_SPENT,), np.array(spent)), "score": score})
    context = Context(
        tally, CARD, CARD.task("fell"), origin=origin or Origin(), settings=Evaluation(watts_a_core=20)
    )
    return {m.name: m for m in cost(context)}


def test_by_hand():
    # 500 records took 250 ms to answer: half a millisecond each; the wave of 20,000 took 4 s
    origin = Origin({"units": 9000}, {"parameters": 1234}, seconds=30.0)
    found = measured([500, 250_000, 4_000_000], origin)
    values = {name: (m.value, m.n) for name, m in found.items()}
    assert values == {
        "answer_ms_per_1000": (500.0, 500),
        "evaluation_cpu_seconds": (4.0, 20_000),
        "evaluation_joules": (80.0, 20_000),
        "training_cpu_seconds": (30.0, 9000),
        "training_joules": (600.0, 9000),
        "parameters": (1234.0, 1),
    }
    assert all(m.low is m.high is None for m in found.values())


def test_what_was_not_recorded_says_so_and_few_records_are_too_few():
    found = measured([3, 250_000, 4_000_000], rows=3)
    assert {name: m.status for name, m in found.items()} == {
        "answer_ms_per_1000": "too few", "evaluation_cpu_seconds": "too few", "evaluation_joules": "too few",
        "training_cpu_seconds": "not recorded", "training_joules": "not recorded", "parameters": "not recorded",
    }  # fmt: skip


def test_times_are_those_that_a_clock_says(monkeypatch):
    """A model that takes 2 ms a record by a clock that stands still otherwise."""
    now = [0.0]
    monkeypatch.setattr("evaluators.cost.thread_time", lambda: now[0])
    monkeypatch.setattr("evaluators.scoring.thread_time", lambda: now[0])

    class Slow(LooksAtWhoIsAlone):
        def probabilities(self, features):
            now[0] += 0.002 * len(features["numbers"])
            return super().probabilities(features)

    encoding = Encoding(CARD, "fell")
    batches = scoring.score([people()] * 30, Slow(encoding), encoding)
    (tally,) = count_batches(batches, [Builder("cost", 1, count, sample=1000)], 3000, "k")
    asked, asking, evaluating = tally["cost"].counts
    assert 500 < asked <= 1000
    assert asking == pytest.approx(2000 * asked)
    assert evaluating == pytest.approx(2000 * 3000)
