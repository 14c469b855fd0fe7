"""Another package's evaluator of 15 lines is found, run, listed and shown; where it crashes, it does so alone."""

import sys

import pytest
from click.testing import CliRunner
from rich.console import Console

from dashboards import views
from dashboards.live import tables
from evaluators import base, catalogue, cli, harness, scoring
from evaluators.base import Evaluator
from evaluators.catalogue import evaluators_for
from evaluators.counting import EVERYDAY, builder_of
from evaluators.harness import evaluate_due
from evaluators.tallies import Tallies
from sandbox.lifecycle import RunState, SubmissionState
from sandbox.records import Event, Submission, TrainingRun
from sandbox.tally import Axis, Table, Tally

PACKAGE = '''\
"""Of how many is the model sure?"""
from evaluators.base import evaluator
from evaluators.discrimination import of
from evaluators.intervals import rate
from sandbox.tally import Axis, Table, Tally

def count(batch):
    sure = (abs(batch.said - 0.5) > 0.4).astype(int)
    return Tally({"sure": Table.count([Axis("sure", ("no", "yes"))], sure)})

@evaluator("sureness", version=1, kinds={"binary"}, tables=count)
def sureness(context):
    no, yes = context.tally["sure"].counts
    if no + yes >= context.minimum:
        yield of("sure_share", rate(yes, no + yes))
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution called acme, as pip would leave it on the path."""
    assert len(PACKAGE.splitlines()) <= 16
    catalogue.all_evaluators()  # ours, before it is there
    site = tmp_path / "site"
    (site / "acme-1.0.dist-info").mkdir(parents=True)
    (site / "acme_sureness.py").write_text(PACKAGE)
    about = site / "acme-1.0.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ndl.evaluators]\nsureness = acme_sureness\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(base, "_REGISTERED", dict(base.registered()))
    catalogue.all_evaluators.cache_clear()
    yield
    catalogue.all_evaluators.cache_clear()
    sys.modules.pop("acme_sureness", None)


def trained(store, model):
    """What a training leaves beside the model version, for the model's page."""
    submission = Submission(
        "s-1", model.model, "falls", "fell", "amara", {}, {}, "", "", SubmissionState.TRAINED, "", model.registered_at
    )  # fmt: skip
    run = TrainingRun(
        model.run, "s-1", "c", RunState.FINISHED, {}, {}, model.registered_at, model.registered_at
    )
    with store.transaction() as tx:
        tx.add(submission, Event("amara", "test", "s-1"))
        tx.add(run, Event("amara", "test", run.id))


def test_it_is_found_run_listed_and_shown_on_the_models_page(
    installed, world, store, settings, scorer, people
):
    world.wave("w1", people(800))
    world.wave("w2", people(800, seed=2))
    model = world.model()
    trained(store, model)
    done = evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    assert {e.wave for e in done if e.evaluator == "sureness" and not e.failure} == {"falls/w1", "falls/w2"}
    (panel,) = [p for p in views.model(store, model.id).listed if p.evaluator == "sureness"]
    assert panel.question == "Of how many is the model sure?"
    (line,) = panel.lines
    assert (line.label, line.point.wave, line.point.n) == ("Sure share", "w2", 800)
    expected = (abs(scorer.probabilities(scorer.encoding.features(people(800, seed=2))) - 0.5) > 0.4).mean()
    assert line.point.value == pytest.approx(expected)
    assert f"{line.point.value:.3f}" in tables.listed(panel)


def test_it_is_listed_by_name_and_question(installed):
    box = type("Box", (), {"console": Console(record=True, width=200)})
    CliRunner().invoke(cli.evaluate, ["--list"], obj=box, catch_exceptions=False)
    said = box.console.export_text()
    assert "sureness" in said
    assert "Of how many is the model sure?" in said


def test_its_tables_are_counted_with_the_others_in_one_pass_and_kept(
    installed, world, store, settings, scorer, people, monkeypatch
):
    quiet = [e for e in evaluators_for("binary") if not e.sample]
    monkeypatch.setattr(harness, "evaluators_for", lambda _kind: quiet)
    world.wave("w1", people(800))
    world.model()
    evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    assert scorer.calls == 2  # two row groups
    evaluator = catalogue.registered()["sureness"]
    source = Tallies(store, settings, lambda *_: pytest.fail("asked again"))
    (wave,) = source._store.all(harness.Wave)
    (version,) = source._store.all(harness.ModelVersion)
    everyday, own = source.count(version, wave, (EVERYDAY, builder_of(evaluator)))
    assert own["sure"].total == everyday["score"].total == 800


def test_a_package_that_cannot_be_loaded_lacks_its_own_evaluators_only(installed, tmp_path, caplog):
    (tmp_path / "site" / "acme_sureness.py").write_text("import nothing_of_this_name")
    names = {e.name for e in catalogue.all_evaluators()}
    assert "discrimination" in names
    assert "sureness" not in names
    assert "the evaluators of sureness could not be loaded: ModuleNotFoundError" in caplog.text


@pytest.mark.parametrize("where", ["count", "report"])
def test_one_that_crashes_stops_no_other(world, store, settings, scorer, people, monkeypatch, where):
    def count(batch):
        if where == "count":
            raise ZeroDivisionError("record 17 has age 42")
        return Tally({"mine": Table.count([Axis("one", ("all",))], batch.labelled * 0)})

    def report(context):
        yield base.Measurement("mine", float(context.tally["mine"].total / 0), 1)

    kinds = frozenset({"binary"})
    both = (
        Evaluator("broken", 1, kinds, report, count),
        {e.name: e for e in evaluators_for("binary")}["discrimination"],
    )
    monkeypatch.setattr(harness, "evaluators_for", lambda _kind: both)
    world.wave("w1", people(600))
    world.wave("w2", people(600, seed=2))
    world.model()
    done = evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    assert {(e.evaluator, e.failure) for e in done} == {
        ("broken", "evaluator:ZeroDivisionError"),
        ("discrimination", ""),
    }
    assert len(done) == 4
    assert "age 42" not in str(store.audit_lines())


def test_tables_may_not_take_the_names_of_the_everyday_ones(
    world, store, settings, scorer, people, monkeypatch
):
    mine = Evaluator("mine", 1, base.KINDS, lambda _context: (), scoring.count)
    monkeypatch.setattr(harness, "evaluators_for", lambda _kind: (mine,))
    world.wave("w1", people(100))
    world.model()
    (done,) = evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    assert done.failure == "evaluator:ValueError"
