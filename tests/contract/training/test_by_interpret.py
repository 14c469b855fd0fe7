"""`ebm` beside interpret: its own model scores the same, its own library sums the same, and where it is not sound."""

from functools import cache
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import torch

from sandbox.catalogue.card import Card
from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Refused
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import boosting
from sandbox.training.estimators import PrivateClassifier, PrivateRegressor
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

pytest.importorskip("interpret", reason="interpret is an optional extra: pip install 'ndl-sandbox[ebm]'")
WORDS = ("north", "south", "west")
ROWS = 3_000


@pytest.fixture(scope="module")
def people():
    """Numbers, some missing and some at the very edges of bins; words, some unknown; money; yes or no."""
    rng = np.random.default_rng(4)
    age = rng.integers(0, 65, ROWS).astype(float)
    income = np.round(np.exp(rng.uniform(0, 11, ROWS)))
    member = rng.random(ROWS) < 0.4
    place = rng.choice([*WORDS, "nowhere"], ROWS)
    cost = age / 64 * 6 + member * 3 + rng.normal(0, 1, ROWS)
    table = pd.DataFrame({"age": age, "income": income, "member": member, "place": place})
    table.loc[rng.random(ROWS) < 0.1, "age"] = np.nan
    table.loc[rng.random(ROWS) < 0.1, "place"] = None
    return table.assign(who=np.arange(ROWS), cost=cost.clip(0, 10), ill=cost > 5)


@pytest.fixture(scope="module")
def card():
    budget = {"epsilon": 8, "delta": 1e-6}
    columns = {
        "who": {"kind": "identifier", "feature": False},
        "age": {"kind": "number", "minimum": 0, "maximum": 64, "missing": True},
        "income": {"kind": "number", "minimum": 0, "maximum": 60_000, "scale": "log"},
        "member": {"kind": "boolean"},
        "place": {"kind": "category", "categories": list(WORDS), "missing": True},
        "cost": {"kind": "number", "minimum": 0, "maximum": 10, "feature": False},
        "ill": {"kind": "boolean", "feature": False},
    }
    section = {
        "name": "people", "population": "people", "unit": "who", "unit_means": "one person", "recurs": False,
        "max_rows_per_unit": 1, "custodian": {"name": "Dana", "contact": "d@example.org"}, "licence": "OGL-UK-3.0",
        "attribution": "Made up", "synthetic": True, "purposes": ["testing"], "columns": columns,
        "tasks": {
            "ill": {"kind": "binary", "target": "ill", "question": "Ill?"},
            "cost": {"kind": "regression", "target": "cost", "question": "At what cost?"},
        },
        "training": {"file": "t.parquet", "wave": "w1", "day": "2026-01-01", "held_out_share": 0.3},
        "budget": {"training": budget, "held_out": budget},
    }  # fmt: skip
    return Card.from_json({"name": "People", "ndl:dataset": section})


def frame(people):
    """As interpret takes them."""
    return people[["age", "income", "member", "place"]].assign(member=people["member"].astype(float))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_interprets_own_model_of_the_same_tables_gives_the_same_chances(people, card):
    model = PrivateClassifier("ebm", schema=card, task="ill", epsilon=8.0).fit(people, people["ill"])
    shown = model.as_interpret()
    assert np.abs(shown.predict_proba(frame(people)) - model.predict_proba(people)).max() < 1e-5
    assert model.predict_proba(people)[:, 1].std() > 0.2
    said = shown.explain_global()
    assert said.feature_names == ["age", "income", "member", "place"]
    scores = said.data(0)["scores"]
    assert scores[-1] > scores[0] + 1  # the old are ill more often


def test_and_the_same_numbers(people, card):
    model = PrivateRegressor("ebm", schema=card, task="cost", epsilon=8.0).fit(people, people["cost"])
    assert np.abs(model.as_interpret().predict(frame(people)) - model.predict(people)).max() < 1e-4
    assert model.score(people, people["cost"]) > 0.3


def test_without_a_card_columns_are_numbers_between_public_bounds(people):
    X = people[["income", "cost"]].to_numpy()
    model = PrivateClassifier("ebm", bounds=([0, 0], [60_000, 10]), epsilon=8.0).fit(X, people["ill"])
    assert np.abs(model.as_interpret().predict_proba(X) - model.predict_proba(X)).max() < 1e-5


def test_only_ebm_can_be_shown(people):
    X = people[["cost"]].to_numpy()
    model = PrivateClassifier("gam", bounds=(0, 10), training={"epochs": 2.0}).fit(X, people["ill"])
    with pytest.raises(Refused, match="interpret can show ebm, and this is gam"):
        model.as_interpret()


@pytest.mark.parametrize("version", [None, "0.7.9"])
def test_without_the_tried_release_the_extra_is_named(people, monkeypatch, version):
    X = people[["cost"]].to_numpy()
    model = PrivateClassifier("ebm", bounds=(0, 10), training={"epochs": 3.0}).fit(X, people["ill"])

    def found(name):
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", found)
    with pytest.raises(Refused, match=r"pip install 'ndl-sandbox\[ebm\]'"):
        model.as_interpret()


