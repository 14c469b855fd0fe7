"""Opacus, on the same record graph, gives the sums of ours; what it cannot do is refused before it costs anything."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.catalogue import made_up
from sandbox.errors import Refused
from sandbox.records import Charge
from sandbox.settings import Training
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import engines, loop
from sandbox.training.by_opacus import ByOpacus
from sandbox.training.engines import Plain
from sandbox.training.plan import Plan
from sandbox.training.sampler import Randomness, UnitRows

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from architectures import ALL

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CLOSE = 1e-5


def named(name):
    return next(architecture for architecture in ALL if architecture.name == name)


def drawn(inputs, n=5):
    return made_up.records(inputs, n, torch.Generator().manual_seed(3)), made_up.targets(inputs, n)


@pytest.mark.parametrize("architecture", ALL, ids=lambda a: a.name)
def test_opacus_gives_the_same_clipped_sums_for_every_kind_of_model(architecture):
    torch.manual_seed(2)
    model = Model(export(architecture.make(), architecture.inputs))
    features, target = drawn(architecture.inputs)
    given = architecture.inputs.kind, features, target, 0.5
    assert engines.difference(model, *given, by="opacus") < CLOSE
    assert engines.difference(model, *given) < CLOSE


def test_a_record_that_is_not_finite_counts_as_zeros_for_opacus_too():
    model = Model(export(named("MLP").make(), named("MLP").inputs))
    features, target = drawn(named("MLP").inputs)
    features["numbers"][1, 3] = float("nan")
    given = dict(model.weights), features, target, torch.arange(5), 0.5
    plain, theirs = (make(model, "binary", training=False).sums(*given) for make in (Plain, ByOpacus))
    assert all(torch.allclose(theirs[name], total, atol=1e-5) for name, total in plain.items())


def test_a_training_by_opacus_takes_the_same_way():
    features, target = drawn(named("linear").inputs, 40)
    model = Model(export(named("linear").make(), named("linear").inputs))
    plan = Plan(
        epsilon=1.0, delta=1e-6, units=40, max_rows_per_unit=1, sampling_rate=0.3, steps=6, clip=0.3,
        learning_rate=0.1, loss="binary", noise_multiplier=0.5,
    )  # fmt: skip
    learned = []
    for by in ("taps", "opacus"):
        same = Randomness(np.random.default_rng(1), np.random.default_rng(2))
        found = loop.fit(model, features, target, UnitRows(np.arange(40), 1), plan, same, by=by)
        learned.append(torch.cat([weight.flatten() for weight in found.values()]))
    assert torch.allclose(*learned, atol=1e-4)


def test_people_with_several_records_are_refused_before_anything_is_charged(clinic):
    clinic.settings = clinic.settings.model_copy(update={"training": Training(engine="opacus")})
    with pytest.raises(Refused, match="Opacus knows units of one record only"):
        clinic.train(clinic.submit())
    assert clinic.store.all(Charge) == []
