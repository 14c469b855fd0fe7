"""Overseers decide where a model stands, with a reason, in the open; MLflow's aliases follow."""

import pytest

from sandbox.errors import Refused
from sandbox.lifecycle import Standing
from sandbox.records import Decision, ModelVersion
from sandbox.registry import mlflow_door
from sandbox.registry.standing import decide
from sandbox.roles import Role


@pytest.fixture
def choose(clinic):
    def do(version, standing, by="omar", reason="It is better.", roles=(Role.OVERSEER,)):
        person = clinic.person(by, *roles)
        return decide(clinic.store, clinic.settings, version.id, standing, person, reason)

    return do


def aliases(clinic, model="falls"):
    registered = mlflow_door.client(clinic.settings).get_registered_model(model)
    return {alias: int(version) for alias, version in registered.aliases.items()}


def test_a_new_champion_makes_the_old_one_a_challenger(clinic, register, choose):
    (_, first), (_, second) = register(), register(recipe="logistic")
    assert aliases(clinic) == {"candidate": 2}
    assert choose(first, Standing.CHAMPION).standing is Standing.CHAMPION
    assert aliases(clinic) == {"candidate": 2, "champion": 1}
    choose(second, Standing.CHAMPION, reason="Better for every group.")
    assert clinic.store.get(ModelVersion, first.id).standing is Standing.CHALLENGER
    assert aliases(clinic) == {"challenger": 1, "champion": 2}
    made = {(d.model_version, d.action, d.person, d.reason) for d in clinic.store.all(Decision)}
    assert made == {
        ("falls/1", "champion", "omar", "It is better."),
        ("falls/2", "champion", "omar", "Better for every group."),
        ("falls/1", "challenger", "omar", "falls/2 is the new champion."),
    }


def test_a_suspended_champion_loses_its_alias(clinic, register, choose):
    _, version = register()
    choose(version, Standing.CHAMPION)
    choose(version, Standing.SUSPENDED, reason="It drifts.")
    assert aliases(clinic) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roles": (Role.DEVELOPER,)}, "Only an overseer may decide where a model stands"),
        ({"by": "dev"}, "dev made this request and so may not decide about falls/1"),
        ({"reason": "  "}, "A decision needs a reason"),
        ({"standing": Standing.SUSPENDED}, "A candidate model cannot become suspended"),
    ],
)
def test_a_decision_that_may_not_be_changes_nothing(clinic, register, choose, change, message):
    _, version = register()
    before = clinic.store.change_number()
    with pytest.raises(Refused, match=message):
        choose(version, **{"standing": Standing.CHAMPION, **change})
    assert clinic.store.change_number() == before
    assert aliases(clinic) == {"candidate": 1}
