"""Who was in the training is asked once for each model, and held against what its epsilon allows anybody."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators import attacks, base, harness, membership
from evaluators.base import Context
from evaluators.harness import evaluate_due
from evaluators.membership import found_at, ranked
from evaluators.origins import Origin
from evaluators.policy import Policy
from evaluators.rules import Occasion, judge
from sandbox.lifecycle import Verdict
from sandbox.tally import Tally
from sandbox.training.membership import Said


def said(lift, units=3_000, shadows=4, seed=0):
    """Made up: members' log odds lie `lift` above what shadows, who never saw them, say of the same records."""
    rng = np.random.default_rng(seed)
    member = np.arange(units) < units // 2
    hard = rng.normal(0, 1, units)
    model = hard + rng.normal(0, 1, units) + lift * member
    return Said(
        "binary", np.arange(units), member, np.ones(units, int), model[:, None],
        (hard + rng.normal(0, 1, (shadows, units)))[..., None],
    )  # fmt: skip


def measured(tally, epsilon=1.0, reference=None):
    certificate = {"epsilon": epsilon, "delta": 1e-6, "units": 5_000}
    context = Context(tally, None, None, reference, "k", origin=Origin(certificate))
    return list(membership.membership(context))


def judged(lift, epsilon):
    occasion = Occasion("binary", "w1")
    (only,) = judge(Policy(), "membership", measured(ranked(said(lift)), epsilon), [], occasion)
    return only


def test_each_attack_gets_its_figures_and_all_are_beside_what_epsilon_allows():
    figures = {(m.name, m.group): m for m in measured(ranked(said(1.0)))}
    for title in ("RMIA", "LiRA", "loss threshold"):
        assert figures["membership_auc", f"attack={title}"].value > 0.6
        assert figures["membership_tpr_1", f"attack={title}"].value > 0.01
        assert (
            figures["membership_tpr_01", f"attack={title}"].status == "too few"
        )  # 1,500 others: 1.5 mistaken
    assert figures["membership_auc_allowed", ""].value == pytest.approx(np.e / (1 + np.e), abs=1e-5)
    assert figures["membership_tpr_1_allowed", ""].value == pytest.approx(0.01 * np.e, abs=1e-5)
    best, plain = (figures["membership_auc", f"attack={title}"].value for title in ("LiRA", "loss threshold"))
    assert best > plain + 0.03


def test_an_attack_beyond_what_epsilon_allows_is_a_broken_promise():
    broken = judged(lift=2.0, epsilon=0.5)
    assert (broken.rule, broken.verdict, broken.level) == ("membership", Verdict.BEYOND, "High")
    assert "suspend the model" in broken.sentence
    assert broken.value > broken.limit


def test_the_same_attack_is_within_a_larger_epsilon_and_so_is_none():
    assert judged(lift=2.0, epsilon=8.0).verdict is Verdict.WITHIN
    assert judged(lift=0.0, epsilon=2.0).verdict is Verdict.WITHIN


def test_of_few_people_nothing_is_claimed():
    figures = measured(ranked(said(0.0, units=60)), epsilon=0.3)
    (only,) = judge(Policy(), "membership", figures, [], Occasion("binary", "w1"))
    assert (only.verdict, only.level) == (Verdict.UNKNOWN, "Low")


def test_a_model_without_a_certificate_is_not_judged():
    context = Context(ranked(said(1.0)), None, None, None, "k")
    figures = list(membership.membership(context))
    assert judge(Policy(), "membership", figures, [], Occasion("binary", "w1")) == []
    assert {m.name for m in figures} == {"membership_auc", "membership_tpr_1", "membership_tpr_01"}


def test_without_any_spread_among_shadows_there_are_figures_all_the_same():
    alike = said(1.0, units=200)
    alike.shadows[:] = 0.0
    assert all(np.isfinite(score(alike)).all() for score in attacks.ATTACKS.values())


@pytest.mark.parametrize("scale", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_pairwise_share_of_rmia_ranks_units_as_their_ratio_does(scale, gamma):
    some, population = said(1.0, units=300), said(0.0, units=200, seed=5)
    ratio, of_population = (np.exp(attacks.rmia(x, scale)) for x in (some, population))
    share = (ratio[:, None] / of_population >= gamma).mean(axis=1)
    assert (np.diff(share[np.argsort(ratio)]) >= 0).all()
    assert len(set(share)) > 50


@given(seed=st.integers(0, 2**32), lift=st.floats(0, 2), rate=st.sampled_from([0.01, 0.05]))
def test_the_share_found_lies_between_its_bounds_and_grows_with_the_rate(seed, lift, rate):
    rng = np.random.default_rng(seed)
    counts = np.array(
        [
            rng.multinomial(400, np.ones(50) / 50),
            rng.multinomial(300, (p := np.exp(lift * np.arange(50) / 50)) / p.sum()),
        ]
    )
    here, more = found_at(counts, rate), found_at(counts, 2 * rate)
    assert 0 <= here.low <= here.value <= here.high <= 1
    assert here.value <= more.value
    assert here.low <= more.low
    assert here.high <= more.high


def test_the_bounds_hold_the_share_found_by_an_attack_without_any_knowledge():
    rng, held = np.random.default_rng(3), 0
    for _ in range(200):
        scores, member = rng.normal(size=2_000), np.arange(2_000) < 1_000
        found = found_at(membership._ranks(scores, member).counts, 0.01)
        held += found.low <= 0.01 <= found.high
    assert held >= 190


def test_the_first_wave_says_too_few_where_nobody_was_trained_on_and_later_waves_refer_to_it(
    world, store, settings, scorer, people
):
    world.wave("w1", people(300))
    world.wave("w2", people(300, seed=2))
    version = world.model()
    done = evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    assert not [e for e in done if e.evaluator == "membership" and e.failure]
    with store.reading() as view:
        said_of = {e.wave: m.status for e, m in view.measurements(version.id) if e.evaluator == "membership"}
    assert said_of == {"falls/w1": "no record graph", "falls/w2": "reference"}


def test_what_was_found_inside_is_kept_and_a_crash_of_it_stops_no_other(
    world, store, settings, scorer, people, monkeypatch
):
    looked = []

    def look(inside):
        looked.append(inside.wave.id)
        return ranked(said(0.0, units=200))

    def broken(inside):
        looked.append(f"broken {inside.wave.id}")
        raise ZeroDivisionError("record 17")

    real = base.registered()["membership"]
    several = (
        replace(real, inside=look),
        replace(real, name="broken", inside=broken),
        base.registered()["volume"],
    )
    monkeypatch.setattr(harness, "evaluators_for", lambda _kind: several)
    for name, seed in (("w1", 1), ("w2", 2), ("w3", 3)):
        world.wave(name, people(300, seed=seed))
    world.model()
    done = evaluate_due(store, settings, "operator", load=lambda *_: scorer)
    assert looked == ["falls/w1", "broken falls/w1"]
    assert {(e.evaluator, e.failure) for e in done if e.wave == "falls/w1"} == {
        ("membership", ""), ("volume", ""), ("broken", "evaluator:ZeroDivisionError"),
    }  # fmt: skip
    assert not any(e.failure for e in done if e.wave != "falls/w1")


def test_counts_alone_come_out():
    tally = ranked(said(1.0, units=200))
    assert isinstance(Tally.from_bytes(tally.to_bytes()), Tally)
    assert all(table.counts.sum() == 200 for table in tally.tables.values())
