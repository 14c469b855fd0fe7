"""What a developer is told about a wrong submission: a table to read."""

import pytest

from sandbox.errors import Invalid
from sandbox.submissions.manifest import load_manifest

GOOD = """\
name = "falls-risk"
dataset = "clinic"
task = "fell"
purpose = "testing"
recipe = "mlp"
[privacy]
epsilon = 1.0
[training]
epochs = 3
[model]
hidden = [16]
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

BAD = {
    "not TOML": ("epsilon = 1.0", "epsilon = ", "submission.toml: not TOML:"),
    "unknown key": ('task = "fell"', 'task = "fell"\nseed = 4', "seed: unknown key. Check its spelling"),
    "misspelt part": ("[training]", "[trainning]", "trainning: unknown key"),
    "misspelt setting": ("epochs = 3", "epoch = 3", "training.epoch: unknown key"),
    "no name": ('name = "falls-risk"\n', "", "name: missing. Add it."),
    "name with capitals": ("falls-risk", "Falls Risk", "name: string should match pattern"),
    "name that climbs": ("falls-risk", "../x", "Use a to z, 0 to 9 and hyphens"),
    "no epsilon": ("epsilon = 1.0", "", "privacy.epsilon: missing"),
    "epsilon of zero": ("epsilon = 1.0", "epsilon = 0.0", "privacy.epsilon: input should be greater than 0"),
    "negative epsilon": ("epsilon = 1.0", "epsilon = -1.0", "privacy.epsilon: input should be greater than 0"),
    "epsilon not a number": ("epsilon = 1.0", "epsilon = nan", "privacy.epsilon: input should be a finite number"),
    "infinite epsilon": ("epsilon = 1.0", "epsilon = inf", "privacy.epsilon: input should be a finite number"),
    "epsilon too large": ("epsilon = 1.0", "epsilon = 21", "less than or equal to 20. Ask for an epsilon above 0"),
    "epsilon in words": ("epsilon = 1.0", 'epsilon = "1.0"', "privacy.epsilon: input should be a valid number"),
    "epsilon of true": ("epsilon = 1.0", "epsilon = true", "privacy.epsilon: input should be a valid number"),
    "its own delta": ("epsilon = 1.0", "epsilon = 1.0\ndelta = 0.1", "privacy.delta: unknown key"),
    "no epochs at all": ("epochs = 3", "epochs = 0", "training.epochs: input should be greater than 0"),
    "half a record": ("epochs = 3", "batch_size = 0.5", "training.batch_size: input should be a valid integer"),
    "clip of zero": ("epochs = 3", "clip = 0", "training.clip: input should be greater than 0"),
    "learning rate of infinity": ("epochs = 3", "learning_rate = inf", "training.learning_rate: input should be"),
    "no recipe, no code": ('recipe = "mlp"', "", "recipe: there is neither a recipe nor a model.py. Choose one of"),
    "unknown recipe": ('"mlp"', '"gpt"', "recipe: no recipe is called 'gpt'. Choose one of: gam, mlp, "),
    "recipe of a number": ('"mlp"', "5", "recipe: input should be a valid string"),
    "setting of another recipe": ('"mlp"', '"logistic"', "model.hidden: unknown key"),
    "layer too wide": ("[16]", "[4096]", "model.hidden: a layer is too narrow or too wide. Use widths from 1 to 512."),
    "no layer": ("[16]", "[]", "model.hidden: list should have at least 1 item"),
    "layers of words": ("[16]", '["wide"]', "model.hidden.0: input should be a valid integer"),
    "bins of nothing": ("hidden = [16]", "bins = 0", "model.bins: input should be greater than or equal to 1"),
    "no public words": (GOOD[GOOD.index("[public]") :], "", "public: missing. Add it."),
    "empty title": ('"Falls risk"', '" "', "public.title: string should have at least 1 character"),
    "title of dots": ('"Falls risk"', '"..."', "public.title: says nothing yet; write it for a member of the public"),
    "title too long": ('"Falls risk"', f'"{"x" * 91}"', "public.title: string should have at most 90 characters"),
    "hidden direction mark": ('"A hospital"', '"A \\u202Elatipsoh"', "public.organisation: has control or direction"),
    "contact nobody reaches": ("register@example.org", "the office", "public.contact: is neither an email address nor"),
    "contact by script": ("register@example.org", "javascript:x()", "Give an email address or a https:// address"),
    "no way to question": ('question_a_decision = "Ask the ward sister."\n', "", "public.question_a_decision: missing"),
}  # fmt: skip


@pytest.fixture
def offered(tmp_path):
    def write(text, **others):
        (tmp_path / "submission.toml").write_text(text)
        for name, content in others.items():
            (tmp_path / name.replace("_py", ".py")).write_text(content)
        return tmp_path

    return write


def test_the_good_one_is_good(offered):
    manifest = load_manifest(offered(GOOD))
    assert (manifest.name, manifest.recipe, manifest.privacy.epsilon) == ("falls-risk", "mlp", 1.0)


@pytest.mark.parametrize(("found", "put", "message"), BAD.values(), ids=BAD)
def test_a_wrong_manifest_is_told_what_is_wrong(offered, found, put, message):
    assert found in GOOD
    with pytest.raises(Invalid) as refusal:
        load_manifest(offered(GOOD.replace(found, put, 1)))
    assert message in str(refusal.value)


def test_every_problem_is_listed_at_once(offered):
    text = GOOD.replace("epsilon = 1.0", "epsilon = nan").replace('"mlp"', '"gpt"').replace("clinic", "")
    with pytest.raises(Invalid) as refusal:
        load_manifest(offered(text))
    assert {p.where for p in refusal.value.problems} == {"privacy.epsilon", "recipe", "dataset"}


def test_a_recipe_and_code_are_not_both_allowed(offered):
    with pytest.raises(Invalid, match=r"recipe: there is a recipe and a model.py. Keep one of the two."):
        load_manifest(offered(GOOD, model_py="def build(inputs): ..."))


def test_recipe_settings_beside_code_are_refused(offered):
    with pytest.raises(Invalid, match=r"model: settings are for recipes, .* Remove \[model\]."):
        load_manifest(offered(GOOD.replace('recipe = "mlp"', ""), model_py="def build(inputs): ..."))


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(
        Invalid, match=r"submission.toml: missing. A submission is a folder with this file in it."
    ):
        load_manifest(tmp_path)
