"""A model trained by the service is attacked once, from inside, and what was found is for overseers only."""

import json
from dataclasses import replace

from evaluators import membership
from evaluators.harness import evaluate_due
from evaluators.inside import Inside
from evaluators.publication import publish
from evaluators.tallies import registered_scorer
from sandbox.records import Finding
from sandbox.roles import Role


def figures(clinic, version, wave):
    with clinic.store.reading() as view:
        rows = view.measurements(version.id)
    return {
        (m.name, m.group): m for e, m in rows if (e.evaluator, e.wave) == ("membership", f"clinic/{wave}")
    }


def test_a_model_is_attacked_on_the_first_wave_judged_by_its_certificate_and_the_same_for_the_same_key(
    clinic, mlflow_settings
):
    version = clinic.train(clinic.submit())
    first = clinic.bring_in("w1", 1)
    assert not any(e.failure for e in evaluate_due(clinic.store, clinic.settings, "operator"))
    found = figures(clinic, version, "w1")
    for attack in ("RMIA", "LiRA", "loss threshold"):
        m = found["membership_auc", f"attack={attack}"]
        assert (m.status, m.n) == ("ok", 80 + 200)  # a third of the 240 patients, and all of those held out
        assert m.low < found["membership_auc_allowed", ""].value
    assert 0.7 < found["membership_auc_allowed", ""].value < 0.735  # epsilon 1
    (finding,) = clinic.store.all(Finding, rule="membership")
    assert finding.wave == "clinic/w1"

    clinic.bring_in("w2", 2, seed=5)
    evaluate_due(clinic.store, clinic.settings, "operator")
    assert {m.status for m in figures(clinic, version, "w2").values()} == {"reference"}
    assert figures(clinic, version, "w1") == found
    released = publish(clinic.store, clinic.settings, version.id, clinic.person("omar", Role.OVERSEER))
    for word in ("membership", "RMIA", "LiRA", "loss threshold"):
        assert word not in json.dumps(released.content, ensure_ascii=False)

    scorer = registered_scorer(clinic.settings, version)
    inside = Inside(clinic.store, clinic.settings, version, first, scorer, "key")
    once = membership.attack(inside).to_bytes()
    assert membership.attack(inside).to_bytes() == once
    assert membership.attack(replace(inside, key="another")).to_bytes() != once
