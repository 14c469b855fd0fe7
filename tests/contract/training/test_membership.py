"""Shadow models tell members from others where a model learned people by heart, and not where it is private."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from evaluators import attacks
from evaluators.intervals import Estimate
from evaluators.membership import measured, ranked
from sandbox.catalogue import files
from sandbox.catalogue.card import load_card
from sandbox.catalogue.encoding import Encoding
from sandbox.privacy import accounting, telling
from sandbox.submissions import admission
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.manifest import Wishes
from sandbox.training import loop, membership, plan, shadows
from sandbox.training.membership import NotGathered, Side, said_of
from sandbox.training.sampler import Randomness, UnitRows


@dataclass(frozen=True)
class World:
    """A dataset cut in two sides of some units each, and models trained on the first."""

    folder: Path
    name: str
    task: str
    units: int = 600

    @property
    def encoding(self):
        return Encoding(load_card(Path("configs/datasets") / self.name), self.task)

    def sides(self):
        card = self.encoding.card
        table = pq.read_table(Path("configs/datasets") / self.name / card.training.file).select(
            list(card.columns)
        )
        codes = np.random.default_rng(7).permutation(10**6)[self.encoding.units(table)]
        places = np.unique(codes, return_inverse=True)[1]
        made = []
        for side in range(2):
            file = self.folder / f"{self.name}-{side}.parquet"
            digest = files.write_parquet(table.filter((places // self.units) == side), file)
            made.append(Side(str(file), digest, f"side {side}"))
        return made

    def trained(self, recipe, epsilon, wishes, seed=1):
        """The model before and after, and the plan; without noise or clipping where epsilon is None."""
        inside, _ = self.sides()
        encoding, table = self.encoding, pq.read_table(inside.path)
        start = Model(RecordGraph.from_bytes(admission.from_recipe(recipe, {}, encoding.inputs)[0]))
        units = UnitRows(encoding.units(table), encoding.card.max_rows_per_unit)
        chosen = plan.choose(
            encoding.inputs, recipe, Wishes.model_validate(wishes), units=len(units),
            max_rows_per_unit=encoding.card.max_rows_per_unit, epsilon=epsilon or 1.0, budget_delta=1e-5,
        )  # fmt: skip
        chosen = (
            chosen.calibrated(accounting.noise_for)
            if epsilon
            else replace(chosen, noise_multiplier=1e-9, clip=1e3)
        )
        features = {name: torch.from_numpy(array) for name, array in encoding.features(table).items()}
        randomness = Randomness(np.random.default_rng(seed), np.random.default_rng(seed + 1))
        target = torch.from_numpy(encoding.target(table))
        weights = loop.fit(start, features, target, units, chosen, randomness)
        return start, Model(start.graph_with(weights)), chosen

    def said(self, recipe, epsilon, wishes, seed=1):
        start, model, chosen = self.trained(recipe, epsilon, wishes, seed)
        return said_of(start, model, chosen, self.encoding, *self.sides(), np.random.default_rng(seed))


BY_HEART = {
    "adult": ("over_50k", 400, {"epochs": 20, "batch_size": 200, "learning_rate": 0.1}),
    "digits": ("digit", 400, {"epochs": 30, "batch_size": 100, "learning_rate": 0.03}),
    "rand_hie": ("visits", 200, {"epochs": 30, "batch_size": 100, "learning_rate": 0.05}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sides")


@pytest.fixture(scope="module")
def learned_by_heart(folder):
    """What is said by a model trained without privacy, by the dataset's name; made once."""

    @cache
    def made(name):
        task, units, wishes = BY_HEART[name]
        return World(folder, name, task, units).said("mlp", None, wishes)

    return made


def auc(said, attack):
    figures = {m.name: m for m in measured(ranked(said)[attack].counts, "", 10)}
    m = figures["membership_auc"]
    return Estimate(m.value, m.low, m.high, m.n)


@pytest.mark.parametrize("name", BY_HEART)
def test_a_model_that_learned_people_by_heart_is_found_out_by_its_shadows(learned_by_heart, name):
    said = learned_by_heart(name)
    plain, rmia, lira = (auc(said, attack).value for attack in ("loss", "rmia", "lira"))
    assert rmia > 0.63
    assert rmia > plain + 0.05
    assert lira > plain + 0.05


