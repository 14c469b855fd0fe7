"""Recipes turn the records they are for into logits, one record at a time, and say which they are not for."""

import pytest
import torch

from sandbox.catalogue import made_up
from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid
from sandbox.submissions import layers, recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph import verify
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.layers_additive import Curves
from sandbox.training import engines

TABLE = Inputs("binary", 1, numbers=3, categories=(4, 5))
CLASSES = Inputs("multiclass", 3, numbers=2, categories=(4,))
NUMBER = Inputs("regression", 1, numbers=2)
EVERYTHING = Inputs("multiclass", 3, 2, (4,), {"scan": (1, 8, 8), "trend": (5,)}, {"note": 7})
IMAGE = Inputs("multiclass", 10, arrays={"image": (1, 8, 8)})
FLAT = Inputs("regression", 1, categories=(3,), arrays={"image": (6, 5), "other": (3, 4, 4)})
TEXT = Inputs("regression", 1, texts={"note": 4})
SUITS = {
    "gam": [TABLE, CLASSES, NUMBER, EVERYTHING, IMAGE, FLAT, TEXT],
    "mlp": [TABLE, CLASSES, NUMBER, EVERYTHING, IMAGE, FLAT, TEXT],
    "logistic": [TABLE, CLASSES, EVERYTHING, IMAGE],
    "linear": [NUMBER, FLAT, TEXT],
    "cnn": [EVERYTHING, IMAGE, FLAT],
    "tabular-transformer": [TABLE, CLASSES, NUMBER],
    "ebm": [TABLE, NUMBER],
}
EVERY = [TABLE, CLASSES, NUMBER, EVERYTHING, IMAGE, FLAT, TEXT]
GRAPHS = [
    ("gam", EVERYTHING), ("mlp", EVERYTHING), ("logistic", TABLE), ("linear", FLAT), ("cnn", FLAT),
    ("cnn", IMAGE), ("tabular-transformer", TABLE),
    ("ebm", TABLE),
]  # fmt: skip
MISFITS = [(r, i) for r, suits in SUITS.items() for i in EVERY if i not in suits]
NUMBERS = [layers.Bins(1), layers.Bins(4), layers.Bins(16), Curves(8), Curves(3)]


def records(inputs, count):
    return made_up.records(inputs, count, torch.Generator().manual_seed(1))


def build(recipe, inputs):
    torch.manual_seed(3)
    module = recipes.build(recipe, recipes.complete(recipe, {}), inputs)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize(("recipe", "inputs"), GRAPHS)
def test_a_recipes_graph_passes_the_checker_and_answers_and_learns_as_its_module_does(recipe, inputs):
    module, features = build(recipe, inputs), records(inputs, 6)
    graph = export(module, inputs)  # compares answers and gradients itself
    verify.verify(graph, inputs)
    model = Model(graph)
    answers = model.answers(features)
    assert answers.shape == (6, inputs.outputs)
    assert torch.allclose(answers, module(**features), atol=1e-5)
    assert float(answers.detach().std()) > 0
    assert engines.difference(model, inputs.kind, features, made_up.targets(inputs, 6), 1.0) < 1e-4


@pytest.mark.parametrize("recipe", SUITS)
def test_a_recipe_answers_for_every_kind_of_record_that_it_is_for(recipe):
    for inputs in SUITS[recipe]:
        assert build(recipe, inputs)(**records(inputs, 6)).shape == (6, inputs.outputs)


@pytest.mark.parametrize(("recipe", "inputs"), MISFITS)
def test_a_recipe_that_is_not_for_these_records_or_this_task_names_those_that_are(recipe, inputs):
    with pytest.raises(Invalid, match=rf"recipe: {recipe} (answers|needs|reads).*Use one of: ") as refusal:
        recipes.build(recipe, recipes.complete(recipe, {}), inputs)
    named = str(refusal.value).rpartition("Use one of: ")[2].rstrip(".\n").split(", ")
    assert set(named) == {other for other, suits in SUITS.items() if inputs in suits}


@pytest.mark.parametrize("numbers", NUMBERS, ids=lambda n: f"{type(n).__name__}-{n.width}")
@pytest.mark.parametrize("inputs", [TABLE, EVERYTHING, IMAGE])
def test_a_records_vector_never_has_a_norm_above_one(numbers, inputs):
    features = records(inputs, 50)
    vectors = layers.RecordVector(inputs, numbers)(**features)
    assert vectors.norm(dim=1).max() <= 1 + 1e-6


def test_a_dark_image_is_as_long_a_vector_as_a_bright_one_and_its_opposite():
    images = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    dark, bright = layers.RecordVector(IMAGE, layers.Bins(1))(image=images)
    assert torch.allclose(dark[1:], -bright[1:])
    assert torch.allclose(dark.norm(), torch.tensor(1.0))


def test_the_ends_of_a_range_fall_into_the_first_and_last_bin():
    seen = layers.Bins(4)(torch.tensor([[-1.0], [-0.51], [-0.5], [0.99], [1.0]])) > 0
    assert seen.int().argmax(1).tolist() == [0, 0, 1, 3, 3]
