"""The public learns what noisy tallies say, in written words, and the same when asked again."""

import dataclasses
import json

import numpy as np
import pytest

from evaluators import noisy, publication, scoring
from evaluators.harness import evaluate_due
from evaluators.tallies import tally_key
from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.disclosure.noisy import NoisyTally, released_tables
from sandbox.errors import Refused
from sandbox.lifecycle import RunState, Standing, SubmissionState
from sandbox.privacy import ledger
from sandbox.records import Charge, Dataset, Decision, Release, Submission, TrainingRun
from sandbox.roles import Person, Role
from sandbox.settings import Settings
from sandbox.tally import Tally

OMAR = Person("omar", frozenset({Role.OVERSEER}))
WORDS = {
    "title": "Falls", "summary": "Says who may fall.", "used_for": "Ward rounds.",
    "human_decides": "A nurse decides.", "organisation": "Example Trust", "responsible": "Director",
    "contact": "falls@example.org", "question_a_decision": "Ask the ward.",
}  # fmt: skip
CERTIFICATE = {"epsilon_audited": 0.27199, "audit_confidence": 0.95, "audit_canaries": 2000,
    "epsilon": 0.99978, "delta": 1e-6, "adjacency": "add/remove", "unit": "person",
    "noise_multiplier": 6.1423, "sampling_rate": 0.1, "steps": 200,
}  # fmt: skip


@pytest.fixture
def hosted(world, store, settings, scorer, people):
    """One champion, evaluated on two waves; the second has moved."""
    card = Card.from_json(store.get(Dataset, "falls").card)
    for name, table in (("w1", people(6000)), ("w2", people(6000, seed=2, lift=2.0))):
        world.wave(name, table)
        with store.transaction() as tx:
            ledger.open_wave_budget(tx, card, name, "dana")
    with store.transaction() as tx:
        ledger.open_budgets(tx, card, "dana")
    version = world.model("age", Standing.CHAMPION)
    now = store.clock()
    manifest = {"public": WORDS, "purpose": "testing"}
    with store.transaction() as tx:
        tx.add(
            Submission(
                "s1",
                "age",
                "falls",
                "fell",
                "amara",
                manifest,
                {},
                "d",
                "p",
                SubmissionState.TRAINED,
                "",
                now,
            ),
            world.event,
        )
        tx.add(TrainingRun("run-age", "s1", "c1", RunState.FINISHED, {}, CERTIFICATE, now, now), world.event)
        tx.add(Decision("d1", version.id, "champion", "omar", "secret reason", now), world.event)
    load = lambda *_: scorer  # noqa: E731
    evaluate_due(store, settings, "operator", load=load)
    return version, load


def test_a_release_holds_what_the_public_page_needs(hosted, store, settings):
    version, load = hosted
    content = publication.publish(store, settings, version.id, OMAR, load).content
    assert [wave["name"] for wave in content["waves"]] == ["w1", "w2"]
    first, second = content["waves"]
    assert first["measures"]["auc"]["status"] == "ok"
    assert (
        first["measures"]["auc"]["low"] < first["measures"]["auc"]["value"] < first["measures"]["auc"]["high"]
    )
    assert {g["label"] for g in first["groups"]} == {"Leeds", "York", "Hull"}
    assert second["measures"]["calibration_bias"]["value"] < -0.05
    assert content["privacy"]["epsilon"] == 1.0  # rounded up, never down
    audit = {
        "lower_bound": 0.271,
        "confidence": 0.95,
        "canaries": 2000,
    }  # rounded down: no more than was proved
    assert content["privacy"]["audit"] == audit
    assert content["words"] == WORDS
    verdicts = {(f["wave"], f["rule"]): f["verdict"] for f in content["findings"]}
    assert verdicts["w2", "calibration"] == "beyond tolerance"
    newest = content["history"][0]["what"]
    assert newest.startswith("Checked on wave w2: beyond its limits for calibration")
    assert content["history"][-1]["what"] == "Version 1 was trained and registered."


def test_a_release_is_a_function_of_the_noisy_tallies_and_holds_no_internal_reason(
    hosted, store, settings, monkeypatch
):
    version, load = hosted
    drawn, contents, draw = {}, [], publication.noisy_tally

    def once(*arguments):
        wave = arguments[4].id
        if wave not in drawn:
            drawn[wave] = draw(*arguments)
        return drawn[wave]

    monkeypatch.setattr(publication, "noisy_tally", once)
    monkeypatch.setattr(publication.gate, "release", lambda *a: contents.append(a[3]))
    publication.publish(store, settings, version.id, OMAR, load)
    exact = publication.Tallies.of
    monkeypatch.setattr(publication.Tallies, "of", lambda *a: exact(*a) + exact(*a))
    publication.publish(store, settings, version.id, OMAR, load)
    assert contents[0] == contents[1]
    assert "secret reason" not in json.dumps(contents[0])