def test_and_an_epsilon_claimed_for_it_is_refuted(learned_by_heart):
    assert auc(learned_by_heart("adult"), "rmia").low > telling.best_auc(epsilon=0.3, delta=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_private_model_stays_within_what_epsilon_allows(folder, seed):
    said = World(folder, "adult", "over_50k", 400).said("gam", 1.0, {}, seed)
    for attack in attacks.ATTACKS:
        assert auc(said, attack).high < telling.best_auc(1.0, 1e-5)


@pytest.mark.parametrize("attack", attacks.ATTACKS)
def test_where_membership_is_exchanged_at_random_no_attack_finds_anything(learned_by_heart, attack):
    said, rng = learned_by_heart("digits"), np.random.default_rng(1)
    found = [auc(replace(said, member=rng.permutation(said.member)), attack) for _ in range(100)]
    assert sum(e.low <= 0.5 <= e.high for e in found) >= 98  # at 99.4 % each
    assert np.mean([e.value for e in found]) == pytest.approx(0.5, abs=0.01)


def test_several_records_of_a_person_stand_together(learned_by_heart):
    said = learned_by_heart("rand_hie")
    assert len(said.member) < len(said.owners) == len(said.target) == len(said.model)
    assert max(np.bincount(said.owners)) <= 5
    assert said.member.sum() == 66  # a third of the 200


def test_shadows_never_see_those_who_are_attacked(folder, monkeypatch):
    seen, train = [], shadows.train

    def watched(start, features, target, *rest):
        seen.append(features)
        return train(start, features, target, *rest)

    monkeypatch.setattr(shadows, "train", watched)
    world = World(folder, "rand_hie", "visits", 200)
    start, _, chosen = world.trained("gam", 1.0, {})
    asked = []
    model = Model(start.graph)
    monkeypatch.setattr(model, "answers", lambda features: asked.append(features) or torch.zeros(0, 1))
    said_of(start, model, replace(chosen, steps=2), world.encoding, *world.sides(), np.random.default_rng(1))
    taught, attacked = (
        {tuple(row) for row in np.column_stack([records[name].numpy() for name in sorted(records)])}
        for records in (*seen, *asked)
    )
    assert not taught & attacked
    assert len(taught) > 200 < len(attacked)


def test_the_same_key_gives_the_same_and_another_key_another_sample(folder):
    world = World(folder, "adult", "over_50k", 200)
    start, model, chosen = world.trained("gam", 1.0, {})
    given = start, model, replace(chosen, steps=5), world.encoding, *world.sides()
    first, again, other = (said_of(*given, np.random.default_rng(key)) for key in (3, 3, 4))
    assert np.array_equal(first.shadows, again.shadows)
    assert np.array_equal(first.target, again.target)
    assert not np.array_equal(first.model, other.model)


def test_a_shadow_without_noise_learns_as_the_training_loop_does(folder):
    world = World(folder, "rand_hie", "visits", 200)
    encoding = world.encoding
    table = pq.read_table(world.sides()[0].path)
    start = Model(RecordGraph.from_bytes(admission.from_recipe("gam", {}, encoding.inputs)[0]))
    units = UnitRows(encoding.units(table), 3)
    chosen = plan.Plan(
        1.0, 1e-5, len(units), 3, 1.0, 30, 1.0, 0.05, "regression", 0.5, noise_multiplier=1e-12
    )
    features = {name: torch.from_numpy(array) for name, array in encoding.features(table).items()}
    target = torch.from_numpy(encoding.target(table))
    own = np.zeros((2, len(units)), bool)
    own[:, :100] = True
    own[1] = ~own[0]
    both = shadows.train(start, features, target, units, own, chosen, np.random.default_rng(1))
    rows, owners = units.rows(np.arange(100))
    randomness = Randomness(np.random.default_rng(1), np.random.default_rng(2))
    alone = loop.fit(
        start, {n: t[rows] for n, t in features.items()}, target[rows], UnitRows(owners, 3),
        replace(chosen, units=100), randomness,
    )  # fmt: skip
    theirs, own_half = (
        shadows.answers(start, both, features),
        Model(start.graph_with(alone)).answers(features),
    )
    assert torch.allclose(theirs[0], own_half, atol=2e-3)
    assert (theirs[1] - own_half).abs().max() > 0.1


def test_every_shadow_has_its_own_half_of_the_pool():
    own = shadows.halves(16, 101, np.random.default_rng(0))
    assert set(own.sum(axis=1)) == {50}
    assert len({tuple(row) for row in own}) == 16
    assert own.mean(axis=0).std() < 0.2


def test_records_without_a_known_outcome_are_left_out_and_row_groups_are_read_one_by_one(folder):
    world = World(folder, "rand_hie", "visits", 200)
    table = pq.read_table(world.sides()[1].path)
    unknown = np.arange(table.num_rows) % 3 == 0
    at = table.column_names.index("visits")
    column = table.column("visits").combine_chunks().to_numpy()
    import pyarrow as pa

    some = table.set_column(at, "visits", pa.array(column, mask=unknown))
    file = folder / "unknown.parquet"
    pq.write_table(some, file, row_group_size=97)
    side = Side(str(file), files.sha256_of(file), "a wave")
    picked = np.array([5, 0, 17])
    records = membership._read(side, world.encoding, 2, lambda _units: picked)
    known = table.filter(pa.array(~unknown))
    codes = world.encoding.units(known)
    wanted = np.concatenate([np.flatnonzero(codes == unit)[:2] for unit in picked])
    assert records.target == pytest.approx(world.encoding.target(known)[wanted])
    assert list(records.owners) == [
        i for i, unit in enumerate(picked) for _ in range(min(2, sum(codes == unit)))
    ]


def test_a_model_that_costs_more_than_a_minute_gets_a_smaller_sample_or_none(folder, monkeypatch):
    world = World(folder, "adult", "over_50k", 200)
    start, _, chosen = world.trained("gam", 1.0, {})
    assert membership.affordable(start, chosen) == (10_000, 6_000)
    monkeypatch.setattr(membership, "MOST_SECONDS", 5.0)
    targets, pool = membership.affordable(start, chosen)
    assert 50 <= pool < targets < 10_000
    monkeypatch.setattr(membership, "MOST_SECONDS", 1e-3)
    with pytest.raises(NotGathered, match="too costly"):
        membership.affordable(start, chosen)
    with pytest.raises(NotGathered, match="too costly"):
        said_of(start, start, chosen, world.encoding, *world.sides(), np.random.default_rng(1))
