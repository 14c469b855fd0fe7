"""`ndl evaluate`, `ndl findings` and `ndl release` say what happened in words."""

from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from evaluators import cli, harness
from evaluators.catalogue import evaluators_for
from sandbox.errors import NotFound, Refused
from sandbox.lifecycle import FindingState, Verdict
from sandbox.records import Finding
from sandbox.roles import Person, Role


@pytest.fixture
def box(store, settings):
    console = Console(record=True, width=200)
    operator = Person("operator", frozenset({Role.OPERATOR}))
    return SimpleNamespace(store=store, settings=settings, console=console, person=operator)


def run(box, command, *arguments):
    result = CliRunner().invoke(command, arguments, obj=box, catch_exceptions=False)
    return result.exit_code, box.console.export_text() + result.output


def test_what_is_due_is_done_and_the_verdicts_are_shown(box, world, scorer, people, monkeypatch):
    due = harness.evaluate_due
    monkeypatch.setattr(harness, "evaluate_due", lambda *a: due(*a, load=lambda *_: scorer))
    world.wave("w1", people(3000))
    world.wave("w2", people(3000, seed=2, shift=15))
    world.model()
    code, said = run(box, cli.evaluate, "--due")
    assert code == 0
    assert f"{2 * len(evaluators_for('binary'))} evaluations done, on 2 pairs" in said
    assert "▲ beyond tolerance" in said
    _, said = run(box, cli.findings, "age")
    assert "Input “age”" in said
    assert "more within tolerance" in said
    _, said = run(box, cli.evaluate, "--due")
    assert "0 evaluations done" in said


def test_findings_of_an_unknown_model_are_not_found(box):
    with pytest.raises(NotFound):
        run(box, cli.findings, "nobody")


def test_no_findings_says_what_to_do(box):
    assert "ndl evaluate --due" in run(box, cli.findings)[1]


def test_only_an_operator_or_overseer_evaluates(box):
    box.person = Person("amara", frozenset({Role.DEVELOPER}))
    with pytest.raises(Refused):
        run(box, cli.evaluate, "--due")


def test_release_wants_one_model_or_all(box):
    assert run(box, cli.release)[0] == 2
    assert run(box, cli.release, "age/1", "--all")[0] == 2


def test_releasing_nothing_says_so(box):
    box.person = Person("omar", frozenset({Role.OVERSEER}))
    assert "No model to release" in run(box, cli.release, "--all")[1]


def test_every_evaluator_is_listed_with_what_it_answers(box):
    code, said = run(box, cli.evaluate, "--list")
    assert code == 0
    assert "discrimination" in said
    assert "Does the model tell cases apart?" in said
    assert run(box, cli.evaluate)[0] == 2


def test_the_table_of_verdicts_names_every_check_that_is_beyond_or_unsure_by_its_worst_subject():
    def finding(rule, verdict, wave="jobs/2026-01"):
        now = datetime.now(UTC)
        return Finding("", "m/1", wave, rule, "", verdict, "Low", "", None, None, FindingState.OPEN, now)

    found = [
        finding("robustness", Verdict.WITHIN), finding("robustness", Verdict.BEYOND), finding("volume", Verdict.WITHIN),
        finding("fairness", Verdict.UNKNOWN), finding("fairness", Verdict.WITHIN),
        finding("score drift", Verdict.WITHIN), finding("volume", Verdict.BEYOND, "jobs/2026-02"),
    ]  # fmt: skip
    console = Console(width=80, record=True, file=StringIO())
    console.print(cli.verdicts(found))
    rows = [line.split() for line in console.export_text().splitlines() if line.startswith("  m/1")]
    assert rows == [["m/1", "2026-01", "robustness", "fairness", "2"], ["m/1", "2026-02", "volume", "0"]]
