"""A developer learns beforehand what admission would say and what training would take; nothing is kept."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.api import Sandbox
from sandbox.catalogue.card import Card
from sandbox.cli import cli
from sandbox.errors import BudgetExhausted, Invalid, Unfit
from sandbox.settings import Settings, Storage
from sandbox.submissions import admission, check
from sandbox.submissions.check_syntax import problems_of_code

MODEL = """
from torch import nn

class Model(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.first = nn.Linear(inputs.numbers, 4)
        self.norm = nn.{norm}(4)
        self.last = nn.Linear(4, inputs.outputs)

    def forward(self, numbers, categories):
        return self.last(self.norm(self.first(numbers)).relu())

def build(inputs):
    return Model(inputs)
"""
MANIFEST = """
name = "falls"
dataset = "clinic"
task = "fell"
purpose = "testing"
{recipe}
[privacy]
epsilon = {epsilon}
[public]
title = "Falls risk"
summary = "Says who may fall."
used_for = "Nothing yet."
human_decides = "A nurse decides."
organisation = "A hospital"
responsible = "Director of Nursing"
contact = "register@example.org"
question_a_decision = "Ask the ward sister."
"""


@pytest.fixture
def card(clinic):
    return clinic.card.document


@pytest.fixture
def offered(tmp_path, card):
    """Writes a submission folder and the card beside it."""

    def write(code="", epsilon=1.0):
        folder = tmp_path / "offered"
        folder.mkdir(exist_ok=True)
        recipe = "" if code else 'recipe = "logistic"'
        (folder / "submission.toml").write_text(MANIFEST.format(recipe=recipe, epsilon=epsilon))
        if code:
            (folder / "model.py").write_text(code)
        (tmp_path / "card.json").write_text(json.dumps(card))
        return folder

    return write


@pytest.fixture
def asked(offered, card, tmp_path):
    """Checks a submission as `ndl check` does."""

    def ask(units=500, **what):
        settings = Settings(storage=Storage(folder=tmp_path / "nothing-here"))
        return check.check(settings, *check.read(offered(**what)), Card.from_json(card), units)

    return ask


def no_wall(*_):
    raise Unfit("No wall is complete here:\n  - bubblewrap: not installed. apt-get install bubblewrap.")


def a_wall_stands_here():
    try:
        return bool(admission.choose(Settings().isolation))
    except Unfit:
        return False


walled = pytest.mark.skipif("not a_wall_stands_here()", reason="no wall is complete on this machine")


def test_a_recipe_is_checked_whole_and_quoted(asked):
    report = asked()
    assert all(finding.checked for finding in report.found)
    quote = report.quote
    assert 0.9 < quote.epsilon <= 1.0 + 1e-6
    assert 0 < quote.share < 1
    assert quote.fits >= 1
    assert quote.seconds > 0
    assert quote.parameters == report.summary["trainable"] > 0
    report.must_be_whole()


def test_the_cost_is_the_share_that_the_ledger_itself_would_charge(clinic, asked):
    from sandbox.privacy import accounting, ledger

    quote = asked(units=240).quote
    event = accounting.dp_sgd_event(quote.noise_multiplier, quote.batch / quote.units, quote.steps)
    ledger.reserve(clinic.store, "training:clinic_people", event, "patient", "test", "dana")
    status = ledger.status(clinic.store, "training:clinic_people")
    assert quote.share == pytest.approx(status.share, rel=1e-6)


def test_a_recipe_checked_is_the_graph_that_admission_makes(asked, offered, card):
    from sandbox.catalogue.encoding import Encoding

    contents, manifest = check.read(offered())
    inputs = Encoding(Card.from_json(card), "fell").inputs
    made = admission.make(Settings().isolation, manifest, contents, inputs)
    assert asked().graph == made.checked.digest


@walled
def test_a_models_own_code_is_tried_out_behind_a_wall(asked):
    report = asked(code=MODEL.format(norm="LayerNorm"))
    assert all(finding.checked for finding in report.found)
    assert any("made behind" in finding.words for finding in report.found)
    assert {layer["kind"] for layer in report.summary["layers"]} >= {"Linear", "LayerNorm"}


@walled
def test_batch_norm_is_refused_with_what_to_use_instead(asked):
    with pytest.raises(Invalid, match="GroupNorm|LayerNorm"):
        asked(code=MODEL.format(norm="BatchNorm1d"))


def test_without_a_wall_code_is_read_and_never_run(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(admission, "choose", no_wall)
    ran = tmp_path / "ran"
    report = asked(code=f"open({str(ran)!r}, 'w')\n" + MODEL.format(norm="LayerNorm"))
    assert not ran.exists()
    assert [f.part for f in report.found if not f.checked] == ["record graph", "training"]
    assert 0.9 < report.quote.epsilon <= 1.0 + 1e-6
    assert report.quote.seconds is None
    with pytest.raises(Unfit, match="apt-get install bubblewrap"):
        report.must_be_whole()


def test_without_a_wall_mistakes_that_reading_shows_are_named(asked, monkeypatch):
    monkeypatch.setattr(admission, "choose", no_wall)
    with pytest.raises(Invalid, match=r"model\.py:2: not Python"):
        asked(code="import torch\ndef build(inputs:\n")
    with pytest.raises(Invalid, match="nothing in it is called build"):
        asked(code="import torch\n")


def test_code_that_defines_build_somewhere_unusual_is_left_to_the_wall():
    assert problems_of_code({"model.py": b"from other import make as build"}) == []
    assert problems_of_code({"model.py": b"if True:\n    def build(i): ..."}) == []
    assert problems_of_code({"model.py": b"\x00"})


def test_a_card_of_another_dataset_is_refused(offered, card):
    other = json.loads(json.dumps(card))
    other["ndl:dataset"]["name"] = "hospital"
    with pytest.raises(Invalid, match="the card is of 'hospital'"):
        check.check(Settings(), *check.read(offered()), Card.from_json(other), 500)


def test_more_epsilon_than_the_budget_is_refused_as_at_submission(asked):
    with pytest.raises(Invalid, match="more than the whole budget"):
        asked(epsilon=9.0)


def test_a_training_that_fits_no_budget_is_said_so(asked):
    report = asked(epsilon=8.0)
    if report.quote.fits:
        pytest.skip("the filter's own loss is smaller than thought")
    with pytest.raises(BudgetExhausted):
        report.quote.must_fit()


def ndl(tmp_path, *words):
    box = Sandbox(Settings(storage=Storage(folder=tmp_path / "nothing-here")), "ada")
    return CliRunner().invoke(cli, ["check", *map(str, words)], obj=box)


def test_the_command_prints_a_quote_and_keeps_nothing(offered, tmp_path):
    folder = offered()
    before = {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("*")}
    said = ndl(tmp_path, folder, "--card", tmp_path / "card.json")
    assert said.exit_code == 0, said.output
    assert "ε of this training alone, by PLD" in said.output
    assert re.search(r"Reads numbers, categories of a record; [\d,]+ operations in \d+ steps", said.output)
    assert "10,000 are assumed" in said.output
    assert "\nIt would be admitted.\n" in said.output
    assert {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("*")} == before


def test_the_command_as_json_can_be_read_by_a_program(offered, tmp_path):
    said = ndl(tmp_path, offered(), "--card", tmp_path / "card.json", "--units", 800, "--json")
    report = json.loads(said.stdout)
    assert report["quote"]["units"] == 800
    assert report["quote"]["adjacency"] == "add/remove"
    assert report["missing"] == ""


def test_the_command_ends_with_unfit_after_saying_what_it_checked(offered, tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "choose", no_wall)
    folder = offered(code=MODEL.format(norm="LayerNorm"))
    said = ndl(tmp_path, folder, "--card", tmp_path / "card.json", "--units", 800)
    assert isinstance(said.exception, Unfit)
    assert said.exception.exit_code == 6
    assert "not checked" in said.output
    assert "\nIt would be admitted.\n" not in said.output
    assert "As far as it could be checked here" in said.output
    assert "ε of this training alone, by PLD" in said.output


def test_without_a_card_it_says_where_to_get_one(offered, tmp_path):
    error = ndl(tmp_path, offered()).exception
    assert isinstance(error, Invalid)
    assert "--card" in str(error)


@pytest.mark.parametrize("units", ["0", "-5", "many"])
def test_a_number_of_units_that_is_none_is_refused(offered, tmp_path, units):
    said = ndl(tmp_path, offered(), "--card", tmp_path / "card.json", "--units", units)
    assert said.exit_code == 2
    assert "--units" in said.output


def test_a_dataset_that_is_here_brings_its_card_and_its_units(clinic, offered):
    box = Sandbox(clinic.settings, "ada")
    said = CliRunner().invoke(cli, ["check", str(offered())], obj=box)
    assert said.exit_code == 0, said.output
    assert "of 240 units" in said.output
