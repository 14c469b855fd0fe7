"""Recipes turn every kind of input into logits, one record at a time."""

import pytest
import torch

from sandbox.catalogue import made_up
from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import layers, recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model

TABLE = Inputs("binary", 1, numbers=3, categories=(4, 5))
EVERYTHING = Inputs("multiclass", 3, 2, (4,), {"scan": (1, 8, 8), "trend": (5,)}, {"note": 7})
IMAGE = Inputs("multiclass", 10, arrays={"image": (1, 8, 8)})


def records(inputs, count):
    return made_up.records(inputs, count, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("recipe", recipes.SETTINGS)
@pytest.mark.parametrize("inputs", [TABLE, EVERYTHING, IMAGE, Inputs("regression", 1, texts={"note": 4})])
def test_a_recipe_takes_every_kind_of_input(recipe, inputs):
    module = recipes.build(recipe, recipes.complete(recipe, {}), inputs)
    features = records(inputs, 6)
    assert module(**features).shape == (6, inputs.outputs)


@pytest.mark.parametrize("bins", [1, 4, 16])
@pytest.mark.parametrize("inputs", [TABLE, EVERYTHING, IMAGE])
def test_a_records_vector_never_has_a_norm_above_one(inputs, bins):
    features = records(inputs, 50)
    vectors = layers.RecordVector(inputs, bins)(**features)
    assert vectors.norm(dim=1).max() <= 1 + 1e-6


def test_the_ends_of_a_range_fall_into_the_first_and_last_bin():
    vector = layers.RecordVector(Inputs("binary", 1, numbers=1), bins=4)
    seen = vector(numbers=torch.tensor([[-1.0], [-0.51], [-0.5], [0.99], [1.0]]))[:, 1:] > 0
    assert seen.int().argmax(1).tolist() == [0, 0, 1, 3, 3]


@pytest.mark.parametrize("recipe", recipes.SETTINGS)
def test_a_recipes_graph_answers_as_its_module_does(recipe):
    torch.manual_seed(3)
    module = recipes.build(recipe, recipes.complete(recipe, {}), EVERYTHING)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    features = records(EVERYTHING, 4)
    answers = Model(export(module, EVERYTHING)).answers(features)
    assert torch.allclose(answers, module(**features), atol=1e-5)
    assert float(answers.std()) > 0
