"""What the exit gate clears becomes one immutable release; everything else is refused with its reasons."""

import dataclasses
import hashlib
import json

import pytest

from sandbox import audit
from sandbox.disclosure import gate
from sandbox.disclosure.noisy import inputs_key, noisy_tally
from sandbox.errors import Refused
from sandbox.lifecycle import Standing, WaveState
from sandbox.records import Event, ModelVersion, Release, Wave
from sandbox.roles import Person, Role

OMAR = Person("omar", frozenset({Role.OVERSEER}))


@pytest.fixture
def charged(store, settings, card, model, wave, tally):
    noisy_tally(store, settings, card, model, wave, tally, "omar")
    return store


@pytest.fixture
def clear(charged, settings, model):
    def clear(content, person=OMAR, settings=settings):
        return gate.release(charged, settings, model, content, person)

    return clear


def why(refusal):
    return [(p.where, p.what) for p in refusal.value.problems]


def test_a_content_that_keeps_every_rule_becomes_a_stored_release(clear, store, content):
    found = clear(content)
    document = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert found.id == hashlib.sha256(document.encode()).hexdigest()
    assert store.get(Release, found.id) == found
    assert (found.content, found.model, found.model_version) == (content, "outcome", "outcome/1")
    assert store.audit_lines()[-1].action == "release.clear"
    assert audit.first_broken(store.audit_lines()) is None


def test_the_same_content_again_is_the_same_release(clear, store, content):
    first = clear(content)
    lines = len(store.audit_lines())
    assert clear(dict(reversed(content.items()))) == first
    assert store.all(Release) == [first]
    assert len(store.audit_lines()) == lines


def test_what_the_rules_refuse_is_not_stored(clear, store, content):
    content["waves"][0]["groups"][0]["n"] = 7
    content["waves"][0]["measures"]["auc"]["value"] = 0.123456
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert len(refusal.value.problems) >= 2
    assert "0.123456" not in str(refusal.value)
    assert store.all(Release) == []


def test_figures_without_charged_noise_do_not_leave(store, settings, model, content):
    with pytest.raises(gate.Blocked) as refusal:
        gate.release(store, settings, model, content, OMAR)
    assert why(refusal) == [("waves.0", "has figures for which no noise was drawn and charged")]


def moved(column="district", title="District"):
    figure = {"value": 0.1, "low": 0.05, "high": 0.2, "status": "ok"}
    return {
        "column": column,
        "title": title,
        "n": 2000,
        "status": "ok",
        "measures": {"input_distance": figure},
    }


def test_inputs_without_charged_noise_of_their_own_do_not_leave(clear, store, content):
    content["waves"][0]["inputs"] = [moved()]
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert why(refusal) == [("waves.0.inputs", "are figures for which no noise was drawn and charged")]
    with store.transaction() as tx:
        tx.put_tally(inputs_key("crime/2016", ["district"]), b"as if drawn")
    assert clear(content).content == content


def test_inputs_carry_the_names_of_the_card(clear, content):
    content["waves"][0]["inputs"] = [moved(title="Jane Doe")]
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert "waves.0.inputs.0.title" in [where for where, _ in why(refusal)]


def test_a_wave_without_figures_needs_no_noise(store, settings, model, content):
    content["waves"] = [content["waves"][0] | {"n": None, "measures": {}, "groups": []}]
    assert gate.release(store, settings, model, content, OMAR).content == content


@pytest.mark.parametrize("section", ["words", "dataset"])
def test_words_nobody_wrote_for_the_public_do_not_leave(clear, content, section):
    content[section]["title"] = "Jane Doe lives at 12 High Street"
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert why(refusal) == [(f"{section}.title", "says what neither the card nor the manifest says")]
    assert "Jane" not in str(refusal.value)


@pytest.mark.parametrize("name", ["attribute", "attribute_title", "label"])
def test_groups_carry_the_names_of_the_card(clear, content, name):
    content["waves"][0]["groups"][0][name] = "Jane Doe"
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert [where for where, _ in why(refusal)] == [f"waves.0.groups.0.{name}"]


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("model", "another", "content"), ("version", 2, "content"), ("standing", "champion", "content"),
        ("privacy.epsilon", 0.5, "privacy.epsilon"), ("privacy.noise_multiplier", 3.0, "privacy.noise_multiplier"),
        ("privacy.audit", {"lower_bound": 0.9, "confidence": 0.95, "canaries": 2000}, "privacy.audit"),
        ("privacy.steps", 1, "privacy.steps"), ("privacy.delta", 1e-9, "privacy.delta"),
        ("publication.threshold", 1, "publication.threshold"), ("publication.round_to", 1, "publication.round_to"),
    ],
)  # fmt: skip
def test_what_the_records_do_not_bear_out_does_not_leave(clear, content, path, value, where):
    *section, name = path.split(".")
    (content[section[0]] if section else content)[name] = value
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert where in [found for found, _ in why(refusal)]


@pytest.mark.parametrize(
    ("name", "day"), [("2017", "2016-07-31"), ("2016", "2016-08-01"), ("bad", "2016-09-30")]
)
def test_only_accepted_waves_on_their_day_leave(clear, store, wave, content, name, day):
    bad = dataclasses.replace(wave, id="crime/bad", name="bad", state=WaveState.QUARANTINED)
    with store.transaction() as tx:
        tx.add(bad, Event("test", "set up", "x"))
    content["waves"][0] |= {"name": name, "day": day}
    with pytest.raises(gate.Blocked) as refusal:
        clear(content)
    assert ("waves.0", "is not an accepted wave of this dataset with this day") in why(refusal)


def test_the_standing_that_counts_is_the_one_stored(clear, store, content, model):
    with store.transaction() as tx:
        tx.change(ModelVersion, model.id, Event("omar", "decide", model.id), standing=Standing.CHAMPION)
    with pytest.raises(gate.Blocked, match="as it stands now"):
        clear(content)
    assert clear(content | {"standing": "champion"}).content["standing"] == "champion"


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.CUSTODIAN])
def test_only_overseers_and_operators_release(clear, store, content, role):
    with pytest.raises(Refused, match="Only an overseer or operator"):
        clear(content, Person("zoe", frozenset({role})))
    assert store.all(Release) == []


def test_nobody_releases_figures_about_their_own_model(clear, content):
    with pytest.raises(Refused, match="made this request"):
        clear(content, Person("amara", frozenset(Role)))


def test_a_stored_release_can_never_change(clear, store, content):
    found = clear(content)
    with pytest.raises(Exception, match="append-only"), store.transaction() as tx:
        tx.change(Release, found.id, Event("x", "x", "x"), content={})
    assert store.get(Wave, "crime/2016").name == "2016"