@cache
def a_model(kind):
    inputs = Inputs(kind, 1, numbers=2, categories=(5,))
    return Model(export(recipes.build("ebm", {"bins": 16, "leaves": 3}, inputs), inputs))


class InterpretsLibrary:
    """Residual sums by interpret's native library, told each move of ours."""

    def __init__(self, bins, target, kind):
        from interpret.utils._native import Booster, Native

        native = Native.get_native_singleton()
        # the first of its bins is for what is missing, the last for what is unseen
        columns = [(size + 2, False, False, False, b + 1) for size, b in zip((16, 16, 5), bins, strict=True)]
        if kind == "binary":
            answers = (2, target.astype(np.int64))
            measure, fill = native.measure_classification_target, native.fill_classification_target
        else:
            answers = (target.astype(np.float64),)
            measure, fill = native.measure_regression_target, native.fill_regression_target
        size = native.measure_dataset_header(3, 0, 1) + sum(native.measure_feature(*c) for c in columns)
        dataset = np.empty(size + measure(*answers), np.ubyte)
        native.fill_dataset_header(3, 0, 1, dataset)
        for column in columns:
            native.fill_feature(*column, dataset)
        fill(*answers, dataset)
        self.flags = Native.TermBoostFlags_GradientSums | Native.TermBoostFlags_RandomSplits
        self.booster = Booster(
            dataset, np.zeros(1), None, None, [(at,) for at in range(len(bins))], 0, native.create_rng(1),
            Native.CreateBoosterFlags_DifferentialPrivacy, "log_loss" if kind == "binary" else "rmse",
            Native.AccelerationFlags_ALL, None,
        ).__enter__()  # fmt: skip
        self.rng = native.create_rng(1)

    def sums(self, term):
        """As interpret's own training asks for them, with a leaf for each bin and a learning rate of 1."""
        self.booster.generate_term_update(
            self.rng, term_idx=term, term_boost_flags=self.flags, learning_rate=1.0, min_samples_leaf=0,
            min_hessian=0.0, reg_alpha=0.0, reg_lambda=0.0, max_delta_step=0.0, min_cat_samples=0, cat_smooth=0.0,
            max_cat_threshold=2**62, cat_include=1.0, max_leaves=64, monotone_constraints=None,
        )  # fmt: skip
        return -self.booster.get_term_update()[1:-1]

    def move(self, term, by):
        self.booster.set_term_update(term, np.pad(by, 1))
        self.booster.apply_term_update()


def records(kind, rows=800):
    rng = np.random.default_rng(8)
    features = {
        "numbers": torch.from_numpy(rng.uniform(-1, 1, (rows, 2)).astype(np.float32)),
        "categories": torch.from_numpy(rng.integers(0, 5, (rows, 1))),
    }
    answer = features["numbers"][:, 0].numpy() + rng.normal(0, 0.3, rows)
    return features, torch.from_numpy(
        answer.clip(-1, 1).astype(np.float32) if kind == "regression" else (answer > 0).astype(np.int64)
    )


def a_plan(kind, rows=800, noise=2.0):
    return Plan(
        epsilon=1.0, delta=1e-6, units=rows, max_rows_per_unit=1, sampling_rate=1.0, steps=90, clip=1.0,
        learning_rate=0.2, loss=kind, noise_multiplier=noise, terms=[16, 16, 5], ordered=2, leaves=3,
    )  # fmt: skip


def test_interprets_library_sums_the_same_residuals_step_by_step():
    (features, target), chosen, seen = records("binary"), a_plan("binary"), []
    rows = torch.arange(len(target))
    bins = [b.long().numpy() for b in boosting.bins_of(features, chosen, rows)]
    library = InterpretsLibrary(bins, target.numpy(), "binary")
    training = boosting.Boosting(
        a_model("binary"), features, target, UnitRows(np.arange(len(target)), 1), chosen,
        Randomness.of_the_system(),
    )  # fmt: skip
    before = np.zeros(37)
    while training.done < chosen.steps:
        split = training._tables.split()
        training.step(seen.append)
        if split is None:
            continue
        theirs = np.bincount(split.leaf_of, library.sums(split.term), 3)
        ours = seen[-1].sums[boosting.LEAVES].numpy()
        assert np.abs(theirs - ours).max() < 1e-4 * len(target)  # float32
        after = training._tables.table
        library.move(split.term, (after - before)[split.place])
        before = after.copy()
    assert np.abs(before).max() > 0.1


def test_interprets_residuals_of_numbers_have_no_bound_and_ours_have():
    """Why it is not its library that sums here: its noise is for residuals no longer than the target's range."""
    features, target = records("regression")
    chosen = a_plan("regression")
    bins = [b.long().numpy() for b in boosting.bins_of(features, chosen, torch.arange(len(target)))]
    library = InterpretsLibrary(bins, target.numpy(), "regression")
    library.move(0, np.full(16, 10.0))  # as noise may
    longest = np.abs(library.sums(2)).sum() / len(target)
    assert longest > 4 * 2.0  # the range of the target is 2
    far = torch.full((800,), 10.0)
    assert boosting.residuals(far, target, "regression", 1.0).abs().max() <= 1.0
