"""An incident is answered by a named overseer, once, with a reason, and is on record for ever."""

import pytest
from click.testing import CliRunner

from sandbox.api import Sandbox
from sandbox.errors import Refused
from sandbox.lifecycle import ChargeState, IncidentState, RunState
from sandbox.privacy.accounting import dp_sgd_event
from sandbox.records import Charge, Event, Incident, TrainingRun
from sandbox.roles import Role
from sandbox.training import incidents
from sandbox.training.incidents_cli import incident as command


@pytest.fixture
def kept_back(clinic):
    """A submission whose training an incident was opened about."""
    submission = clinic.submit()
    event, now = dp_sgd_event(2.0, 0.1, 5), clinic.store.clock()
    charge = Charge(
        "c-1", "training:clinic_people", event, "patient", "add/remove", "x", ChargeState.SETTLED, now, "w"
    )
    run = TrainingRun("run-1", submission.id, "c-1", RunState.FAILED, {}, {}, now, now)
    words = "The noise of the weights is not Gaussian."
    made = Incident("run-1", submission.id, "shape", words, {"shape": "below 1e-7"}, IncidentState.OPEN, now)
    with clinic.store.transaction() as tx:
        for record in (charge, run, made):
            tx.add(record, Event("worker", "incident.open", "run-1", words))
    return submission


@pytest.fixture
def ndl(clinic, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments, by="omar", roles=(Role.OVERSEER,)):
        box = Sandbox(clinic.settings, clinic.person(by, *roles))
        done = CliRunner().invoke(command, list(arguments), obj=box)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return run


def test_an_incident_is_listed_shown_and_resolved_by_name_and_reason(clinic, kept_back, ndl):
    assert "not Gaussian" in ndl("list")
    shown = ndl("show", "run-1")
    assert all(words in shown for words in ("open", "below 1e-7", "c-1", "it stands"))
    assert "resolved" in ndl("resolve", "run-1", "--reason", "The machine's generator was broken; replaced.")
    assert "No incident is open." in ndl("list")
    assert "resolved by omar" in ndl("list", "--all")
    assert "The machine's generator was broken" in ndl("show", "run-1")
    found = clinic.store.get(Incident, "run-1")
    assert (found.state, found.resolved_by) == (IncidentState.RESOLVED, "omar")
    assert found.resolved_at
    (line,) = [line for line in clinic.store.audit_lines() if line.action == "incident.resolve"]
    assert (line.by, line.subject) == ("omar", "run-1")


@pytest.mark.parametrize(
    ("by", "roles", "reason", "why"),
    [("olga", [Role.OPERATOR], "Fine.", "Only an overseer"), ("dev", [Role.OVERSEER], "Fine.", "made this request"),
     ("omar", [Role.OVERSEER], "  ", "with a reason")],
)  # fmt: skip
def test_it_stays_open_without_an_overseer_who_is_not_the_developer_and_a_reason(
    clinic, kept_back, by, roles, reason, why
):
    with pytest.raises(Refused, match=why):
        incidents.resolve(clinic.store, "run-1", clinic.person(by, *roles), reason)
    assert clinic.store.get(Incident, "run-1").state is IncidentState.OPEN


def test_it_is_resolved_once(clinic, kept_back):
    incidents.resolve(clinic.store, "run-1", clinic.person("omar"), "Looked into.")
    with pytest.raises(Refused, match="was resolved by omar: Looked into"):
        incidents.resolve(clinic.store, "run-1", clinic.person("olga"), "Again.")


def test_developers_see_no_incidents(ndl, kept_back):
    for arguments in (["list"], ["show", "run-1"]):
        with pytest.raises(Refused, match="may see incidents"):
            ndl(*arguments, by="dev", roles=(Role.DEVELOPER,))


def test_there_is_nothing_to_list_at_first(ndl):
    assert "There has been no incident." in ndl("list")
