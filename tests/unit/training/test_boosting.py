"""DP-EBM: a unit's part in a step is bounded, tables follow from noised sums, what scores is what was learned."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Refused
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.manifest import Wishes
from sandbox.training import boosted_tables, loop, plan
from sandbox.training.boosted_tables import COUNTS, LEAVES, by_size, in_order
from sandbox.training.boosting import Boosting
from sandbox.training.canaries import Canaries
from sandbox.training.sampler import Randomness, UnitRows

UNITS = 60


def inputs_of(kind):
    return Inputs(kind, 1, numbers=2, categories=(4,))


@cache
def a_model(kind="binary"):
    return Model(export(recipes.build("ebm", {"bins": 8, "leaves": 3}, inputs_of(kind)), inputs_of(kind)))


def a_plan(kind="binary", noise=1.0, rows=3, **wishes):
    chosen = plan.choose(
        inputs_of(kind), "ebm", Wishes(**wishes), units=UNITS, max_rows_per_unit=rows, epsilon=1.0,
        budget_delta=1e-6, settings={"bins": 8},
    )  # fmt: skip
    return replace(chosen, noise_multiplier=noise)


def records(kind="binary", seed=1, units=UNITS):
    """One to three rows of each unit."""
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(units), rng.integers(0, units, units)])
    n = len(codes)
    features = {
        "numbers": torch.from_numpy(rng.uniform(-1, 1, (n, 2)).astype(np.float32)),
        "categories": torch.from_numpy(rng.integers(0, 4, (n, 1))),
    }
    answer = features["numbers"][:, 0].numpy() + rng.normal(0, 0.3, n)
    target = answer.clip(-1, 1).astype(np.float32) if kind == "regression" else (answer > 0).astype(np.int64)
    return features, torch.from_numpy(target), codes


def randomness(seed=1):
    return Randomness(np.random.default_rng(seed), np.random.default_rng(seed))


def without(unit, features, target, codes):
    left = torch.from_numpy(np.flatnonzero(codes != unit))
    return {n: t[left] for n, t in features.items()}, target[left], codes[left.numpy()]


def trained(kind, data, chosen, seed=1, stop=None, observe=None, state=None):
    features, target, codes = data
    training = Boosting(
        a_model(kind), features, target, UnitRows(codes, chosen.max_rows_per_unit), chosen, randomness(seed)
    )
    if state:
        training.take_up(state)
    while training.done < (stop or chosen.steps):
        training.step(observe)
    return training


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("clip", [1.0, 0.25])
def test_a_units_part_in_any_step_has_a_norm_of_at_most_the_clip(kind, clip):
    """The same state, with and without one unit: their sums differ by what it adds."""
    data, chosen = records(kind), a_plan(kind, noise=0.02, clip=clip)
    first_split = boosted_tables.counting_steps(chosen.steps)
    worst = {None: 0.0, True: 0.0}
    for done in (0, first_split, first_split + 40, first_split + 200):
        state = trained(kind, data, chosen, stop=done).state() if done else None
        seen = []
        for some in (data, *(without(unit, *data) for unit in range(0, UNITS, 4))):
            trained(kind, some, chosen, stop=done + 1, observe=seen.append, state=state)
        whole, *others = seen
        for other in others:
            parts = [(whole.sums[n] - other.sums[n]).square().sum() for n in (COUNTS, LEAVES)]
            worst[bool(done) or None] = max(worst[bool(done) or None], float(sum(parts)) ** 0.5)
    assert 0.5 * clip < worst[None] <= clip  # several rows in different bins are shorter
    assert 0.5 * clip < worst[True] <= clip


def test_what_is_released_is_what_people_were_scored_by():
    data, chosen = records(), a_plan(noise=0.5)
    training = trained("binary", data, chosen)
    model = a_model()
    answers = Model(model.graph_with(training.means)).answers(data[0])[:, 0]
    rows, _ = UnitRows(data[2], 3).rows(np.arange(UNITS))
    assert torch.allclose(answers[torch.from_numpy(rows)], training._scores, atol=1e-4)
    assert float(answers.std()) > 0.1


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_it_learns_what_is_there_to_be_learned(kind):
    features, target, codes = records(kind, units=4_000)
    chosen = replace(a_plan(kind, noise=2.0), units=4_000)
    weights = loop.fit(a_model(kind), features, target, UnitRows(codes, 3), chosen, randomness())
    answers = Model(a_model(kind).graph_with(weights)).answers(features)[:, 0]
    centred = target.float() * 2 - 1 if kind == "binary" else target
    assert float(torch.corrcoef(torch.stack([answers, centred]))[0, 1]) > 0.7


def test_it_goes_on_from_a_checkpoint_as_if_never_stopped():
    data, chosen = records(), a_plan(noise=0.0)
    whole = trained("binary", data, chosen)
    for stop in (1, 2, 57):
        state = trained("binary", data, chosen, stop=stop).state()
        resumed = trained("binary", data, chosen, seed=5, state=state)
        assert torch.allclose(resumed.means["table.weight"], whole.means["table.weight"], atol=1e-4)


def test_where_a_column_is_split_follows_from_the_counts_and_the_steps_number_alone():
    data, chosen, seen = records(), a_plan(noise=0.5), []
    tables = boosted_tables.Tables(chosen)
    trained("binary", data, chosen, observe=seen.append)
    terms = []
    for step in seen:
        split = tables.split()
        tables.learn(split, step.noised)
        if split:
            terms.append(split.term)
            assert len(np.unique(split.leaf_of)) <= chosen.leaves
    assert terms[:7] == [0, 1, 2, 0, 1, 2, 0]
    assert np.allclose(tables.table, seen[-1].weights["table.weight"].flatten())


def test_canaries_take_part_in_every_step():
    features, target, codes = records()
    planted, seen = Canaries.planted(40), []
    training = Boosting(
        a_model(), features, target, UnitRows(codes, 3), a_plan(), randomness(), planted
    )  # fmt: skip
    training.step(seen.append)
    training.step(seen.append)
    for step in seen:
        assert len(step.drawn) == UNITS + planted.units
        assert (step.sums["(canaries)"] > 0.99).numpy().tolist() == planted.included.tolist()


COUNTED = st.lists(st.floats(0, 1e4, allow_nan=False), min_size=1, max_size=70).map(np.array)


@given(COUNTED, st.floats(1, 1e4))
def test_neighbours_are_grouped_until_they_hold_enough(counts, least):
    group_of, held = in_order(counts, least)
    assert (np.diff(group_of) >= 0).all()
    assert sorted(set(group_of.tolist())) == list(range(len(held)))
    assert held == pytest.approx(np.bincount(group_of, counts))
    assert len(held) == 1 or (held >= least * (1 - 1e-9)).all()


@given(COUNTED, st.floats(1, 1e4))
def test_categories_with_enough_people_stand_alone_and_the_others_together(counts, least):
    group_of, held = by_size(counts, least)
    assert sorted(set(group_of.tolist())) == list(range(len(held)))
    assert held == pytest.approx(np.bincount(group_of, counts))
    several = [np.flatnonzero(group_of == group) for group in range(len(held))]
    assert sum(len(bins) > 1 for bins in several) <= 1
    assert len(held) == 1 or (held >= least * (1 - 1e-9)).all()


def test_a_batch_size_is_refused_because_everybody_takes_part():
    with pytest.raises(Refused, match="leave batch_size out"):
        a_plan(batch_size=20)


def test_the_plan_depends_on_sizes_and_epsilon_alone_and_says_what_a_step_makes():
    chosen = a_plan(epochs=50.0)
    assert (chosen.sampling_rate, chosen.steps, chosen.leaves, chosen.ordered) == (1.0, 50, 3, 2)
    assert list(chosen.terms) == [8, 8, 4]
    assert plan.Plan(**chosen.to_json()) == chosen