def test_how_far_inputs_moved_is_released_and_paid_once_by_all_models_that_read_them(
    hosted, world, store, settings, people
):
    version, load = hosted
    world.wave("w3", people(6000, seed=3, shift=12))
    with store.transaction() as tx:
        ledger.open_wave_budget(tx, Card.from_json(store.get(Dataset, "falls").card), "w3", "dana")
    evaluate_due(store, settings, "operator", load=load)
    content = publication.publish(store, settings, version.id, OMAR, load).content
    first, second, third = content["waves"]
    assert first["inputs"] == []
    assert content["publication"]["inputs"]["epsilon"] == 0.5
    far = {one["title"]: one["measures"]["input_distance"] for one in third["inputs"]}
    assert far["Age"]["low"] > 0.2
    assert far["Ward"]["high"] < 0.1
    assert all(one["n"] == third["n"] for one in third["inputs"])
    assert max(one["measures"]["input_distance"]["low"] for one in second["inputs"]) < 0.05
    verdicts = {f["sentence"].split("”")[0]: f["verdict"] for f in content["findings"] if f["wave"] == "w3"}
    assert verdicts["Input “age"] == "beyond tolerance"
    assert content["history"][0]["what"].startswith("Checked on wave w3: beyond its limits for input drift")
    of_inputs = [charge for charge in store.all(Charge) if charge.purpose.startswith("inputs|")]
    assert len(of_inputs) == 3
    again = world.model("again", Standing.CHAMPION)
    with store.transaction() as tx:
        tx.add(dataclasses.replace(tx.get(TrainingRun, "run-age"), id=again.run), world.event)
    evaluate_due(store, settings, "operator", load=load)
    also = publication.publish(store, settings, again.id, OMAR, load).content
    said = ([one["measures"] for one in c["waves"][2]["inputs"]] for c in (content, also))
    assert next(said) == next(said)
    assert [c for c in store.all(Charge) if c.purpose.startswith("inputs|")] == of_inputs


def test_where_inputs_are_not_to_be_published_or_paid_for_the_rest_is(hosted, store, settings, tmp_path):
    version, load = hosted
    for input_epsilon in (0, 9):
        wish = {"storage": {"folder": tmp_path}, "publication": {"input_epsilon": input_epsilon}}
        content = publication.publish(store, Settings.model_validate(wish), version.id, OMAR, load).content
        assert all(wave["inputs"] == [] and wave["measures"] for wave in content["waves"])
        assert "inputs" not in content["publication"]
        assert not any(f["rule"] == "input drift" for f in content["findings"])


def test_publishing_again_says_the_same_and_costs_nothing(hosted, store, settings):
    version, load = hosted
    first = publication.publish(store, settings, version.id, OMAR, load)
    charges = store.all(Charge)
    assert publication.publish_all(store, settings, OMAR, load) == [first]
    assert store.all(Charge) == charges
    assert len(store.all(Release)) == 1


def test_the_developer_may_not_publish_and_nothing_is_spent(hosted, store, settings):
    version, load = hosted
    for person in (Person("amara", frozenset(Role)), Person("dana", frozenset({Role.CUSTODIAN}))):
        with pytest.raises(Refused):
            publication.publish(store, settings, version.id, person, load)
    assert store.all(Charge) == []


def test_a_wave_whose_budget_is_gone_is_shown_without_figures(hosted, store, tmp_path):
    version, load = hosted
    costly = Settings.model_validate({"storage": {"folder": tmp_path}, "publication": {"epsilon": 9}})
    content = publication.publish(store, costly, version.id, OMAR, load).content
    for wave in content["waves"]:
        assert wave["n"] is None
        assert wave["groups"] == []
        assert wave["measures"] == {}
    assert content["findings"] == []


def test_each_models_page_is_about_the_version_in_use(world):
    candidate = world.model("age", Standing.CANDIDATE)
    champion = world.model("best", Standing.CHAMPION)
    retired = world.model("old", Standing.RETIRED)
    assert publication.public_versions([candidate, champion, retired]) == [candidate, champion]


@pytest.mark.parametrize(
    ("kind", "task", "name"), [("multiclass", "kind", "accuracy"), ("regression", "cost", "mae")]
)
def test_other_kinds_of_task_have_public_figures_too(card, scorer, people, kind, task, name):
    encoding = Encoding(card, task)
    scorer.encoding = encoding
    (batch,) = scoring.score([people(5000)], scorer, encoding)
    tables = released_tables(card, task, scoring.count(batch))
    drawn = NoisyTally(Tally(tables), 5.0, 0.5, 1e-6, "c")
    found = {(m.name, m.group): m for m in noisy.measurements(drawn, kind, 10)}
    assert found[name, ""].low < found[name, ""].value < found[name, ""].high
    assert found[name, "town=Leeds"].status == "ok"


def test_a_tally_is_found_again_only_for_the_same_weights_records_and_card(world, card, people):
    version, wave, encoding = world.model(), world.wave("w1", people(20)), Encoding(card, "fell")
    keys = {
        tally_key(version, wave, encoding),
        tally_key(world.model("other", digest="d9"), wave, encoding),
        tally_key(version, world.wave("w2", people(20, seed=9)), encoding),
    }
    assert len(keys) == 3


def test_noise_below_zero_is_no_trouble():
    part = noisy.Counts(np.full((2, 16), -3), 10.0, 10)
    assert part.n == 0
    assert all(isinstance(answer, int) for _, answer in noisy._binary(part, ("auc", "tpr", "outcome_rate")))
